/** `tween.session.*`: the life of a live session. Answered by the session itself; no HTTP twin. Live binding, section 3. */
import { Type } from '@sinclair/typebox';
import { limits } from '../limits.ts';
import { defineOperation, strictObject } from '../operation.ts';
import { DeviceId, Iso } from '../schemas.ts';

const Token = Type.String({ minLength: 5, maxLength: 8192, pattern: '^tep\\.' });

export const sessionOpen = defineOperation({
  name: 'tween.session.open',
  summary: 'Opens the session: authenticates the socket, and resumes an earlier session when asked to',
  handledBy: 'session',
  limit: 'none',
  input: strictObject({
    token: Type.Optional(Token),
    device: Type.Optional(
      strictObject({
        id: DeviceId,
        name: Type.Optional(Type.String({ maxLength: 100 })),
        platform: Type.Optional(Type.String({ maxLength: 32 })),
      }),
    ),
    resume: Type.Optional(
      strictObject({
        session: Type.String({ minLength: 1, maxLength: 64 }),
        secret: Type.String({ minLength: 1, maxLength: 128 }),
        seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
      }),
    ),
    client: Type.Optional(strictObject({ name: Type.String({ maxLength: 64 }), version: Type.String({ maxLength: 32 }) })),
  }),
  output: Type.Object({
    session: Type.String(),
    secret: Type.String(),
    resumed: Type.Boolean(),
    seq: Type.Integer(),
    user_id: Type.String(),
    app_id: Type.String(),
    wallet_id: Type.String(),
    scopes: Type.Array(Type.String()),
    expires_at: Iso,
    server_time: Iso,
    heartbeat_ms: Type.Integer(),
    reconnect: Type.Object({ min_ms: Type.Integer(), jitter_ms: Type.Integer() }),
    limits: Type.Object({ frame_bytes: Type.Integer(), in_flight: Type.Integer(), batch: Type.Integer() }),
    durable: Type.Object({ write: Type.Integer(), db_epoch: Type.String() }),
    node: Type.String(),
    affinity: Type.Optional(Type.String({ pattern: '^[a-z2-7]{2}$' })),
  }),
});

export const sessionRefresh = defineOperation({
  name: 'tween.session.refresh',
  summary: 'Swaps the access token of the open session for a newer one of the same user and app',
  handledBy: 'session',
  limit: 'none',
  input: strictObject({ token: Token }),
  output: Type.Object({ expires_at: Iso, scopes: Type.Array(Type.String()) }),
});

export const sessionAck = defineOperation({
  name: 'tween.session.ack',
  summary: 'Says which events arrived, so that the replay buffer can let them go',
  handledBy: 'session',
  limit: 'none',
  input: strictObject({ seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }),
  output: Type.Object({ seq: Type.Integer() }),
});

export const sessionPing = defineOperation({
  name: 'tween.session.ping',
  summary: 'A heartbeat for clients that cannot see WebSocket pings',
  handledBy: 'session',
  limit: 'none',
  input: strictObject({}),
  output: Type.Object({ server_time: Iso }),
});

export const sessionClose = defineOperation({
  name: 'tween.session.close',
  summary: 'Ends the session for good: it cannot be resumed',
  handledBy: 'session',
  limit: 'none',
  input: strictObject({ reason: Type.Optional(Type.String({ maxLength: 200 })) }),
  output: Type.Object({ closed: Type.Boolean() }),
});

export const sessionOperations = [sessionOpen, sessionRefresh, sessionAck, sessionPing, sessionClose] as const;

/** Batch size and in-flight figures told at open. */
export const sessionLimits = { frame_bytes: limits.frameBytes, in_flight: limits.inFlight, batch: limits.batch };
