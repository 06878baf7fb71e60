-- Makes an app or replaces its record; its status stays.
-- $1 app, $2 name, $3 developer, $4 client type, $5 class, $6 scopes, $7 pre-approved scopes, $8 redirect URIs (JSON texts), $9 secret hash, $10 now.
INSERT INTO apps (app_id, name, developer, client_type, classification, scopes, preapproved_scopes, redirect_uris, secret_hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8::jsonb, $9, $10, $10)
ON CONFLICT (app_id) DO UPDATE SET
  name = excluded.name, developer = excluded.developer, client_type = excluded.client_type, classification = excluded.classification,
  scopes = excluded.scopes, preapproved_scopes = excluded.preapproved_scopes, redirect_uris = excluded.redirect_uris,
  secret_hash = excluded.secret_hash, updated_at = excluded.updated_at
