-- $1 now, $2 forget subjects that are unlocked and silent since (epoch ms).
DELETE FROM sign_in_guards WHERE locked_until <= $1 AND updated_at < $2
