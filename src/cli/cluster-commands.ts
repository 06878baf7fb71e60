/** `tmcp nodes`, `tmcp drain` and `tmcp actors`: an operator's view of many nodes. */
import { type Command, InvalidArgumentError } from 'commander';
import type { ClusterConfig } from './cluster-database.ts';

const environment = `
Environment: DATABASE_URL names the database of the cluster.`;

/** Adds the commands; `config` is read when one of them runs. */
export function addClusterCommands(program: Command, config: () => ClusterConfig): void {
  program
    .command('nodes')
    .description('the nodes of the cluster: state, lease, slots and load, as the database has them')
    .option('--json', 'for programs', false)
    .addHelpText(
      'after',
      `${environment}

A node is live, draining, or gone: its lease is over and others take its slots. Rows of nodes that are gone go an hour later.
LOOP DELAY is how late the event loop came round, 99 times of 100, since the node's last heartbeat; BUSY the share of time it worked.`,
    )
    .action(async (options: { json: boolean }) => {
      const { runNodes } = await import('./nodes.ts');
      process.exitCode = await runNodes(config(), options);
    });

  program
    .command('drain')
    .description('asks a node to move its clients and actors to other nodes and end, and waits until it has left')
    .argument('[node]', 'its name, as `tmcp nodes` shows it')
    .option('--self', 'the node that TMCP_NODE_NAME names: for a Kubernetes preStop hook', false)
    .option('--wait <seconds>', 'give up waiting; the node drains on', seconds, 60)
    .addHelpText(
      'after',
      `${environment} --self also needs TMCP_NODE_NAME.

The node does what SIGTERM does; it sees the request within 1.5 s.
Exit code: 0 when the node has left; 1 when it has not in time, died on its way, or there is no such node; 2 when none was named.`,
    )
    .action(async (node: string | undefined, options: { self: boolean; wait: number }) => {
      const { runDrain } = await import('./drain.ts');
      process.exitCode = await runDrain(config(), { node, ...options });
    });

  program
    .command('actors')
    .description('where one actor is: slot, owner, epoch, what is stored, and what its owner has in memory')
    .argument('<address>', 'user:@name:server, vault:@name:server:ma_app or payment:pay_…')
    .option('--json', 'for programs', false)
    .addHelpText(
      'after',
      `${environment} With TMCP_PEPPER, the cluster's, the owner is asked over its peer port.

Without the pepper, or when the owner is not reached, it says so and shows what the database knows.
An actor that is not in memory is well: it is loaded with its next message.`,
    )
    .action(async (address: string, options: { json: boolean }) => {
      const { runActors } = await import('./actors.ts');
      process.exitCode = await runActors(config(), address, options);
    });
}

function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 86_400)
    throw new InvalidArgumentError('must be a whole number of seconds, at most 86,400');
  return value;
}
