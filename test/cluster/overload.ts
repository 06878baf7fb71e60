/**
 * `npm run cluster:overload [-- --nodes 2 --seconds 60 --times 10]`: the load that the cluster bears is found by a ramp, then so many times that
 * load is offered for so long, then half of it. Claims: meanwhile at least 80 % of the best goodput, at least 99 % of payments served, and an
 * ordinary client's latency back to what it was within 10 s after.
 *
 * `--rude`: the flood's sessions send on though they have as many unanswered as they may; they are sent away for it.
 *
 * The nodes have core 0 for themselves; generator, Postgres, Redis, HAProxy and wallet share core 1. So the figures are of one core of nodes, and
 * the generator's cost is no part of them, but for what it takes from Postgres.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { RawSocket } from '../../bench/lib/raw-client.ts';
import { askOnce, openSession } from '../../bench/lib/live-session.ts';
import { pinSelf } from '../../bench/lib/processes.ts';
import { Flood, type FloodStep, type FloodTarget } from './lib/flood.ts';
import { pause, percentile, spread } from './lib/figures.ts';
import { run, tell } from './lib/run.ts';
import { bindTo, type Stack, startStack } from './lib/stack.ts';
import { People } from './lib/users.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '2' },
    sessions: { type: 'string', default: '600' },
    payers: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '60' },
    times: { type: 'string', default: '10' },
    from: { type: 'string', default: '500' },
    rude: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
/** An answer that comes later counts as none. */
const goodWithinMs = 2_000;
/** A step of the ramp is borne when nearly all is answered in time, and half of it soon: past what it bears a queue grows. */
const bornShare = 0.95;
const bornP50Ms = 250;
/** The flood must be one: less than this share of so many times the peak, and the ramp has ended too early. */
const floodShare = 0.6;
const stepMs = 5_000;
/** Of the 64 that a session may have in flight the SDK keeps some for itself. */
const sdkInFlight = 60;
const afterSeconds = 20;
const backWithinS = 10;

interface Figures {
  readonly offered: number;
  readonly good: number;
  readonly p50: number;
  readonly p99: number;
  readonly step: FloodStep;
}

/** An ordinary client: one request at a time, every 50 ms a read or a durable write. */
class Probe {
  #waits: { readonly at: number; readonly ms: number }[] = [];
  #stopped = false;
  #socket: RawSocket | undefined;
  readonly #open: () => Promise<RawSocket>;

  constructor(open: () => Promise<RawSocket>) {
    this.#open = open;
  }

  async go(): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const began = performance.now();
      try {
        this.#socket ??= await this.#open();
        if (n % 2 === 0) await askOnce(this.#socket, 'tween.storage.get', { key: 'mix' });
        else await askOnce(this.#socket, 'tween.storage.set', { key: 'mix', value: 'probe' });
        this.#waits.push({ at: performance.now(), ms: performance.now() - began });
      } catch (error) {
        // A refusal leaves the session as it is; anything else does not.
        if (!String(error).includes('SERVICE_UNAVAILABLE')) this.#socket = undefined;
        this.#waits.push({ at: performance.now(), ms: Number.POSITIVE_INFINITY });
      }
      await pause(50);
    }
  }

  /** Of every request answered or refused in a span; a refused one took for ever. */
  between(from: number, to: number): number[] {
    return this.#waits.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms);
  }

  stop(): void {
    this.#stopped = true;
  }
}

async function measure(flood: Flood, rate: number, ms: number): Promise<Figures> {
  await flood.order({ rate });
  const began = performance.now();
  await pause(ms);
  const step = await flood.order({});
  const spent = (performance.now() - began) / 1_000;
  const waits = [...step.waits];
  return { offered: step.offered / spent, good: step.good / spent, p50: percentile(waits, 0.5), p99: percentile(waits, 0.99), step };
}

function say(name: string, { offered, good, p50, p99, step }: Figures): void {
  const { refused, late, away, cut, refusedEntries, open } = step;
  tell(
    `${name}: offered ${Math.round(offered)}/s, good ${Math.round(good)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms; refused ${refused}, late ${late}, away ${away}; ${open} sessions open, ${cut} cut, ${refusedEntries} entries refused`,
  );
}

