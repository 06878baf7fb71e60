-- $1 kind, $2 id, $3 payload (JSON text), $4 grant, $5 account, $6 client, $7 user code, $8 uid, $9 expires at (epoch ms).
-- An update never touches consumed_at: what is used stays used.
INSERT INTO oauth_models (kind, id, payload, grant_id, account_id, client_id, user_code, uid, expires_at)
VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7, $8, $9)
ON CONFLICT (kind, id) DO UPDATE SET
  payload = excluded.payload, grant_id = excluded.grant_id, account_id = excluded.account_id, client_id = excluded.client_id,
  user_code = excluded.user_code, uid = excluded.uid, expires_at = excluded.expires_at
