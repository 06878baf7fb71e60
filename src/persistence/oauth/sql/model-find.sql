-- $1 kind, $2 id, $3 now.
SELECT payload, consumed_at FROM oauth_models WHERE kind = $1 AND id = $2 AND expires_at > $3
