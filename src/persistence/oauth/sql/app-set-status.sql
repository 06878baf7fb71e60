-- $1 app, $2 status, $3 now.
UPDATE apps SET status = $2, updated_at = $3 WHERE app_id = $1
