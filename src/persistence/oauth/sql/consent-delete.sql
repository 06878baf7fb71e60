-- $1 user, $2 app or null for all, $3 scopes as a JSON array or null for all.
DELETE FROM consents
WHERE user_id = $1 AND ($2::text IS NULL OR app_id = $2) AND ($3::jsonb IS NULL OR $3::jsonb @> to_jsonb(scope))
RETURNING app_id, scope
