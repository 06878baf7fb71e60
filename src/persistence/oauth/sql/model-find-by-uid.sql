-- $1 kind, $2 uid, $3 now.
SELECT payload, consumed_at FROM oauth_models WHERE kind = $1 AND uid = $2 AND expires_at > $3
