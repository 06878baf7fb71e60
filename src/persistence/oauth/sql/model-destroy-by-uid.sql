-- $1 kind, $2 uid.
DELETE FROM oauth_models WHERE kind = $1 AND uid = $2