/** Raises the load until it is no longer borne. Gives the most that was, and the best goodput seen. */
async function ramp(flood: Flood): Promise<{ bearable: number; peak: number }> {
  let bearable = 0;
  let peak = 0;
  // Large steps to the first that is too much, then small ones from the last that was not; one bad moment of the machine is forgiven.
  let factor = 1.5;
  for (let rate = Number(values.from), failed = 0; failed < 2; ) {
    const figures = await measure(flood, rate, stepMs);
    say('ramp', figures);
    peak = Math.max(peak, figures.good);
    if (figures.good >= figures.offered * bornShare && figures.p50 <= bornP50Ms) {
      bearable = rate;
      failed = 0;
      rate *= factor;
    } else if (factor > 1.2) {
      factor = 1.15;
      rate = bearable === 0 ? rate / 2 : bearable * factor;
    } else {
      failed++;
      rate *= failed === 1 ? 1 : factor;
    }
  }
  return { bearable, peak };
}

async function seed(stack: Stack): Promise<FloodTarget[]> {
  const targets: FloodTarget[] = [];
  const count = Number(values.sessions);
  const names = Array.from({ length: count }, (_, index) => `@flood-${index}:tween.example`);
  const owners = await stack.ownersOf(names);
  for (let from = 0; from < count; from += 10) {
    await Promise.all(
      names.slice(from, from + 10).map(async (userId, offset) => {
        await stack.cluster.user(userId);
        const token = await stack.cluster.token(userId, 'ma_demo_shop', ['storage:read', 'storage:write']);
        const node = stack.nodes.find(({ name }) => name === owners[from + offset]) ?? stack.nodes[0];
        targets.push({ port: node?.port ?? 0, token, device: `flood-${from + offset}` });
      }),
    );
  }
  return targets;
}

