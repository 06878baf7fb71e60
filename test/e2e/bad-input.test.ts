/**
 * Every operation of the catalogue against bad input and bad credentials, on both bindings, against the whole server: the coded
 * error of the contract, and nothing changed. The cases are made from the catalogue, so a new operation is covered by being there.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../../src/client/mod.ts';
import { type MethodName, operations } from '../../src/protocol/catalogue.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import type { Operation } from '../../src/protocol/operation.ts';
import { badInputsOf } from '../support/bad-inputs.ts';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';
import { samples } from '../support/samples.ts';

let app: DevApp;
let live: Client;
let token: string;
let unscoped: string;
const alice = '@alice:tween.example';
const actorOperations = operations.filter(({ handledBy }) => handledBy === 'actor');

interface Outcome {
  readonly status: number;
  readonly code: string;
  readonly requestId: string;
  readonly body: string;
}

async function overHttp(operation: Operation, input: Readonly<Record<string, unknown>>, bearer: string | undefined): Promise<Outcome> {
  const { http } = operation;
  if (http === undefined) throw new Error(`${operation.name} has no HTTP twin`);
  const rest: Record<string, unknown> = { ...input };
  const path = http.path.replace(/\{(\w+)\}/g, (_all, name: string) => {
    const value = rest[name];
    delete rest[name];
    return encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value ?? ''));
  });
  const url = new URL(path, app.origin);
  const bodyless = http.method === 'GET' || http.method === 'DELETE';
  if (bodyless)
    for (const [name, value] of Object.entries(rest)) url.searchParams.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  const response = await fetch(url, {
    method: http.method,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(bodyless ? {} : { 'content-type': 'application/json' }),
    },
    ...(bodyless ? {} : { body: JSON.stringify(rest) }),
  });
  const body = await response.text();
  const error = body === '' ? undefined : (JSON.parse(body) as { error?: { code: string; request_id: string } }).error;
  return { status: response.status, code: error?.code ?? '', requestId: error?.request_id ?? '', body };
}

async function overLive(client: Client, operation: Operation, input: unknown): Promise<string> {
  try {
    await client.call(operation.name as MethodName, input as never, { repeat: false });
    return 'ok';
  } catch (error) {
    if (error instanceof TmcpError) return error.code;
    throw error;
  }
}

const sampleOf = (operation: Operation): Readonly<Record<string, unknown>> => samples[operation.name as keyof typeof samples];

const isText = (operation: Operation, member: string | undefined): boolean =>
  (operation.input as unknown as { properties: Record<string, { type?: string; anyOf?: unknown }> }).properties[member ?? '']?.type ===
  'string';

/** A fingerprint of what alice has: it must not change. */
async function everything(): Promise<string> {
  const reader = await app.client(alice, allScopes);
  const [list, usage, devices, balance, transactions] = await Promise.all([
    reader.call('tween.storage.list', { limit: 1000 }),
    reader.call('tween.storage.usage', {}),
    reader.call('tween.device.list', {}),
    reader.call('tween.wallet.getBalance', {}),
    reader.call('tween.wallet.getTransactions', {}),
  ]);
  const { records } = await app.dev.app.parts.database
    .query<{ records: number }>('select count(*) as records from records')
    .then(([row]) => row ?? { records: -1 });
  await reader.close();
  return JSON.stringify({ list, usage, devices, balance, transactions, records });
}

