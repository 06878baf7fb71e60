/** The small parts of the live transport. */
import { decode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { Budget } from '../../../src/transport/live/budget.ts';
import { EventFrame } from '../../../src/transport/live/event-frame.ts';
import { LiveSocket, type RawSocket } from '../../../src/transport/live/live-socket.ts';
import { hashSecret, isSecret } from '../../../src/transport/live/secrets.ts';
import { chooseSubprotocol } from '../../../src/transport/live/subprotocol.ts';
import { AcceptedWrite, Watermark } from '../../../src/transport/live/watermark.ts';
import { limits } from '../../../src/protocol/limits.ts';

describe('the watermark', () => {
  it('[LIVE31] moves over a run without holes only', () => {
    const mark = new Watermark();
    for (let n = 1; n <= 5; n++) expect(mark.next()).toBe(n);
    expect([mark.durable(2), mark.durable(3), mark.mark]).toEqual([false, false, 0]);
    expect([mark.durable(1), mark.mark]).toEqual([true, 3]);
    expect([mark.durable(5), mark.durable(4), mark.mark]).toEqual([false, true, 5]);
    expect(mark.durable(2)).toBe(false);
  });

  it.each([1, 2, 3])('[LIVE31] in any order ends where all are (seed %i)', (seed) => {
    const mark = new Watermark();
    const numbers = Array.from({ length: 200 }, () => mark.next());
    let state = seed;
    while (numbers.length > 0) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      const [number] = numbers.splice(state % numbers.length, 1) as [number];
      mark.durable(number);
      expect(mark.mark).toBe(Math.min(...numbers, 201) - 1);
    }
  });

  it('[LIVE30] a write has a number when it was answered before its commit, whichever is told first', () => {
    const told: unknown[] = [];
    const owner = { durable: (n: number) => told.push(n), failed: (error: Error) => told.push(error.message) };
    const mark = new Watermark();
    const [late, early, durable, broken] = [0, 1, 2, 3].map(() => new AcceptedWrite(mark, owner)) as [
      AcceptedWrite,
      AcceptedWrite,
      AcceptedWrite,
      AcceptedWrite,
    ];
    expect(late.answered({ durable: false })).toEqual({ durable: false, write: 1 });
    late.settled(null);
    early.settled(null);
    expect(early.answered({ durable: false, key: 'k' })).toEqual({ durable: false, key: 'k', write: 2 });
    expect(durable.answered({ durable: true })).toEqual({ durable: true });
    durable.settled(null);
    expect(broken.answered({ durable: false })).toMatchObject({ write: 3 });
    broken.settled(new Error('gone'));
    expect(told).toEqual([1, 2, 'gone']);
  });
});

describe('a budget', () => {
  it('[LIVE35] is spent by the nth within the window, not by one more outside it', () => {
    const budget = new Budget(3, 1_000);
    expect([budget.spend(0), budget.spend(500), budget.spend(1_000), budget.spend(1_499)]).toEqual([false, false, false, true]);
    expect(new Budget(1, 10).spend(0)).toBe(true);
  });
});

describe('an event frame', () => {
  it('[LIVE10] is one encoding with the number of each session', () => {
    const frame = new EventFrame('tween.wallet.updated', { a: [1, 'ü'], seq: 3 });
    for (const seq of [1, 127, 128, 65_536, 2 ** 31, 2 ** 32 - 2]) {
      expect(decode(frame.numbered('msgpack', seq) as Uint8Array)).toEqual({
        method: 'tween.wallet.updated',
        params: { a: [1, 'ü'], seq: 3 },
        seq,
      });
      expect(JSON.parse(frame.numbered('json', seq) as string)).toEqual({
        jsonrpc: '2.0',
        method: 'tween.wallet.updated',
        params: { a: [1, 'ü'], seq: 3 },
        seq,
      });
    }
    expect(decode(frame.numbered('msgpack', 2 ** 40) as Uint8Array)).toMatchObject({ seq: 2 ** 40 });
  });
});

