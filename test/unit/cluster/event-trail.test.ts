/** What a node has heard of all nodes' events, and what follows for a session that comes from another node. */
import { describe, expect, it } from 'vitest';
import { EventTrail } from '../../../src/transport/cluster/event-trail.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const alice = '@alice:tween.example';
const bob = '@bob:tween.example';

function started(upMs = 600_000) {
  const clock = new ManualClock();
  const trail = new EventTrail('here', clock);
  clock.advance(upMs);
  trail.keep(new Set(['here', 'home', 'other']));
  return { clock, trail, at: clock.now() };
}

describe('[LIVE52] a session that comes from another node', () => {
  it('has missed nothing when its former node had heard as much', () => {
    const { trail, at } = started();
    trail.note({ origin: 'other', seq: 1 }, alice);
    expect(trail.missed({ userId: alice, seen: { other: 1 }, at })).toBe(false);
    expect(trail.missed({ userId: alice, seen: { other: 2 }, at })).toBe(false);
  });

  it('has missed an event of its user that came here first, and none of another user', () => {
    const { trail, at } = started();
    trail.note({ origin: 'other', seq: 1 }, alice);
    trail.note({ origin: 'other', seq: 2 }, bob);
    trail.note({ origin: 'home', seq: 1 }, bob);
    expect(trail.missed({ userId: bob, seen: { other: 1, home: 1 }, at })).toBe(true);
    expect(trail.missed({ userId: alice, seen: { other: 1 }, at })).toBe(false);
    expect(trail.missed({ userId: alice, seen: {}, at })).toBe(true);
  });

  it('may have missed what was lost on its way here', () => {
    const { trail, at } = started();
    trail.note({ origin: 'other', seq: 1 }, alice);
    trail.gap('other', 5);
    expect(trail.missed({ userId: alice, seen: { other: 4 }, at })).toBe(true);
    expect(trail.missed({ userId: alice, seen: { other: 5 }, at })).toBe(false);
  });

  it('may have missed what is no longer remembered', () => {
    const { trail, at } = started();
    for (let seq = 1; seq <= 65_537; seq++) trail.note({ origin: 'other', seq }, bob);
    expect(trail.missed({ userId: alice, seen: { other: 1 }, at })).toBe(false);
    expect(trail.missed({ userId: alice, seen: { other: 0 }, at })).toBe(true);
  });

  it('may have missed events of a node that lives and was not heard here', () => {
    const { trail, at } = started();
    expect(trail.missed({ userId: alice, seen: { other: 3 }, at })).toBe(true);
  });

  it('has missed nothing of a node that went before this one came, unless the record is older than this node', () => {
    const { trail, at } = started(10_000);
    expect(trail.missed({ userId: alice, seen: { gone: 3 }, at })).toBe(false);
    expect(trail.missed({ userId: alice, seen: { gone: 3 }, at: at - 9_000 })).toBe(true);
  });

  it('starts afresh when its record says nothing', () => {
    const { trail } = started();
    expect(trail.missed({ userId: alice })).toBe(true);
  });

  it('is told of a node that went for as long as a session is kept', () => {
    const { trail, clock } = started();
    trail.note({ origin: 'other', seq: 7 }, bob);
    trail.keep(new Set(['here']));
    clock.advance(120_000);
    trail.keep(new Set(['here']));
    expect(trail.seen()).toEqual({ other: 7 });
    clock.advance(20_000);
    trail.keep(new Set(['here']));
    expect(trail.seen()).toEqual({});
  });
});
