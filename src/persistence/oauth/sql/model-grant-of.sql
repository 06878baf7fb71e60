-- $1 kind, $2 id.
SELECT grant_id FROM oauth_models WHERE kind = $1 AND id = $2