describe('secrets', () => {
  it('[LIVE16] are known by their hash only', () => {
    const hash = hashSecret('s');
    expect([isSecret('s', hash), isSecret('t', hash), isSecret('', hash), isSecret('s', ''), isSecret('s', 'short')]).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});

describe('the subprotocol', () => {
  it.each([
    ['', { name: '', format: 'msgpack' }],
    ['tmcp.json.v1', { name: 'tmcp.json.v1', format: 'json' }],
    ['a, tmcp.msgpack.v1', { name: 'tmcp.msgpack.v1', format: 'msgpack' }],
    ['tmcp.json.v1,tmcp.msgpack.v1', { name: 'tmcp.json.v1', format: 'json' }],
    ['tmcp.json.v2', undefined],
    ['toString', undefined],
    [',', undefined],
  ])('[LIVE41] of the offer %j is %j', (offered, choice) => {
    expect(chooseSubprotocol(offered)).toEqual(choice);
  });
});

/** A socket whose kernel takes `room` bytes and keeps the rest waiting. */
class Wire {
  room = 0;
  waiting = 0;
  ended: unknown[] = [];
  closed = 0;
  send(frame: unknown): number {
    const size = (frame as Uint8Array).length;
    const taken = this.waiting > 0 ? 0 : Math.min(this.room, size);
    this.room -= taken;
    this.waiting += size - taken;
    return size === taken ? 1 : 0;
  }
  getBufferedAmount(): number {
    return this.waiting;
  }
  end(...args: unknown[]): void {
    this.ended.push(args);
  }
  close(): void {
    this.closed++;
  }
}

function wired(): { wire: Wire; socket: LiveSocket } {
  const wire = new Wire();
  const socket = new LiveSocket('msgpack', '', 0);
  socket.adopt(wire as unknown as RawSocket);
  return { wire, socket };
}

describe('a live socket', () => {
  it('[LIVE37] is paused past 1 MiB waiting and not at it, and goes on when it is at it again', () => {
    const { wire, socket } = wired();
    expect(socket.send(new Uint8Array(limits.pauseReadAtBytes), 0)).toBe('sent');
    expect(socket.isHeld).toBe(false);
    expect(socket.send(new Uint8Array(1), 0)).toBe('paused');
    expect([socket.isHeld, socket.pausedAt]).toEqual([true, 0]);
    expect(socket.drained()).toBe(false);
    wire.waiting = limits.pauseReadAtBytes;
    expect(socket.drained()).toBe(true);
    expect(socket.isHeld).toBe(false);
  });

  it('[LIVE38] is too slow past 8 MiB waiting and not at it', () => {
    const { wire, socket } = wired();
    expect(socket.send(new Uint8Array(limits.closeAtBufferedBytes - 1), 0)).toBe('paused');
    expect(socket.send(new Uint8Array(1), 0)).toBe('paused');
    expect(socket.send(new Uint8Array(1), 0)).toBe('slow');
    const { waiting } = wire;
    expect([socket.send(new Uint8Array(1), 0), wire.waiting]).toEqual(['slow', waiting]);
  });

  it('[LIVE38] lets one large answer through where nothing waits', () => {
    const { wire, socket } = wired();
    expect(socket.send(new Uint8Array(limits.closeAtBufferedBytes * 2), 0)).toBe('paused');
    expect(socket.send(new Uint8Array(1), 0)).toBe('slow');
    wire.waiting = 0;
    expect(socket.drained()).toBe(true);
    expect(socket.send(new Uint8Array(limits.closeAtBufferedBytes * 2), 0)).toBe('paused');
  });

  it('[LIVE37] holds 64 frames and 4 MiB, copied', () => {
    const { socket } = wired();
    const bytes = new Uint8Array([1]);
    for (let i = 0; i < 64; i++) expect(socket.hold(bytes, true)).toBe(true);
    expect(socket.hold(bytes, true)).toBe(false);
    bytes[0] = 2;
    expect(socket.nextHeld()?.bytes[0]).toBe(1);
    const { socket: other } = wired();
    expect([
      other.hold(new Uint8Array(limits.frameBytes), true),
      other.hold(new Uint8Array(limits.frameBytes), true),
      other.hold(new Uint8Array(1), true),
    ]).toEqual([true, true, false]);
    for (let i = 0; i < 3; i++) other.nextHeld();
    expect(other.hold(new Uint8Array(limits.frameBytes), true)).toBe(true);
  });

  it('[LIVE36] lets go of the library before it closes, and touches it never again', () => {
    const { wire, socket } = wired();
    socket.close(4400, 'x');
    socket.close(4401);
    socket.terminate();
    expect([wire.ended, wire.closed, socket.isLive]).toEqual([[[4400, 'x']], 0, false]);
    expect([socket.send(new Uint8Array(1), 0), socket.buffered]).toEqual(['gone', 0]);
    socket.ping();
    socket.cork(() => {
      throw new Error('ran');
    });
  });
});
