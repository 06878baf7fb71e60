-- Charges one try before it is looked at; no row back: the subject is locked. The try that reaches the limit locks the subject for everyone
-- after it, and is itself still looked at. $1 subject, $2 now, $3 tries in a row, $4 first lock in ms, $5 longest lock in ms.
INSERT INTO sign_in_guards AS g (subject, failures, locks, locked_until, updated_at)
VALUES ($1::text, 1, 0, 0, $2::bigint)
ON CONFLICT (subject) DO UPDATE SET
  failures = CASE WHEN g.failures + 1 >= $3::int THEN 0 ELSE g.failures + 1 END,
  locks = CASE WHEN g.failures + 1 >= $3::int THEN g.locks + 1 ELSE g.locks END,
  locked_until = CASE
    WHEN g.failures + 1 >= $3::int THEN $2::bigint + LEAST($4::bigint * (1::bigint << LEAST(g.locks, 20)), $5::bigint)
    ELSE 0
  END,
  updated_at = $2::bigint
WHERE g.locked_until <= $2::bigint
RETURNING failures
