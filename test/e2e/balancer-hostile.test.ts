/**
 * What a hostile client can do to others behind the deployed balancers: hide a request in another one's bytes, or claim an address that is
 * not its own. Real programs, real nodes.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Balancer, findBalancer, startBalancer } from '../../scripts/lib/balancer.ts';
import { ambiguous, hiding } from '../support/ambiguous-requests.ts';
import { LiveClient, UpgradeRefused } from '../support/live-client.ts';
import { type LiveServer, startLiveServer } from '../support/live-server.ts';

/** Odd for balancers above all: a socket that is none, and another protocol. The body is what stands behind the headers. */
const upgrades = [
  ['a handshake of an old version', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: x', ''],
  ['a handshake without a key', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13', ''],
  ['h2c', 'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA', ''],
  ['an expectation', 'Expect: 100-continue\r\nContent-Length: 4', 'abcd'],
  ['a length named by Connection', 'Content-Length: 4\r\nConnection: keep-alive, Content-Length', 'abcd'],
  ['a coding named by Connection', 'Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding', '0\r\n\r\n'],
  ['a header with an underscore', 'Content_Length: 4\r\nTransfer_Encoding: chunked', '0\r\n\r\n'],
  ['a vertical tab in the coding', 'Transfer-Encoding: \x0bchunked\r\nContent-Length: 4', '0\r\n\r\n'],
] as const;

for (const kind of ['haproxy', 'nginx'] as const) {
  if (findBalancer(kind) === undefined) process.stdout.write(`skipped: ${kind} is not installed\n`);

  describe.skipIf(findBalancer(kind) === undefined)(`[S20] behind ${kind}`, () => {
    let live: LiveServer;
    let balancer: Balancer;
    const clients: LiveClient[] = [];

    beforeAll(async () => {
      live = await startLiveServer({ trustProxyHops: 1, maxConnectionsPerIp: 2 });
      balancer = await startBalancer(kind, { nodes: [{ name: 'n1', port: live.port }] });
    });
    afterEach(() => {
      for (const client of clients.splice(0)) client.cut();
    });
    afterAll(async () => {
      await balancer.stop();
      await live[Symbol.asyncDispose]();
    });

    /** Requests that the node handled: a hidden one is one for the store's documents. */
    const handled = (): { all: number; hidden: number } => {
      const requests = live.lines.filter(({ event, route }) => event === 'http.request' && route !== '/readyz' && route !== '/healthz');
      return { all: requests.length, hidden: requests.filter(({ route }) => route === '/openapi.json').length };
    };

    /** Requests that the balancer itself saw and passed on. */
    async function forwarded(): Promise<number> {
      if (kind === 'nginx') {
        const lines = readFileSync(join(balancer.configFile, '../access.log'), 'utf8').trimEnd().split('\n');
        return lines.filter((line) => / 127\.0\.0\.1:\d+ [\d.]+$/.test(line)).length;
      }
      const rows = (await balancer.ask('show stat')).split('\n').map((line) => line.split(','));
      const column = (rows[0] as string[]).indexOf('stot');
      return rows.filter((row) => row[1] === 'BACKEND').reduce((sum, row) => sum + Number(row[column]), 0);
    }

    it.each([
      ...ambiguous.map(
        ([what, headers, body]) => [what, hiding(what, headers, body, 'GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n')] as const,
      ),
      ...upgrades.map(
        ([what, headers, body]) =>
          [what, `GET /v1/live HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n`] as const,
      ),
    ])('[HTTP23] %s is one request for both, or none for the node', async (_, bytes) => {
      const before = { node: handled(), balancer: await forwarded() };
      const socket = connect(balancer.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.write(bytes, 'latin1');
      // Others, with connections of their own, get their own answers while the odd one is under way and after it.
      for (let n = 0; n < 4; n++) {
        const victim = await fetch(`${balancer.origin}/api/v1/storage/of-${n}`, { headers: { authorization: `Bearer ${live.token()}` } });
        expect([victim.status, ((await victim.json()) as { error: { code: string } }).error.code]).toEqual([404, 'KEY_NOT_FOUND']);
        expect((await fetch(`${balancer.origin}/healthz`)).status).toBe(200);
      }
      // The bytes behind may be the client's own next request when both say so: then it has an answer of its own, after the first one's.
      const answers = (): number => [...text.matchAll(/HTTP\/1\.1 \d{3} /g)].length;
      await expect.poll(() => handled().hidden - before.node.hidden <= Math.max(0, answers() - 1)).toBe(true);
      socket.destroy();
      // Eight are ours, four of them not counted at the node. One that it handled and the balancer does not know of would be the hidden one.
      await expect.poll(async () => handled().all - before.node.all + 4 <= (await forwarded()) - before.balancer).toBe(true);
    });

    const claims = [
      { 'X-Forwarded-For': '203.0.113.1' },
      { 'X-Forwarded-For': '203.0.113.2, 203.0.113.3' },
      { 'x-forwarded-for': '203.0.113.4', Forwarded: 'for=203.0.113.5', 'X-Real-IP': '203.0.113.6' },
      { 'X-Forwarded-For': '203.0.113.7\r\nX-Forwarded-For: 203.0.113.8' },
      { 'X-Forwarded-For': '' },
      { X_Forwarded_For: '203.0.113.9' },
    ];

    it('[LIVE45] an address that a client claims is not the one it is counted under', async () => {
      const dial = (headers: Readonly<Record<string, string>>): Promise<LiveClient> => LiveClient.connect(balancer.port, { headers });
      for (const headers of claims.slice(0, 2)) clients.push(await dial(headers));
      for (const headers of claims) {
        const refused: unknown = await dial(headers).catch((error: unknown) => error);
        expect(refused).toBeInstanceOf(UpgradeRefused);
        expect((refused as UpgradeRefused).status).toBe(503);
      }
    });

    it('[LIVE45] while a peer that reaches the node without the balancer is counted under what it claims', async () => {
      for (const headers of claims.slice(0, 3)) clients.push(await LiveClient.connect(live.port, { headers }));
    });
  });
}
