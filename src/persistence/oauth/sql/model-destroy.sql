-- $1 kind, $2 id.
DELETE FROM oauth_models WHERE kind = $1 AND id = $2