beforeAll(async () => {
  app = await startDevApp();
  live = await app.client(alice, allScopes);
  token = await app.token(alice, allScopes);
  unscoped = await app.token(alice, []);
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

describe.each(actorOperations.map((operation) => [operation.name, operation] as const))('%s', (_name, operation) => {
  const cases = badInputsOf(operation, sampleOf(operation));

  it(`refuses ${cases.length} bad inputs on the live binding with INVALID_REQUEST and changes nothing`, async () => {
    const before = await everything();
    for (const { title, input } of cases) expect(`${title}: ${await overLive(live, operation, input)}`).toBe(`${title}: INVALID_REQUEST`);
    expect(await everything()).toBe(before);
  });

  it('refuses the same over HTTP with 400 and the envelope', async () => {
    const inPath = new Set([...(operation.http?.path ?? '').matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
    const inQuery = operation.http?.method === 'GET' || operation.http?.method === 'DELETE';
    const before = await everything();
    for (const { title, input, member } of cases) {
      // A path cannot lack its parameter or hold anything but text; what is in it is checked for its form.
      if (member !== undefined && inPath.has(member) && !/not of its form|too long/.test(title)) continue;
      // In a query everything is text: a text member cannot be of a wrong type there.
      if (inQuery && /wrong type/.test(title) && isText(operation, member)) continue;
      const outcome = await overHttp(operation, input, token);
      expect(`${title}: ${outcome.status} ${outcome.code}`).toBe(`${title}: 400 INVALID_REQUEST`);
      expect(outcome.requestId).not.toBe('');
      expect(outcome.body).not.toMatch(/at .*\.(ts|js):\d+/);
    }
    expect(await everything()).toBe(before);
  });

  it('refuses a missing, a malformed and an expired token with 401', async () => {
    const expiring = await app.token(alice, allScopes, { expiresInS: 1 });
    const forged = `${token.slice(0, -8)}AAAAAAAA`;
    await app.advance(2_000);
    for (const bearer of [undefined, 'tep.nonsense', 'nonsense', forged, expiring]) {
      expect(await overHttp(operation, sampleOf(operation), bearer)).toMatchObject({ status: 401, code: 'INVALID_TOKEN' });
    }
  });

  // An operation without scopes takes any valid token.
  if (operation.scopes.length === 0) return;
  it('refuses a token without its scope with 403 on both bindings', async () => {
    expect(await overHttp(operation, sampleOf(operation), unscoped)).toMatchObject({ status: 403, code: 'INSUFFICIENT_PERMISSIONS' });
    const without = await app.client(
      alice,
      allScopes.filter((scope) => !operation.scopes.includes(scope)),
    );
    expect(await overLive(without, operation, sampleOf(operation))).toBe('INSUFFICIENT_PERMISSIONS');
    await without.close();
  });
});

describe('revoked tokens', () => {
  it('are refused on every operation over HTTP, and their live socket is closed', async () => {
    const carol = '@carol:tween.example';
    const bearer = await app.token(carol, allScopes);
    const socket = await app.client(carol, allScopes);
    const closed = new Promise<void>((resolve) => socket.on('state', (state: string) => state === 'closed' && resolve()));
    expect(await overHttp(actorOperations.find(({ name }) => name === 'tween.auth.revoke') as Operation, {}, bearer)).toMatchObject({
      status: 200,
    });
    await closed;
    for (const operation of actorOperations) {
      expect(`${operation.name} ${(await overHttp(operation, sampleOf(operation), bearer)).status}`).toBe(`${operation.name} 401`);
    }
  });
});

describe('objects of others', () => {
  it('a payment of another user does not exist for me, whatever is tried on it', async () => {
    const bob = await app.client('@bob:tween.example', allScopes);
    const foreign = await bob.call('tween.wallet.pay', { ...samples['tween.wallet.pay'], idempotency_key: 'of-bob' });
    for (const name of ['tween.payment.get', 'tween.payment.authorize', 'tween.payment.verifyMfa', 'tween.payment.cancel'] as const) {
      const operation = operations.find((entry) => entry.name === name) as Operation;
      const input = { ...samples[name], payment_id: foreign.payment_id };
      expect(`${name} ${await overLive(live, operation, input)}`).toBe(`${name} PAYMENT_NOT_FOUND`);
      expect(await overHttp(operation, input, token)).toMatchObject({ status: 404, code: 'PAYMENT_NOT_FOUND' });
    }
    expect(await bob.call('tween.payment.get', { payment_id: foreign.payment_id })).toEqual(foreign);
  });

  it('the same key in another app or of another user is another key', async () => {
    await live.call('tween.storage.set', { key: 'mine', value: 'alice in the shop' });
    const elsewhere = await app.client(alice, allScopes, { appId: 'ma_official_host' });
    const other = await app.client('@bob:tween.example', allScopes);
    await expect(elsewhere.call('tween.storage.get', { key: 'mine' })).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
    await expect(other.call('tween.storage.get', { key: 'mine' })).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
  });
});
