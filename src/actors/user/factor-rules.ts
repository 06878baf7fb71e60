/**
 * The data rules of a second factor: how often it may be tried, how long it stays locked, what a success gives back. Pure.
 * Rules MFA1 to MFA9 of docs/spec/mfa.md; protocol section 15.
 */
import { limits } from '../../protocol/limits.ts';
import type { Factor } from './user-types.ts';

/** Most proofs kept of one factor; a challenge lives two minutes. */
const maxProofs = 16;

/** A factor nobody has enrolled. */
export const absentFactor: Factor = {
  sealed: null,
  enrolledAt: null,
  tries: 0,
  inRow: 0,
  total: 0,
  locks: 0,
  lockedUntil: null,
  lastStep: null,
  lastFailedAt: null,
  proofs: [],
};

/** What a try does to a factor that is enrolled: taken, taken as the last one before a lock, or not taken. */
export type ChargeVerdict = 'taken' | 'locks' | 'blocks' | 'refused';

/** Whether a try at `at` may be evaluated. A lock that has run out gives a new row of tries, never a new total. */
export function chargeVerdict(factor: Factor, at: number): ChargeVerdict {
  if (factor.total >= limits.factorFailuresTotal) return 'refused';
  if (isLocked(factor, at)) return 'refused';
  if (factor.total + 1 >= limits.factorFailuresTotal) return 'blocks';
  return rowAt(factor, at) + 1 >= limits.factorFailuresInRow ? 'locks' : 'taken';
}

/** Whether the factor is locked at `at` by a time that runs out. */
export function isLocked(factor: Factor, at: number): boolean {
  return factor.lockedUntil !== null && at < factor.lockedUntil;
}

/** Whether no time unlocks the factor any more. */
export function isBlocked(factor: Factor): boolean {
  return factor.total >= limits.factorFailuresTotal;
}

/** The factor with one more try charged: it counts as failed until it has passed. */
export function charged(factor: Factor, at: number): Factor {
  const verdict = chargeVerdict(factor, at);
  const next = { ...factor, tries: factor.tries + 1, inRow: rowAt(factor, at) + 1, total: factor.total + 1, lockedUntil: null };
  if (verdict !== 'locks' && verdict !== 'blocks') return next;
  // A blocked factor has a time as well, for those who show one; it opens nothing.
  return { ...next, locks: factor.locks + 1, lockedUntil: at + limits.factorLockMs * 2 ** factor.locks };
}

/** Whether a try that matched is a success: of a number that was charged and, for TOTP, of a step not used yet. */
export function counts(factor: Factor, tried: { readonly try: number; readonly step: number | null }): boolean {
  if (tried.try > factor.tries) return false;
  return tried.step === null || factor.lastStep === null || tried.step > factor.lastStep;
}

/**
 * The factor after a success. Tries charged after the one that passed stay charged, so that guesses running beside it are
 * not forgiven.
 */
export function passed(
  factor: Factor,
  tried: { readonly at: number; readonly try: number; readonly step: number | null; readonly challengeId: string | null },
): Factor {
  const since = factor.tries - tried.try;
  const inRow = Math.min(factor.inRow, since);
  const locked = inRow >= limits.factorFailuresInRow;
  const fresh = factor.proofs.filter(({ at }) => at > tried.at - limits.challengeTtlMs);
  const proofs = tried.challengeId === null ? fresh : [...fresh, { challengeId: tried.challengeId, at: tried.at }].slice(-maxProofs);
  return {
    ...factor,
    inRow,
    total: Math.min(factor.total, since),
    locks: locked ? factor.locks : 0,
    lockedUntil: locked ? factor.lockedUntil : null,
    lastStep: tried.step ?? factor.lastStep,
    proofs,
  };
}

/** Whether this challenge was proven with this factor, not longer ago than a challenge lives. */
export function hasProof(factor: Factor, challengeId: string, at: number): boolean {
  return factor.proofs.some((proof) => proof.challengeId === challengeId && proof.at > at - limits.challengeTtlMs);
}

function rowAt(factor: Factor, at: number): number {
  return factor.lockedUntil !== null && at >= factor.lockedUntil ? 0 : factor.inRow;
}
