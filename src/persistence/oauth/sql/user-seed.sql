-- Makes a person, or changes what the caller names. The password of somebody who has one stays. $1 user, $2 name, $3 avatar, $4 password hash, $5 now.
INSERT INTO users (user_id, display_name, avatar_url, password_hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (user_id) DO UPDATE SET
  display_name = excluded.display_name, avatar_url = excluded.avatar_url,
  password_hash = COALESCE(users.password_hash, excluded.password_hash), updated_at = excluded.updated_at
