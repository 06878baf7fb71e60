/**
 * The storage adapter the OAuth library asks for, over `ModelStore`. Here live the rules the library leaves to its storage: ids that are
 * secrets are stored as SHA-256, use is atomic, a second use ends the family with its live tokens, clients come from the app records,
 * and access tokens are not stored at all: they are verified.
 */
import { createHash } from 'node:crypto';
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import type { Clock, Revocations } from '../../../actors/ports.ts';
import { TmcpError } from '../../../protocol/errors.ts';
import type { TepVerifier } from '../../tokens/tep-verifier.ts';
import type { IdentityEvent, ModelRow, ModelStore } from './ports.ts';

export interface AdapterParts {
  readonly models: ModelStore;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly refreshTokenS: number;
  verifier(): TepVerifier;
  clientMetadata(clientId: string): Promise<AdapterPayload | undefined>;
  onEvent(event: IdentityEvent): void;
}

/** Whoever reads the database must not be able to use these. Interactions are bound to a signed cookie, grants are no secret. */
const hashedKinds = new Set(['AuthorizationCode', 'RefreshToken', 'Session']);
/** A refresh token that waits for its successor: both are written in one statement. */
const rotating = Symbol('rotating');

type Carrier = { [rotating]?: string };

/** The adapter of one model. */
export function adapterFor(kind: string, parts: AdapterParts): Adapter {
  if (kind === 'Client') return clientAdapter(parts);
  if (kind === 'AccessToken') return accessTokenAdapter(parts);
  return new ModelAdapter(kind, parts);
}

class ModelAdapter implements Adapter {
  readonly #kind: string;
  readonly #parts: AdapterParts;

  constructor(kind: string, parts: AdapterParts) {
    this.#kind = kind;
    this.#parts = parts;
  }

  #id(id: string): string {
    return hashedKinds.has(this.#kind) ? createHash('sha256').update(id).digest('base64url') : id;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const { models, clock, refreshTokenS } = this.#parts;
    const row = this.#row(id, payload, expiresIn ?? 0);
    const carrier = this.#kind === 'RefreshToken' ? (Provider.ctx as unknown as Carrier | undefined) : undefined;
    const used = carrier?.[rotating];
    if (carrier === undefined || used === undefined) return models.upsert(row);
    delete carrier[rotating];
    const won = await models.rotate(this.#id(used), row, clock.now() + (refreshTokenS + grantMarginS) * 1_000);
    if (!won) await this.#reused(row.grantId ?? undefined);
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const stored = await this.#parts.models.find(this.#kind, this.#id(id));
    if (stored === undefined) return undefined;
    const payload = { ...stored.payload, jti: id } as AdapterPayload;
    // Expiry is the row's, by our clock; a grant grows older than its payload says, and a used code must still be recognised later.
    if (this.#kind === 'Grant' || stored.consumedAt !== null) delete payload.exp;
    if (stored.consumedAt !== null) payload.consumed = Math.floor(stored.consumedAt / 1_000);
    return payload;
  }

  async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    const stored = await this.#parts.models.findByUid(this.#kind, uid);
    return stored === undefined ? undefined : (stored.payload as AdapterPayload);
  }

  async findByUserCode(): Promise<undefined> {
    return undefined;
  }

  /** Uses the row up. Errors: `invalid_grant` for everybody but the first, after the family has been ended. */
  async consume(id: string): Promise<void> {
    const context = Provider.ctx;
    if (this.#kind === 'RefreshToken' && context !== undefined) {
      // The library writes the successor next; `upsert` uses up this one in the same statement.
      (context as unknown as Carrier)[rotating] = id;
      return;
    }
    const { models } = this.#parts;
    if (!(await models.consume(this.#kind, this.#id(id)))) await this.#reused(await models.grantOf(this.#kind, this.#id(id)));
  }

  async destroy(id: string): Promise<void> {
    await this.#parts.models.destroy(this.#kind, this.#id(id));
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    await this.#parts.models.destroyByGrant(this.#kind, grantId);
  }

  async #reused(grantId: string | undefined): Promise<never> {
    if (grantId !== undefined) await endFamily(this.#parts, grantId);
    throw new errors.InvalidGrant('already used');
  }

  #row(id: string, payload: AdapterPayload, expiresInS: number): ModelRow {
    const { jti, ...kept } = payload as AdapterPayload & { jti?: string };
    const session = kept['session'] as { cookie?: string } | undefined;
    if (session?.cookie !== undefined) {
      const { cookie, ...rest } = session;
      kept['session'] = rest as never;
    }
    const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
    return {
      kind: this.#kind,
      id: this.#id(id),
      payload: kept as unknown as Record<string, unknown>,
      grantId: this.#kind === 'Interaction' ? null : text(payload.grantId),
      accountId: text(payload.accountId),
      clientId: text(payload.clientId),
      userCode: text(payload.userCode),
      uid: text(payload.uid),
      expiresAt: this.#parts.clock.now() + expiresInS * 1_000,
    };
  }
}

/** A grant outlives its newest refresh token by this much. */
export const grantMarginS = 86_400;

/** Ends a grant: its live tokens everywhere, then what could make new ones. */
export async function endFamily(parts: Pick<AdapterParts, 'models' | 'revocations' | 'clock' | 'onEvent'>, grantId: string): Promise<void> {
  await parts.revocations.revoke({ grantId, at: parts.clock.now() });
  await parts.models.destroy('Grant', grantId);
  await parts.models.destroyByGrant('RefreshToken', grantId);
  await parts.models.destroyByGrant('AuthorizationCode', grantId);
  parts.onEvent({ type: 'family.revoked', grantId, reason: 'reuse' });
}

/** Access tokens are signed, not stored: finding one is verifying it, destroying one is revoking its id. */
function accessTokenAdapter(parts: AdapterParts): Adapter {
  return {
    ...emptyAdapter,
    async find(token) {
      if (!token.startsWith('tep.')) return undefined;
      const verified = await parts
        .verifier()
        .inspect(token)
        .catch((error: unknown) => {
          if (error instanceof TmcpError && error.code === 'INVALID_TOKEN') return undefined;
          throw error;
        });
      if (verified === undefined) return undefined;
      const { claims } = verified;
      // Without the grant's id, so that revoking one token leaves the others of its grant alone.
      return {
        kind: 'AccessToken',
        jti: claims.jti,
        accountId: claims.sub,
        clientId: claims.client_id,
        aud: claims.aud,
        scope: claims.scope,
        iat: claims.iat,
        exp: claims.exp,
        extra: { sub: claims.sub, nbf: claims.nbf, wallet_id: claims.wallet_id, session_id: claims.session_id, user_id: claims.sub },
      };
    },
    async destroy(tokenId) {
      await parts.revocations.revoke({ tokenId, at: parts.clock.now() });
    },
    async revokeByGrantId(grantId) {
      await parts.revocations.revoke({ grantId, at: parts.clock.now() });
      parts.onEvent({ type: 'family.revoked', grantId });
    },
  };
}

function clientAdapter(parts: AdapterParts): Adapter {
  return { ...emptyAdapter, find: (clientId) => parts.clientMetadata(clientId) };
}

const emptyAdapter: Adapter = {
  async upsert() {},
  async find() {
    return undefined;
  },
  async findByUserCode() {
    return undefined;
  },
  async findByUid() {
    return undefined;
  },
  async consume() {},
  async destroy() {},
  async revokeByGrantId() {},
};
