/** `tmcp actors`: where one actor is, what is stored of it, and how its owner has it in memory. */
import { Value } from '@sinclair/typebox/value';
import type { Address, ClusterNode } from '../actors/ports.ts';
import { linkKey } from '../app/link-key.ts';
import { findDevState } from '../dev/dev-state.ts';
import type { Database } from '../persistence/database.ts';
import { createClusterStore } from '../persistence/stores/cluster-store.ts';
import { type ActorFacts, actorFacts } from '../persistence/stores/cluster-view.ts';
import { AppId, PaymentId, toIso, UserId } from '../protocol/schemas.ts';
import type { ActorPlace } from '../transport/cluster/cluster.ts';
import { askNode } from './ask-node.ts';
import { type ClusterConfig, type Print, print, withCluster } from './cluster-database.ts';
import { reasonOf, StartError } from './explain.ts';
import { shortBoot } from './nodes.ts';

/** What the owner says; or why it is not known. */
type InMemory = { readonly place: ActorPlace } | { readonly unknown: string };

/** Prints what is known; 0, also when only the database could be asked. Errors: `StartError` for what is no address of an actor. */
export async function runActors(
  config: ClusterConfig,
  address: string,
  options: { readonly json?: boolean },
  out: Print = print,
): Promise<number> {
  checkAddress(address);
  const { facts, owner, memory } = await withCluster(config, async (database) => {
    const facts = await actorFacts(database, address);
    const owner = (await createClusterStore(database).nodes()).find(({ bootId }) => bootId === facts.owner);
    return { facts, owner, memory: await inMemory(config, database, owner, address) };
  });
  out(
    options.json === true ? `${JSON.stringify(asJson(address, facts, owner, memory), null, 2)}\n` : asText(address, facts, owner, memory),
  );
  return 0;
}

function checkAddress(address: Address): void {
  const [, kind, id = ''] = /^([a-z]+):(.+)$/.exec(address) ?? [];
  const end = id.lastIndexOf(':');
  const right =
    (kind === 'user' && Value.Check(UserId, id)) ||
    (kind === 'vault' && Value.Check(UserId, id.slice(0, end)) && Value.Check(AppId, id.slice(end + 1))) ||
    (kind === 'payment' && Value.Check(PaymentId, id));
  if (right) return;
  throw new StartError(
    `${address} is no address of an actor. Addresses are user:@name:server, vault:@name:server:ma_app and payment:pay_… .`,
    2,
  );
}

async function inMemory(config: ClusterConfig, database: Database, owner: ClusterNode | undefined, address: Address): Promise<InMemory> {
  if (owner === undefined || owner.leaseLeftMs <= 0) return { unknown: 'there is nobody to ask' };
  const pepper = config.pepper ?? (await devPepper(database));
  if (pepper === undefined) return { unknown: 'TMCP_PEPPER is not set here, and the key of the links comes from it' };
  const { bootId, name, peerHost: host, peerPort: port } = owner;
  try {
    const [place] = (await askNode(linkKey(pepper), { bootId, name, host, port }, ['d', address])) as [ActorPlace | string];
    if (typeof place !== 'string') return { place };
    return { unknown: place === 'starting' ? `${name} is starting` : `${name} is of a release that cannot tell` };
  } catch (error) {
    return { unknown: reasonOf(error) };
  }
}

/** Nodes of `tmcp dev` draw their keys once and keep them in their database. */
async function devPepper(database: Database): Promise<Uint8Array | undefined> {
  const keys = await findDevState<{ readonly pepper: string }>(database, 'keys');
  return keys === undefined ? undefined : Buffer.from(keys.pepper, 'base64');
}

function asText(
  address: Address,
  { slot, epoch, owner: bootId, written }: ActorFacts,
  owner: ClusterNode | undefined,
  memory: InMemory,
): string {
  let who = 'nobody; the first message makes a node take it';
  if (owner !== undefined) {
    const lease =
      owner.leaseLeftMs > 0 ? `lease ${(owner.leaseLeftMs / 1_000).toFixed(1)}s` : 'gone; the first message makes a node take it';
    who = `${owner.name} (${shortBoot(owner.bootId)}) at ${owner.peerHost}:${owner.peerPort}, ${lease}`;
  } else if (bootId !== null) who = `${shortBoot(bootId)}, which is no member of a cluster: a node alone, or one that is gone`;
  const stored = written === null ? 'nothing yet' : `seq ${written.seq} under epoch ${written.epoch}, written ${toIso(written.at)}`;
  const lines = [
    ['slot', `${slot}, epoch ${epoch}`],
    ['owner', who],
    ['stored', stored],
    ['in memory', memoryText(memory)],
  ] as const;
  return `${address}\n${lines.map(([name, text]) => `  ${name.padEnd(10)} ${text}\n`).join('')}`;
}

function memoryText(memory: InMemory): string {
  if ('unknown' in memory) return `not known: ${memory.unknown}`;
  const { inMemory: there, state, mailbox, seq, lastUsedAt, lastFlushedAt } = memory.place;
  if (!there) return state === 'mine' || state === 'leaving' ? 'no' : `no; the slot is on its way (${state}), ask again`;
  const used = lastUsedAt === null ? '' : `, last used ${toIso(lastUsedAt)}`;
  const flushed = lastFlushedAt === null ? ', nothing flushed since it was loaded' : `, last flush ${toIso(lastFlushedAt)}`;
  return `yes: mailbox ${mailbox}, seq ${seq}${used}${flushed}`;
}

function asJson(address: Address, facts: ActorFacts, owner: ClusterNode | undefined, memory: InMemory): object {
  const { slot, epoch, owner: bootId, written } = facts;
  const iso = (at: number | null): string | null => (at === null ? null : toIso(at));
  let shown: object;
  if ('unknown' in memory) shown = { known: false, why: memory.unknown };
  else {
    const { inMemory: there, state, mailbox, seq, lastUsedAt, lastFlushedAt } = memory.place;
    const detail = there ? { mailbox, seq, last_used_at: iso(lastUsedAt), last_flush_at: iso(lastFlushedAt) } : {};
    shown = { known: true, in_memory: there, slot_state: state, ...detail };
  }
  return {
    address,
    slot,
    epoch,
    owner: bootId === null ? null : { boot_id: bootId, name: owner?.name ?? null, lease_left_ms: owner?.leaseLeftMs ?? null },
    stored: written === null ? null : { seq: written.seq, epoch: written.epoch, written_at: toIso(written.at) },
    memory: shown,
  };
}
