-- $1 user, $2 app.
SELECT scope, scope_hash, method, approved_at FROM consents WHERE user_id = $1 AND app_id = $2 ORDER BY scope
