-- Redirect URIs of every active app: their origins may use the server from a browser.
SELECT DISTINCT uri FROM apps, jsonb_array_elements_text(redirect_uris) AS uri WHERE status = 'active'
