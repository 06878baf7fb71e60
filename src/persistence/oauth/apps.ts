/**
 * The registered mini-apps, as the OAuth server and the rest of the server see them.
 * Order: each call is one statement. Who else writes: other nodes; a change is seen here within a second.
 */
import { createHash } from 'node:crypto';
import type { AppDirectory, AppRecord, Clock } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';
import { cached } from './cached.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = { find: load('app-find'), origins: load('app-origins'), seed: load('app-seed'), setStatus: load('app-set-status') };

interface AppRow {
  app_id: string;
  name: string;
  developer: string;
  client_type: AppRecord['clientType'];
  classification: AppRecord['classification'];
  status: AppRecord['status'];
  scopes: string[];
  preapproved_scopes: string[];
  redirect_uris: string[];
  secret_hash: string | null;
}

/** An app with what only the OAuth server needs. `secretHash` is the SHA-256 of the secret, hex. */
export interface OauthApp extends AppRecord {
  readonly developer: string;
  readonly preapprovedScopes: readonly string[];
  readonly secretHash: string | null;
}

/** An app to make. `clientSecret` (at least 128 random bits) is stored as its hash only. */
export interface AppSeed {
  readonly appId: string;
  readonly name: string;
  readonly developer?: string;
  readonly clientType: AppRecord['clientType'];
  readonly classification: AppRecord['classification'];
  readonly scopes: readonly string[];
  /** Scopes the reviewer let pass without asking the person; only `user:read` and `storage:*` count. */
  readonly preapprovedScopes?: readonly string[];
  readonly redirectUris: readonly string[];
  readonly clientSecret?: string;
}

const appIdPattern = /^ma_[A-Za-z0-9]+(_[A-Za-z0-9]+)*$/;
const longestAppId = 128;

function isAppId(text: string): boolean {
  return text.length <= longestAppId && appIdPattern.test(text);
}

/** The apps on `db`; answers are at most a second old. */
export function createApps(db: Database, clock: Clock) {
  const records = cached(clock, async (appId: string): Promise<OauthApp | undefined> => {
    const row = (await db.query<AppRow>(sql.find, [appId], 'app-find'))[0];
    if (row === undefined) return undefined;
    return {
      appId: row.app_id,
      name: row.name,
      developer: row.developer,
      clientType: row.client_type,
      classification: row.classification,
      status: row.status,
      scopes: row.scopes,
      preapprovedScopes: row.preapproved_scopes,
      redirectUris: row.redirect_uris,
      secretHash: row.secret_hash,
    };
  });

  /** One entry: what an unknown origin costs is a look at a set that is read at most once in five seconds. */
  const origins = cached(
    clock,
    async () => new Set((await db.query<{ uri: string }>(sql.origins, [], 'app-origins')).map(({ uri }) => new URL(uri).origin)),
    5_000,
    1,
  );

  /** What clients call themselves comes here unread: what cannot be an id is neither asked for nor kept. */
  const recordOf = async (appId: string): Promise<OauthApp | undefined> => (isAppId(appId) ? records.get(appId) : undefined);

  const directory: AppDirectory = {
    async find(appId) {
      const app = await recordOf(appId);
      if (app === undefined) return undefined;
      const { name, clientType, classification, status, scopes, redirectUris } = app;
      return { appId: app.appId, name, clientType, classification, status, scopes, redirectUris };
    },
  };

  return {
    ...directory,

    /** Whether a browser origin belongs to an active app; at most five seconds old. */
    async ownsOrigin(origin: string): Promise<boolean> {
      return (await origins.get('all')).has(origin);
    },

    /** The app with the members only the OAuth server reads. */
    oauthApp(appId: string): Promise<OauthApp | undefined> {
      return recordOf(appId);
    },

    /** Makes the app or replaces its record. Idempotent. Throws when an id, a secret or a redirect URI is not acceptable anywhere. */
    async seed(app: AppSeed): Promise<void> {
      if (!isAppId(app.appId)) throw new Error(`${app.appId} is not a mini-app id`);
      if (app.clientType === 'confidential' && app.clientSecret === undefined)
        throw new Error(`${app.appId} is confidential and needs a secret`);
      for (const uri of app.redirectUris) checkRedirectUri(uri);
      const secretHash = app.clientSecret === undefined ? null : createHash('sha256').update(app.clientSecret).digest('hex');
      const lists = [app.scopes, app.preapprovedScopes ?? [], app.redirectUris].map((list) => JSON.stringify(list));
      await db.query(sql.seed, [
        app.appId,
        app.name,
        app.developer ?? '',
        app.clientType,
        app.classification,
        ...lists,
        secretHash,
        clock.now(),
      ]);
      records.forget(app.appId);
    },

    /** Suspends an app or lets it in again; other nodes follow within a second. */
    async setStatus(appId: string, status: AppRecord['status']): Promise<void> {
      await db.query(sql.setStatus, [appId, status, clock.now()]);
      records.forget(appId);
    },
  };
}

/** Throws unless `uri` is https, or http on a loopback host, without fragment or user part. Which of them may be used is the server's choice. */
function checkRedirectUri(uri: string): void {
  const parsed = new URL(uri);
  const loopback = parsed.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(parsed.hostname);
  const plain = parsed.username === '' && parsed.password === '' && !uri.includes('#');
  if (!plain || !(parsed.protocol === 'https:' || loopback)) throw new Error(`${uri} cannot be a redirect URI`);
}
