-- Everything one person gave one app (or, when $2 is null, all apps): grants, codes, refresh tokens. $1 account, $2 client ids as a JSON array or null.
DELETE FROM oauth_models
WHERE account_id = $1 AND kind IN ('Grant', 'AuthorizationCode', 'RefreshToken')
  AND ($2::jsonb IS NULL OR $2::jsonb @> to_jsonb(client_id))
RETURNING kind, id
