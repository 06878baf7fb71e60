-- One row a scope; a scope that is there with the same meaning keeps its first date. $1 user, $2 app, $3 [{scope, hash}] as JSON text, $4 method, $5 now.
INSERT INTO consents AS c (user_id, app_id, scope, scope_hash, method, approved_at)
SELECT $1::text, $2::text, entry.scope, entry.hash, $4::text, $5::bigint
FROM jsonb_to_recordset($3::jsonb) AS entry (scope text, hash text)
ON CONFLICT (user_id, app_id, scope) DO UPDATE SET
  scope_hash = excluded.scope_hash, method = excluded.method, approved_at = excluded.approved_at
WHERE c.scope_hash <> excluded.scope_hash
