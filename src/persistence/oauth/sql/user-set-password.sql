-- $1 user, $2 password hash, $3 now.
UPDATE users SET password_hash = $2, updated_at = $3 WHERE user_id = $1
