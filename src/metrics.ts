/**
 * The server's metrics and their text for Prometheus. The only importer of prom-client, which gives the registry and the
 * process metrics (memory, CPU, event loop delay, garbage collection); the cells are ours, see `metric-cells.ts`.
 * Names follow protocol section 34; units are in the names, seconds and bytes.
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { CounterCell, Family, GaugeCell, HistogramCell } from './metric-cells.ts';

/** Seconds from a quarter of a millisecond, a message in memory, to 10 s, a call that is about to time out. */
const secondBounds = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Entries of one group commit. */
const groupBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

export type Metrics = ReturnType<typeof createMetrics>;

/** A set of metrics with a registry of its own. `defaults` adds those of the process; one set a process should have them. */
export function createMetrics(defaults = true) {
  const registry = new Registry();
  if (defaults) collectDefaultMetrics({ register: registry });

  function register(name: string, help: string, type: string, family: Family<readonly string[], never>): void {
    // The registry asks a metric for nothing but this when it prints.
    const metric = { name, help, type, get: () => Promise.resolve({ name, help, type, values: family.samples(), aggregator: 'sum' }) };
    registry.registerMetric(metric as unknown as Metric);
  }
  function counter<const L extends readonly string[]>(name: string, help: string, labels: L): Family<L, CounterCell> {
    const family = new Family(name, labels, () => new CounterCell());
    register(name, help, 'counter', family as never);
    return family;
  }
  function gauge<const L extends readonly string[]>(name: string, help: string, labels: L): Family<L, GaugeCell> {
    const family = new Family(name, labels, () => new GaugeCell());
    register(name, help, 'gauge', family as never);
    return family;
  }
  function histogram<const L extends readonly string[]>(
    name: string,
    help: string,
    labels: L,
    bounds: readonly number[] = secondBounds,
  ): Family<L, HistogramCell> {
    const family = new Family(name, labels, () => new HistogramCell(name, bounds));
    register(name, help, 'histogram', family as never);
    return family;
  }

  return {
    httpRequests: counter('http_requests_total', 'HTTP requests answered', ['method', 'route', 'status']),
    httpRequestSeconds: histogram('http_request_duration_seconds', 'Time from a request to its answer', ['method', 'route']),
    liveSessions: gauge('live_sessions', 'Open live sessions on this node', []).with(),
    liveMessages: counter('live_messages_total', 'Live requests and notifications handled', ['method', 'outcome']),
    liveMessageSeconds: histogram('live_message_duration_seconds', 'Time from a live request to its answer', ['method']),
    liveCloses: counter('live_closes_total', 'Live sockets closed, by close code', ['code']),
    actorsActive: gauge('actor_active', 'Actors in memory', ['kind']),
    actorMailboxDepth: gauge('actor_mailbox_depth', 'Messages waiting in all mailboxes', []).with(),
    actorRestarts: counter('actor_restarts_total', 'Actors rebuilt after a failed step', ['kind']),
    actorsQuarantined: counter('actor_quarantined_total', 'Actors set aside after repeated failures', []).with(),
    journalCommitSeconds: histogram('journal_commit_seconds', 'Time of one group commit', []).with(),
    journalGroupSize: histogram('journal_group_size', 'Entries in one group commit', [], groupBounds).with(),
    journalBacklogEntries: gauge('journal_backlog_entries', 'Entries that wait for the database', []).with(),
    journalBacklogBytes: gauge('journal_backlog_bytes', 'Bytes that wait for the database', []).with(),
    walletCalls: counter('wallet_calls_total', 'Calls to the wallet, by how they ended', ['operation', 'outcome']),
    walletCallSeconds: histogram('wallet_call_seconds', 'Time of one wallet call', ['operation']),
    authenticationAttempts: counter('authentication_attempts_total', 'Sign-ins and factor checks', ['outcome']),
    paymentTransactions: counter('payment_transactions_total', 'Payments that reached a status', ['status']),
    overloadPressure: gauge('overload_pressure', 'Classes of work that are refused because the node is too busy, 0 to 4', []).with(),
    requestsShed: counter('requests_shed_total', 'Requests refused because the node was too busy', ['class']),
    requestsUnwanted: counter('requests_unwanted_total', 'Requests that nobody waited for any more and that were not begun', ['reason']),
    slotsOwned: gauge('slots_owned', 'Slots whose actors this node runs', []).with(),
    slotMoves: counter('slot_moves_total', 'Slots that this node claimed, gave, received or lost', ['kind']),
    forwards: counter('forwards_total', 'Messages for actors of other nodes, by how they went on', ['outcome']),
    forwardsWaiting: gauge('forwards_waiting', 'Messages that wait to know whose their actor is', []).with(),
    fenceRefusals: counter('fence_refusals_total', 'Writes refused because another node owns the actor', []).with(),
    leaseAgeSeconds: gauge('lease_age_seconds', 'Time since this node renewed its lease', []).with(),
    peerErrors: counter('peer_errors_total', 'Messages to other nodes that were not answered', ['kind']),
    peerRefused: counter(
      'peer_refused_total',
      'Connections to or from nodes that were refused, for want of the key or for what they sent',
      [],
    ).with(),
    peerGaps: counter('peer_gaps_total', 'Times that events of another node were lost on their way', []).with(),
    peerRoundTripSeconds: histogram('peer_round_trip_seconds', 'Time from a message to another node to its answer', []).with(),
    jobRuns: counter('job_runs_total', 'Runs of upkeep jobs on this node, by how they ended', ['job', 'outcome']),
    jobLastSuccess: gauge('job_last_success_timestamp_seconds', 'When this node last did an upkeep job', ['job']),
    rateLimited: counter('rate_limited_total', 'Requests refused by a rate limit', ['class']),

    /** The text a scrape gets. */
    text: (): Promise<string> => registry.metrics(),
    /** The content type of that text. */
    contentType: registry.contentType,
  };
}

/** The text a scrape gets, and its content type. */
export async function metricsText(metrics: Metrics): Promise<{ readonly contentType: string; readonly body: string }> {
  return { contentType: metrics.contentType, body: await metrics.text() };
}
