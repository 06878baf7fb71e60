-- $1 after this id, $2 now, $3 at most so many rows.
SELECT id, token_id, grant_id, user_id, app_id, at, expires_at FROM revocations WHERE id > $1 AND expires_at > $2 ORDER BY id LIMIT $3
