/** Several nodes on one real Postgres: of many that use the same secret at once, one wins, and everything that came of it ends. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/persistence/database.ts';
import { openPostgres } from '../../src/persistence/postgres/open.ts';
import { authorizeUrl, Browser, pkce, signInAndAllow } from '../support/oauth-browser.ts';
import { alice, type Harness, shop, startIdentity } from '../support/oauth-harness.ts';
import { freshDatabase } from '../support/postgres.ts';

const nodeCount = 4;
const nodes: Harness[] = [];
const databases: Database[] = [];

beforeAll(async () => {
  const url = await freshDatabase();
  const cookieKeys = ['one cookie key for all nodes of the test'];
  for (let n = 0; n < nodeCount; n += 1) {
    const db = await openPostgres(url, { poolSize: 8 });
    databases.push(db);
    const shared = nodes[0] === undefined ? {} : { keys: nodes[0].keys, issuer: nodes[0].issuer };
    nodes.push(await startIdentity({ db, identity: { cookieKeys, ...shared } }));
  }
});
afterAll(async () => {
  for (const node of nodes) {
    expect(node.faults).toEqual([]);
    await node.stop();
  }
  for (const db of databases) await db.close();
});

/** Sends a form to a node, as the balancer would spread them. */
async function token(node: number, form: Record<string, string>): Promise<{ status: number; body: Record<string, string> }> {
  const answer = await nodes[node % nodeCount]!.identity.handle({
    method: 'POST',
    url: '/oauth2/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(new URLSearchParams(form).toString()),
    remoteAddress: '10.0.0.1',
  });
  return { status: answer.status, body: JSON.parse(answer.body.toString()) as Record<string, string> };
}

async function codeForm(): Promise<Record<string, string>> {
  const { verifier, challenge } = pkce();
  const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge });
  const back = await signInAndAllow(new Browser(nodes[0]!.issuer), url, alice);
  return {
    grant_type: 'authorization_code',
    client_id: shop.appId,
    redirect_uri: shop.redirectUri,
    code_verifier: verifier,
    code: back.searchParams.get('code') ?? '',
  };
}

const refreshForm = (value: string): Record<string, string> => ({
  grant_type: 'refresh_token',
  client_id: shop.appId,
  refresh_token: value,
});

async function expectOneWinnerAndADeadFamily(form: Record<string, string>, times: number): Promise<void> {
  const answers = await Promise.all(Array.from({ length: times }, (_, n) => token(n, form)));
  const winners = answers.filter(({ status }) => status === 200);
  expect(winners).toHaveLength(1);
  expect(answers.filter(({ body }) => body['error'] === 'invalid_grant')).toHaveLength(times - 1);
  const [winner] = winners;
  expect((await token(1, refreshForm(winner!.body['refresh_token'] ?? ''))).body['error']).toBe('invalid_grant');
  for (const node of nodes) await node.revocations.refresh();
  for (const node of nodes) expect(await node.refused(winner!.body['access_token'] ?? '')).toBe(true);
}

describe('four nodes', () => {
  it('of 100 redemptions of one code one wins, and its tokens are dead on every node', async () => {
    await expectOneWinnerAndADeadFamily(await codeForm(), 100);
  });

  it('of 50 uses of one refresh token one wins, and its tokens are dead on every node', async () => {
    for (let round = 0; round < 5; round += 1) {
      const first = await token(0, await codeForm());
      await expectOneWinnerAndADeadFamily(refreshForm(first.body['refresh_token'] ?? ''), 50);
    }
  });

  it('a family rotates from node to node as long as each token is used once', async () => {
    let answer = await token(0, await codeForm());
    for (const node of nodes) expect(await node.refused(answer.body['access_token'] ?? '')).toBe(false);
    for (let turn = 1; turn <= 12; turn += 1) {
      answer = await token(turn, refreshForm(answer.body['refresh_token'] ?? ''));
      expect(answer.status).toBe(200);
    }
  });

  it('let no more than five of 400 passwords sent at once be looked at', async () => {
    const charges = await Promise.all(
      Array.from({ length: 400 }, (_, n) => nodes[n % nodeCount]!.store.guards.charge('@many:tween.example')),
    );
    expect(charges.filter(({ lockedForMs }) => lockedForMs === 0)).toHaveLength(5);
  });

  it('a withdrawal on one node ends refreshes that run at the same time on others', async () => {
    for (let round = 0; round < 5; round += 1) {
      const first = await token(0, await codeForm());
      const [refreshed] = await Promise.all([
        token(1, refreshForm(first.body['refresh_token'] ?? '')),
        nodes[2]!.identity.revoke({ userId: alice.userId, appId: shop.appId, reason: 'user_initiated' }),
      ]);
      for (const node of nodes) await node.revocations.refresh();
      if (refreshed.status === 200) {
        for (const node of nodes) expect(await node.refused(refreshed.body['access_token'] ?? '')).toBe(true);
        expect((await token(3, refreshForm(refreshed.body['refresh_token'] ?? ''))).status).toBe(400);
      }
    }
  });
});
