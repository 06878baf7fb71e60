-- $1 app.
SELECT app_id, name, developer, client_type, classification, status, scopes, preapproved_scopes, redirect_uris, secret_hash
FROM apps WHERE app_id = $1
