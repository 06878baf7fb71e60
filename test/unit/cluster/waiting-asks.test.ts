/** Asks that wait: deadlines by one sweep, several answers, and no answer to the wrong one. */
import { describe, expect, it } from 'vitest';
import { noMeters, type PeerError, type PeerMeters, type PeerReply } from '../../../src/transport/cluster/peer.ts';
import { WaitingAsks } from '../../../src/transport/cluster/waiting-asks.ts';

function world(meters: PeerMeters = noMeters) {
  const faults: unknown[] = [];
  const told: string[] = [];
  const asks = new WaitingAsks(meters, (thrown) => faults.push(thrown));
  const add = (name: string, dueAt: number, then?: () => void): number => {
    const id = asks.next;
    const reply: PeerReply = (error: PeerError | null, value, last) => {
      told.push(error === null ? `${name}=${value}${last ? '.' : ''}` : `${name}:${error.kind}`);
      then?.();
    };
    asks.add(reply, 0, dueAt);
    return id;
  };
  return { asks, add, told, faults };
}

describe('an ask that waits', () => {
  it('is late at its deadline and not before', () => {
    const { asks, add, told } = world();
    add('a', 100);
    add('b', 101);
    asks.sweep(99);
    expect(told).toEqual([]);
    asks.sweep(100);
    expect(told).toEqual(['a:late']);
    asks.sweep(101);
    expect(told).toEqual(['a:late', 'b:late']);
  });

  it('takes several answers, and none after the last', () => {
    const { asks, add, told } = world();
    const id = add('a', 100);
    asks.answer(id, 1, false, 1);
    asks.answer(id, 2, true, 2);
    asks.answer(id, 3, true, 3);
    expect([told, asks.size]).toEqual([['a=1', 'a=2.'], 0]);
  });

  it('that ended keeps its number: a late answer reaches nobody else', () => {
    const { asks, add, told } = world();
    const id = add('a', 100);
    asks.sweep(100);
    expect(add('b', 200)).not.toBe(id);
    asks.answer(id, 1, true, 101);
    expect(told).toEqual(['a:late']);
  });

  it('hears of the end of the link once, with those that were asked before it', () => {
    const { asks, add, told } = world();
    add('a', 100, () => add('again', 100));
    add('b', 100);
    asks.failAll('lost', 'gone');
    expect([told, asks.size]).toEqual([['a:lost', 'b:lost'], 1]);
  });

  it('may be handled badly: what its reply throws is reported, and the others are told', () => {
    const { asks, add, told, faults } = world();
    const fault = new Error('mine');
    const bad = () => {
      throw fault;
    };
    const first = add('a', 100, bad);
    add('b', 100, bad);
    add('c', 100);
    asks.answer(first, 1, true, 1);
    asks.sweep(100);
    expect([told, faults]).toEqual([
      ['a=1.', 'b:late', 'c:late'],
      [fault, fault],
    ]);
  });

  it('is measured once, at its first answer', () => {
    const seconds: number[] = [];
    const { asks, add } = world({ ...noMeters, roundTrip: { observe: (value) => seconds.push(value) } });
    const id = add('a', 100);
    asks.answer(id, 1, false, 20);
    asks.answer(id, 2, true, 50);
    expect(seconds).toEqual([0.02]);
  });
});
