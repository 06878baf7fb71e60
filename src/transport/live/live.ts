/**
 * Puts the live binding on a uWebSockets.js app: joins door, frame handler, hub and pulse, and stops them. The only place where the
 * library's callbacks are.
 */
import { jitter } from '../../ids.ts';
import { limits } from '../../protocol/limits.ts';
import { type TemplatedApp, uws, type WebSocket } from '../uws.ts';
import { Door, type SocketData } from './upgrade.ts';
import { FrameHandler } from './frame-handler.ts';
import type { LiveOptions } from './options.ts';
import { Pulse } from './pulse.ts';
import type { Session, SessionSocket } from './session.ts';
import { SessionHub } from './session-hub.ts';

export const livePath = '/v1/live';

/** uWebSockets.js cuts a larger frame without a word, so it lets twice the limit through for us to close with 1009. */
const cutAtBytes = 2 * limits.frameBytes;
/** Never reached: `SessionSocket` closes at `limits.closeAtBufferedBytes` plus one answer. */
const maxBackpressure = 64 * 1024 * 1024;
/** Seconds. A net under the pulse: the library counts whatever arrives, also half a frame. */
const idleTimeout = 120;
/** How far apart sessions are closed in a drain, at most half the time there is. */
const drainPaceMs = 2;
const drainStepMs = 20;

export interface LiveBinding {
  readonly hub: SessionHub;
  /** Live sockets, opened or not. */
  readonly sockets: number;
  /** Tells sessions to move, lets their requests end, closes with 1012; resolves when all are closed or `drainMs` have passed. */
  drain(): Promise<void>;
  /** This node may not go on for now: its clients are sent to others at once, to resume there, and nobody is let in. False: it may again. */
  evacuate(away: boolean): void;
  /** Closes what is left and stops the timers. */
  close(): Promise<void>;
}

/** Mounts the binding on `GET /v1/live`. */
export function mountLive(app: TemplatedApp, options: LiveOptions): LiveBinding {
  const hub = new SessionHub(options);
  const pulse = new Pulse(hub);
  const frames = new FrameHandler(hub, pulse);
  const addresses = new Map<string, number>();
  const { sockets } = pulse;
  const door = new Door(options, {
    get count() {
      return sockets.size;
    },
    ofAddress: (ip) => addresses.get(ip) ?? 0,
    get draining() {
      return hub.drainSpreadMs !== undefined;
    },
  });
  const owner = (ws: WebSocket<SocketData>): SessionSocket => (ws as unknown as SocketData).live;

  app.ws<SocketData>(livePath, {
    maxPayloadLength: cutAtBytes,
    maxBackpressure,
    idleTimeout,
    sendPingsAutomatically: false,
    compression: options.compression ? uws.SHARED_COMPRESSOR : uws.DISABLED,
    upgrade: (res, req, context) => door.upgrade(res, req, context),
    open(ws) {
      const socket = owner(ws);
      socket.adopt(ws);
      pulse.add(socket);
      if (options.maxConnectionsPerIp > 0) addresses.set(socket.ip, (addresses.get(socket.ip) ?? 0) + 1);
      if (hub.drainSpreadMs !== undefined) hub.happen(undefined, socket, 'drain');
    },
    message: (ws, message, isBinary) => frames.receive(owner(ws), new Uint8Array(message), isBinary),
    drain(ws) {
      const socket = owner(ws);
      if (!socket.drained()) return;
      if (socket.session !== undefined) hub.flush(socket.session);
      frames.release(socket);
    },
    ping: (ws) => frames.control(owner(ws)),
    pong: (ws) => frames.control(owner(ws)),
    close(ws) {
      const socket = owner(ws);
      pulse.delete(socket);
      const left = (addresses.get(socket.ip) ?? 1) - 1;
      if (left > 0) addresses.set(socket.ip, left);
      else addresses.delete(socket.ip);
      hub.socketClosed(socket);
    },
  });
  options.metrics.liveSessions.from(() => hub.size - hub.detached);
  pulse.start();

  let draining: Promise<void> | undefined;
  return {
    hub,
    get sockets() {
      return sockets.size;
    },
    drain: () => (draining ??= drain(hub, sockets, options)),
    evacuate(away) {
      if (draining !== undefined) return;
      hub.drainSpreadMs = away ? Math.min(2_000, sockets.size * 10) : undefined;
      if (!away) return;
      for (const socket of [...sockets]) {
        if (socket.session === undefined) hub.happen(undefined, socket, 'drain');
        else closeDrained(hub, socket.session);
      }
    },
    async close() {
      pulse.stop();
      for (const socket of [...sockets]) {
        if (socket.session === undefined) hub.happen(undefined, socket, 'drain');
        else closeDrained(hub, socket.session);
      }
      await hub.kept.settled();
      hub.close();
    },
  };
}

async function drain(hub: SessionHub, sockets: ReadonlySet<SessionSocket>, options: LiveOptions): Promise<void> {
  const { clock, drainMs } = options;
  hub.drainSpreadMs = Math.min(2_000, sockets.size * 10);
  for (const socket of [...sockets]) if (socket.session === undefined) hub.happen(undefined, socket, 'drain');
  const began = clock.monotonic();
  const spread = Math.min(drainMs / 2, sockets.size * drainPaceMs);
  const waiting: { readonly session: Session; readonly at: number }[] = [];
  for (const session of [...hub.all()]) {
    hub.happen(session, session.socket, 'drain');
    if (session.phase === 'draining') waiting.push({ session, at: began + jitter() * spread });
  }
  await new Promise<void>((resolve) => {
    const look = (): void => {
      const now = clock.monotonic();
      const over = now - began >= drainMs;
      let left = 0;
      for (const { session, at } of waiting) {
        if (session.phase !== 'draining') continue;
        if (over || (at <= now && (session.socket?.inFlight ?? 0) === 0)) hub.happen(session, session.socket, 'drainOver');
        else left++;
      }
      if (left === 0) resolve();
      else clock.after(drainStepMs, look);
    };
    look();
  });
  await hub.kept.settled();
}

function closeDrained(hub: SessionHub, session: Session): void {
  if (session.phase === 'open') hub.happen(session, session.socket, 'drain');
  if (session.phase === 'draining') hub.happen(session, session.socket, 'drainOver');
}
