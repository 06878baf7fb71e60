-- Commits one group of entries; the parameters are those of the tmcp_commit of 0004-cluster.sql, in its order (group-encoder.ts makes them).
-- Returns one row: `fresh` is false when this lane had committed this group before.
select tmcp_commit(
  $1, $2, $3,
  $4, $5,
  $6, $7, $8, $9, $10, $11, $12, $13,
  $14, $15, $16, $17, $18, $19,
  $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
  $32, $33, $34, $35, $36, $37, $38, $39,
  $40, $41, $42, $43,
  $44, $45, $46, $47, $48, $49,
  $50, $51, $52, $53, $54, $55
) as fresh
