-- Uses up one row and writes its successor in one statement, while their grant is alive. No row back: somebody else used it first.
-- $1 kind, $2 used id, $3 now, $4 successor id, $5 payload (JSON text), $6 grant, $7 account, $8 client, $9 expires at, $10 grant expires at.
WITH used AS (
  UPDATE oauth_models SET consumed_at = $3::bigint
  WHERE kind = $1::text AND id = $2::text AND consumed_at IS NULL AND expires_at > $3::bigint
  RETURNING id
), kept AS (
  UPDATE oauth_models SET expires_at = GREATEST(expires_at, $10::bigint)
  WHERE kind = 'Grant' AND id = $6::text AND expires_at > $3::bigint AND EXISTS (SELECT 1 FROM used)
  RETURNING id
)
INSERT INTO oauth_models (kind, id, payload, grant_id, account_id, client_id, expires_at)
SELECT $1::text, $4::text, $5::jsonb, $6::text, $7::text, $8::text, $9::bigint FROM kept
RETURNING id
