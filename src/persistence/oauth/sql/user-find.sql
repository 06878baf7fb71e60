-- $1 users.
SELECT user_id, display_name, avatar_url, status, wallet_id FROM users WHERE user_id = ANY($1::text[])
