-- $1 subject.
SELECT locked_until FROM sign_in_guards WHERE subject = $1
