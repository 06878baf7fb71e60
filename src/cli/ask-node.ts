/** One question to a node over a peer link, by somebody who holds the cluster's key and is no node. */
import { SystemClock } from '../clock.ts';
import { newBootId } from '../ids.ts';
import { createLogger } from '../log.ts';
import type { PeerAddress } from '../transport/cluster/peer.ts';
import { createPeerNet } from '../transport/cluster/peer-net.ts';
import { version } from '../version.ts';

/** The node's answer. Errors: one sentence, when the link is not open and the answer not here within `withinMs`. */
export async function askNode(key: Uint8Array, node: PeerAddress, body: unknown, withinMs = 3_000): Promise<unknown> {
  const clock = new SystemClock();
  let opened: () => void = () => {};
  const open = new Promise<void>((resolve) => {
    opened = resolve;
  });
  const net = await createPeerNet({
    self: { bootId: newBootId(), name: 'tmcp actors', version },
    key,
    // Nobody is told of it: a node dials its peers, and we are none.
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    log: createLogger({ logLevel: 'silent' }),
    leaseValid: () => false,
    onAsk: (_from, _body, _deadlineMs, _trace, answer) => answer(['no node'], true),
    onEvent: () => {},
    onGap: () => {},
    onHint: () => {},
    onPeer: (_bootId, up) => {
      if (up) opened();
    },
  });
  try {
    return await new Promise<unknown>((resolve, reject) => {
      const { name, host, port } = node;
      clock.after(withinMs, () =>
        reject(new Error(`${name} was not reached at ${host}:${port} within ${withinMs / 1_000} s, or TMCP_PEPPER is not the cluster's`)),
      );
      void open.then(() =>
        net.ask(node.bootId, body, { deadlineMs: withinMs }, (error, value) => {
          if (error === null) resolve(value);
          else reject(new Error(`${name} did not answer: ${error.message}`));
        }),
      );
      net.setPeers([node]);
    });
  } finally {
    await net[Symbol.asyncDispose]();
  }
}
