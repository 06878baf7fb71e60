-- Commits a row: the readiness check. $1: node, $2: epoch ms.
insert into probe (node, at) values ($1, $2) on conflict (node) do update set at = excluded.at
