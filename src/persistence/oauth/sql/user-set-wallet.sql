-- The first wallet stays. $1 user, $2 wallet, $3 now.
UPDATE users SET wallet_id = $2, updated_at = $3 WHERE user_id = $1 AND wallet_id IS NULL
