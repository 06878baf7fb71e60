/** The doors under `/dev/`: loopback only, and only in `tmcp dev`. See docs/getting-started.md. */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { DevDoors } from '../app.ts';
import type { SystemClock } from '../clock.ts';
import { invalidRequest } from '../protocol/errors.ts';
import { strictObject } from '../protocol/operation.ts';
import { AppId, toIso, UserId } from '../protocol/schemas.ts';
import type { DevState } from './dev-state.ts';
import type { Fixtures, FixtureUser } from './fixtures.ts';

const TokenBody = strictObject({
  user_id: UserId,
  app_id: AppId,
  scopes: Type.Array(Type.String({ maxLength: 128 }), { maxItems: 64 }),
  expires_in: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
});
const ClockBody = strictObject({ advance_ms: Type.Integer({ minimum: 0, maximum: 366 * 86_400_000 }) });
const Nothing = strictObject({});
const UserBody = strictObject({
  user_id: UserId,
  balance: Type.Optional(Type.Number({ minimum: 0, maximum: 1e9 })),
  password: Type.Optional(Type.Boolean()),
  factors: Type.Optional(Type.Boolean()),
});

/** What a person who is added can do besides holding a wallet and a device. Each costs a slow hash. */
export interface Enrolment {
  /** Sign in. */
  readonly password: boolean;
  /** Answer a second factor: PIN and authenticator. */
  readonly factors: boolean;
}

const answerMs = 100;

export interface DoorParts {
  readonly clock: SystemClock;
  readonly state: DevState;
  readonly fixtures: () => Fixtures;
  /** Begins what SIGTERM does. */
  readonly drain: () => void;
  readonly mint: (request: { userId: string; appId: string; scopes: readonly string[]; expiresInS?: number }) => Promise<string>;
  readonly addUser: (userId: string, balance: number, enrol: Enrolment) => Promise<FixtureUser>;
}

/** The doors by `METHOD name`. */
export function createDoors({ clock, state, fixtures, drain, mint, addUser }: DoorParts): DevDoors {
  return new Map<string, (body: unknown) => Promise<unknown>>([
    ['GET fixtures', async () => fixtures()],
    [
      'POST token',
      async (body) => {
        const { user_id, app_id, scopes, expires_in } = checked(TokenBody, body);
        const request = { userId: user_id, appId: app_id, scopes };
        return { access_token: await mint(expires_in === undefined ? request : { ...request, expiresInS: expires_in }) };
      },
    ],
    [
      'POST clock',
      async (body) => {
        const { advance_ms } = checked(ClockBody, body);
        if (advance_ms > 0) {
          // Kept first: a clock that went back at the next start would undo what timers and one-time codes have seen.
          await state.put('clock_ahead_ms', clock.aheadMs + advance_ms);
          clock.advance(advance_ms);
        }
        return { now: toIso(clock.now()) };
      },
    ],
    [
      'POST drain',
      async (body) => {
        checked(Nothing, body ?? {});
        // A node without clients is gone at once, and this answer is not.
        clock.after(answerMs, drain);
        return { draining: true };
      },
    ],
    [
      'POST users',
      async (body) => {
        const { user_id, balance, password, factors } = checked(UserBody, body);
        return addUser(user_id, balance ?? 0, { password: password === true, factors: factors === true });
      },
    ],
  ]);
}

function checked<T extends TSchema>(schema: T, body: unknown): Static<T> {
  if (Value.Check(schema, body)) return body;
  throw invalidRequest([...Value.Errors(schema, body)].slice(0, 10).map(({ path, message }) => ({ path, message })));
}
