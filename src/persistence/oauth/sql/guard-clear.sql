-- $1 subject.
DELETE FROM sign_in_guards WHERE subject = $1
