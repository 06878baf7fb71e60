-- $1 kind, $2 grant.
DELETE FROM oauth_models WHERE kind = $1 AND grant_id = $2
