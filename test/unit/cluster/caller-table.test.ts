/** Callers on a link: named by number once they were told. */
import { describe, expect, it } from 'vitest';
import type { Principal } from '../../../src/actors/ports.ts';
import { CallersKnown, CallersSent } from '../../../src/transport/cluster/caller-table.ts';

function caller(userId: string): Principal {
  return {
    userId,
    appId: 'ma_shop',
    walletId: `tw_${userId}`,
    scopes: new Set(['storage:read']),
    tokenId: 'token',
    grantId: 'grant',
    expiresAt: 0,
    sessionId: `session of ${userId}`,
    generation: 0,
  };
}

describe('callers between nodes', () => {
  it('are told whole once and by number from then on', () => {
    const sent = new CallersSent();
    const known = new CallersKnown();
    const alice = caller('@alice:tween.example');
    expect(known.resolve(sent.refer(alice))).toMatchObject({ userId: alice.userId });
    const reference = sent.refer(alice);
    expect(typeof reference).toBe('number');
    expect(known.resolve(reference)).toMatchObject({ userId: alice.userId });
  });

  it('are never taken for others by a peer that still has the numbers of a table we let go of', () => {
    const known = new CallersKnown();
    known.resolve(new CallersSent().refer(caller('@alice:tween.example')));
    // The peer was away for longer than its lease: we begin a new table, and the first message to it never arrives.
    const again = new CallersSent();
    const bob = caller('@bob:tween.example');
    again.refer(bob);
    expect(known.resolve(again.refer(bob))).toBeUndefined();
  });
});
