/** A node in a process of its own, to be killed: answers asks on `echo`, keeps the others waiting. Its port is its first line. */
import { PeerNode } from '../../support/peer-nodes.ts';

const node = await PeerNode.start(process.argv[2] ?? 'child', {
  onAsk: (_from, body, _deadlineMs, _trace, answer) => {
    if (body === 'echo') answer(body, true);
    else answer('working', false);
  },
});
process.stdout.write(`${node.net.port}\n`);
