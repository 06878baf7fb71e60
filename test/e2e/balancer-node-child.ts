/**
 * A node of its own process for tests of balancers: both bindings over small actors; any token `tep.<user>` is good. Arguments: name, port.
 * Told over IPC whether it is ready; tells what it has handled.
 */
import { startLiveServer } from '../support/live-server.ts';

/** What the parent asks. */
export type NodeQuestion = { readonly ready: boolean } | { readonly drain: true } | { readonly seen: true };

/** What it is answered: how many requests the node has handled by route, and how many sockets it has. */
export interface NodeSeen {
  readonly routes: Readonly<Record<string, number>>;
  readonly held: number;
}

const [node = '', port = '0'] = process.argv.slice(2);
let ready = true;
const live = await startLiveServer({
  node,
  port: Number(port),
  trustProxyHops: 1,
  async ready() {
    if (!ready) throw new Error('told not to be ready');
  },
  verifier: {
    verify: async (token) => ({
      userId: `@${token.slice(4)}:tween.example`,
      appId: 'ma_demo_shop',
      walletId: 'tw_1',
      scopes: new Set(['storage:read', 'storage:write']),
      tokenId: token,
      grantId: token,
      expiresAt: Date.now() + 3_600_000,
    }),
  },
});
// Readiness is cached for a second of the node's own clock.
setInterval(() => live.clock.advance(50), 50);

process.on('message', (question: NodeQuestion) => {
  if ('ready' in question) ready = question.ready;
  else if ('drain' in question) live.server.drain();
  else {
    const routes: Record<string, number> = {};
    for (const { event, route, method } of live.lines)
      if (event === 'http.request') routes[`${String(method)} ${String(route)}`] = (routes[`${String(method)} ${String(route)}`] ?? 0) + 1;
    process.send?.({ routes, held: live.held.length } satisfies NodeSeen);
  }
});
process.once('disconnect', () => process.exit(0));
process.send?.('listening');
