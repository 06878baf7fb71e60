-- $1 now.
DELETE FROM revocations WHERE expires_at <= $1
