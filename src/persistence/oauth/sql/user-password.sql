-- $1 user. Only people who may sign in.
SELECT password_hash FROM users WHERE user_id = $1 AND status = 'active' AND password_hash IS NOT NULL
