/**
 * The heartbeat of all sockets of a node, on one timer: opening deadlines, pings, silent peers, stalled readers, expiring tokens, resume
 * windows. A tick reads two numbers a socket. Rules: docs/spec/session.md, [LIVE6] to [LIVE9].
 */
import type { CancelTimer } from '../../actors/ports.ts';
import { limits } from '../../protocol/limits.ts';
import { toIso } from '../../protocol/schemas.ts';
import { EventFrame } from './event-frame.ts';
import type { SessionSocket } from './session.ts';
import type { SessionHub } from './session-hub.ts';

/** How late a deadline may be kept. */
export const tickMs = 500;

export class Pulse {
  /** Monotonic time of the last tick: what "heard just now" costs a message nothing to note. */
  now: number;
  readonly #hub: SessionHub;
  readonly #sockets = new Set<SessionSocket>();
  #timer: CancelTimer | undefined;

  constructor(hub: SessionHub) {
    this.#hub = hub;
    this.now = hub.options.clock.monotonic();
  }

  get sockets(): ReadonlySet<SessionSocket> {
    return this.#sockets;
  }

  start(): void {
    this.#timer = this.#hub.options.clock.after(tickMs, () => {
      this.tick();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.();
  }

  add(socket: SessionSocket): void {
    const now = this.#hub.options.clock.monotonic();
    socket.pingAt = now + limits.pingEveryMs;
    socket.dueAt = now + limits.openWithinMs;
    this.#sockets.add(socket);
  }

  /** The socket's session is open: from here on it is pinged. */
  opened(socket: SessionSocket): void {
    socket.dueAt = socket.pingAt;
  }

  delete(socket: SessionSocket): void {
    this.#sockets.delete(socket);
  }

  tick(): void {
    const { clock } = this.#hub.options;
    const monotonic = clock.monotonic();
    const wall = clock.now();
    this.now = monotonic;
    for (const socket of this.#sockets) {
      if (socket.pausedAt !== undefined && monotonic - socket.pausedAt >= limits.closeAfterPausedMs)
        this.#hub.happen(socket.session, socket, 'slow');
      else if (socket.dueAt <= monotonic) this.#due(socket, monotonic);
      if (socket.dueAtWall <= wall) this.#expiry(socket, wall);
    }
    this.#hub.sweepDetached(wall);
  }

  #due(socket: SessionSocket, now: number): void {
    if (socket.session === undefined) {
      this.#hub.happen(undefined, socket, 'notOpenedInTime');
      return;
    }
    // `heardAt` is as of a tick: the peer may have been heard up to one tick later.
    const silentAt = socket.heardAt + limits.silentCloseMs + tickMs;
    if (silentAt <= now) {
      socket.terminate();
      return;
    }
    if (socket.pingAt <= now) {
      socket.ping();
      socket.pingAt = now + limits.pingEveryMs;
    }
    socket.dueAt = Math.min(silentAt, socket.pingAt);
  }

  #expiry(socket: SessionSocket, now: number): void {
    const { session } = socket;
    if (session === undefined) return;
    const { expiresAt } = session.principal;
    if (expiresAt <= now) {
      this.#hub.happen(session, socket, 'expired');
      return;
    }
    session.expiryTold = true;
    this.#hub.scheduleExpiry(session);
    this.#hub.deliver(session, new EventFrame('tween.session.expiring', { expires_at: toIso(expiresAt) }), 'expiring');
  }
}
