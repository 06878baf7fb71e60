-- The first answer under a scope, also when it has expired (the caller has the clock). $1: scope.
select scope, input_hash as "inputHash", result, expires_at as "expiresAt" from idempotency where scope = $1