await run(async () => {
  pinSelf(1);
  // As in production; dev refuses nothing for load.
  const stack = await startStack({
    nodes: Number(values.nodes),
    env: { TMCP_LOOP_DELAY_MS: '250', TMCP_ACCEPT_RATE: '500', TMCP_LOG_LEVEL: 'warn' },
  });
  let flood: Flood | undefined;
  try {
    for (const { pid } of stack.nodes) bindTo('0', pid);
    await stack.shared();
    tell('the cluster is there');
    const targets = await seed(stack);
    const [one] = targets as [FloodTarget];
    for (const { port, token } of targets) {
      const socket = await openSession(port, token);
      await askOnce(socket, 'tween.storage.set', { key: 'mix', value: 'v'.repeat(64) });
      socket.end();
    }
    const people = await People.gather({
      origin: stack.origin,
      walletUrl: stack.cluster.wallet.url,
      writers: 0,
      pushers: 0,
      payers: Number(values.payers),
      everyMs: 500,
    });
    const probeUser = await stack.cluster.user('@probe:tween.example');
    const probeToken = await stack.cluster.token(probeUser.user_id, 'ma_demo_shop', ['storage:read', 'storage:write']);
    const probe = new Probe(() => openSession(one.port, probeToken));
    const probing = probe.go();
    flood = new Flood({ targets, goodWithinMs, mostInFlight: values.rude ? Number.POSITIVE_INFINITY : sdkInFlight });
    people.start();
    // Slots follow their sessions.
    await measure(flood, 200, 8_000);

    const { bearable, peak } = await ramp(flood);
    if (bearable === 0) throw new Error('not even the first step of the ramp was borne');
    await measure(flood, bearable / 2, 10_000);
    const calmFrom = performance.now();
    const calm = await measure(flood, bearable / 2, 10_000);
    const calmProbe = probe.between(calmFrom, performance.now());
    say('half of it', calm);

    const paidBefore = { answered: people.answered, rejected: people.rejections.length };
    const cpuFrom = process.cpuUsage();
    const began = performance.now();
    const steps: Figures[] = [];
    for (let left = seconds; left > 0; left -= 5) {
      const step = await measure(flood, bearable * Number(values.times), Math.min(5, left) * 1_000);
      say(`${values.times} times`, step);
      steps.push(step);
    }
    const spent = (performance.now() - began) / 1_000;
    const { user, system } = process.cpuUsage(cpuFrom);
    const paid = { answered: people.answered - paidBefore.answered, rejected: people.rejections.length - paidBefore.rejected };
    const floodProbe = probe.between(began, performance.now());

    const endedAt = performance.now();
    for (let s = 0; s < afterSeconds; s += 5) say('after', await measure(flood, bearable / 2, 5_000));
    const backS = backAfter(probe, endedAt, normalOf(calmProbe));
    probe.stop();
    await probing;
    await people.stop();
    const audit = await people.audit();
    await people.close();

    const good = steps.reduce((sum, step) => sum + step.step.good, 0) / spent;
    const offered = steps.reduce((sum, step) => sum + step.step.offered, 0) / spent;
    const served = paid.answered / Math.max(1, paid.answered + paid.rejected);
    for (const { method, why } of people.rejections.slice(0, 10)) tell(`rejected: ${method}: ${why}`);
    const figures = {
      nodes: stack.nodes.length,
      sessions: targets.length,
      bearable_per_s: Math.round(bearable),
      peak_goodput_per_s: Math.round(peak),
      offered_per_s: Math.round(offered),
      goodput_per_s: Math.round(good),
      goodput_share_of_peak: Number((good / peak).toFixed(3)),
      worst_5s_share_of_peak: Number((Math.min(...steps.map((step) => step.good)) / peak).toFixed(3)),
      admitted_p99_ms: Math.round(
        percentile(
          steps.flatMap((step) => [...step.step.waits]),
          0.99,
        ),
      ),
      calm_ms: { p50: Number(calm.p50.toFixed(1)), p99: Number(calm.p99.toFixed(1)) },
      payment_calls: paid.answered + paid.rejected,
      payment_calls_served: Number(served.toFixed(4)),
      probe_calm_ms: spread(calmProbe),
      probe_refused_in_flood: floodProbe.filter((ms) => ms === Number.POSITIVE_INFINITY).length,
      normal_after_s: backS,
      log: eventsOf(stack.nodes.map(({ logFile }) => readFileSync(logFile, 'utf8')).join('')),
      generator_cores: Number(((user + system) / 1e6 / spent).toFixed(2)),
      ...audit,
    };
    const broken = [
      offered < peak * Number(values.times) * floodShare && `the flood was only ${(offered / peak).toFixed(1)} times the peak`,
      good < peak * 0.8 && `goodput was ${Math.round((good / peak) * 100)} % of the peak`,
      served < 0.99 && `${((1 - served) * 100).toFixed(1)} % of the payments' calls were rejected`,
      (backS === null || backS > backWithinS) && `normal after ${backS ?? 'more than 20'} s`,
      audit.lost_payments + audit.unsettled_payments + audit.contradictory_payments > 0 && 'payments are lost, open or contradictory',
      audit.completed_without_charge + audit.double_charges > 0 && 'money is wrong',
    ].filter((claim) => claim !== false);
    return { figures, broken };
  } finally {
    await flood?.stop();
    await stack.stop();
  }
});

/** How often the nodes warned of what. */
function eventsOf(log: string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [, event = ''] of log.matchAll(/"event":"([a-z_.]+)"/g)) counts[event] = (counts[event] ?? 0) + 1;
  return counts;
}

/** What counts as normal: as fast as nearly all requests before, twice over, or what nobody notices. */
function normalOf(waits: readonly number[]): number {
  return Math.max(100, 2 * percentile(waits, 0.99));
}

/** From which second on, for three seconds, nine in ten of the probe's requests are as fast as before; null: from none. */
function backAfter(probe: Probe, endedAt: number, normalMs: number): number | null {
  for (let s = 0; s + 3 <= afterSeconds; s++) {
    const waits = probe.between(endedAt + s * 1_000, endedAt + (s + 3) * 1_000);
    if (waits.length > 0 && percentile(waits, 0.9) <= normalMs) return s + 1;
  }
  return null;
}
