-- No row back: the token or grant is withdrawn already. $1 token, $2 grant, $3 user, $4 app, $5 at, $6 expires at.
INSERT INTO revocations (token_id, grant_id, user_id, app_id, at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING id
