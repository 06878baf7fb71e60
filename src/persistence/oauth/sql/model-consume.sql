-- Of any number of callers one gets the row. $1 kind, $2 id, $3 now, $4 keep the used row until at least (epoch ms), so that a later reuse is noticed.
UPDATE oauth_models SET consumed_at = $3, expires_at = GREATEST(expires_at, $4)
WHERE kind = $1 AND id = $2 AND consumed_at IS NULL AND expires_at > $3
RETURNING id
