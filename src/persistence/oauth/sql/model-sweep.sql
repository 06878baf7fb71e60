-- $1 now, $2 at most so many rows.
DELETE FROM oauth_models WHERE (kind, id) IN (SELECT kind, id FROM oauth_models WHERE expires_at <= $1 LIMIT $2)
RETURNING 1
