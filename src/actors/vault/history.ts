/**
 * How many bytes of losing values a vault keeps: as many as its quota within 30 days, counted by day, so that conflicts cannot
 * be used as storage without end. Pure. Rule [STO25] of docs/spec/storage.md.
 */
import { limits } from '../../protocol/limits.ts';

const dayMs = 24 * 3600_000;
const keptDays = limits.conflictKeepMs / dayMs;

/** Bytes by day since 1970; `[day, bytes]` in stored form. */
export type History = ReadonlyMap<number, number>;

/** Whether a losing value of `bytes` can still be kept. */
export function historyHasRoom(history: History, now: number, bytes: number): boolean {
  const oldest = Math.floor(now / dayMs) - keptDays;
  let kept = 0;
  for (const [day, dayBytes] of history) if (day >= oldest) kept += dayBytes;
  return kept + bytes <= limits.storageTotalBytes;
}

/** The counts with `bytes` more today; days that are no longer kept are left out. */
export function addHistory(history: History, now: number, bytes: number): Map<number, number> {
  const today = Math.floor(now / dayMs);
  const next = new Map([...history].filter(([day]) => day >= today - keptDays));
  next.set(today, (next.get(today) ?? 0) + bytes);
  return next;
}
