/**
 * Wrong guesses of PIN and one-time code, several at once and on several nodes, before, through and after the fault: no more are evaluated
 * than five before a factor is locked for a quarter of an hour (I8), which is longer than a run.
 */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { TmcpError } from '../../../src/client/mod.ts';
import { type Device, passing } from '../device.ts';
import { pause } from '../time.ts';
import { slotOf } from '../../../src/actors/runtime/slots.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

const bound = 5;
const shiftsMs = [0, 3_600_000, 0, -3_600_000] as const;
const methods = ['transaction_pin', 'totp'] as const;
type Method = (typeof methods)[number];

interface Victim {
  readonly devices: readonly Device[];
  /** Guesses that were told to be wrong, by factor. */
  readonly wrong: Record<Method, number>;
  asked: number;
  let_in: number;
}

export async function guessesWorkload(stage: Stage, people: number, pauseMs: number): Promise<Workload> {
  const victims = await Promise.all(
    Array.from({ length: people }, async (_, index): Promise<Victim> => {
      // The first ones live on the node that the fault will meet: what counts their guesses is what is broken.
      const name = index < people / 2 ? await nameOn(stage, `${stage.prefix}victim${index}`) : `${stage.prefix}victim${index}`;
      const person = await stage.town.person(name, { factors: true });
      const devices = [person.device('a', 'balanced'), person.device('b', 'direct')];
      await Promise.all(devices.map((device) => device.connect()));
      return { devices, wrong: { transaction_pin: 0, totp: 0 }, asked: 0, let_in: 0 };
    }),
  );
  const crew = new Crew();

  async function guess(victim: Victim, device: Device, method: Method): Promise<void> {
    await pause(pauseMs * (0.5 + Math.random()));
    const { user } = device;
    try {
      const made = await device.call(
        'tween.wallet.pay',
        { amount: 60, currency: 'USD', description: 'a guess', merchant_order_id: randomUUID(), idempotency_key: randomUUID() },
        true,
      );
      // Who guesses also knows that a node's clock may be off: the signature must have been made within minutes of it.
      const timestamp = new Date(Date.now() + (shiftsMs[victim.asked++ % shiftsMs.length] as number)).toISOString();
      const text = `${made.payment_id}:60.00:USD:${timestamp}`;
      const signature = sign('sha256', Buffer.from(text), createPrivateKey(user.device.private_key)).toString('base64');
      const challenge = await device
        .call('tween.payment.authorize', { payment_id: made.payment_id, signature, device_id: user.device.device_id, timestamp })
        .then(
          () => undefined,
          (error: unknown) => {
            if (error instanceof TmcpError && error.code === 'MFA_REQUIRED')
              return (error.details as { mfa_challenge: { challenge_id: string; methods: { type: string }[] } }).mfa_challenge;
            throw error;
          },
        );
      if (challenge === undefined || !challenge.methods.some(({ type }) => type === method)) return;
      const pin = user.pin === '918273' ? '918274' : '918273';
      const credentials = method === 'totp' ? { code: String(Math.floor(Math.random() * 1_000_000)).padStart(6, '0') } : { pin };
      await device.call('tween.payment.verifyMfa', {
        payment_id: made.payment_id,
        challenge_id: challenge.challenge_id,
        method,
        credentials,
      });
      victim.let_in++;
    } catch (error) {
      if (error instanceof TmcpError && error.code === 'INVALID_MFA_CREDENTIALS') victim.wrong[method]++;
      else if (!(error instanceof TmcpError) && !passing(error)) throw error;
    }
  }

  return {
    name: 'wrong guesses',
    invariants: 'I8',
    devices: victims.flatMap(({ devices }) => devices),
    start() {
      for (const victim of victims)
        for (const device of victim.devices) for (const method of methods) crew.run(() => guess(victim, device, method));
    },
    stop: () => crew.stop(),
    async verify(): Promise<Verdict> {
      const notes: string[] = [];
      let over = 0;
      let evaluated = 0;
      for (const { devices, wrong } of victims) {
        const userId = devices[0]?.user.user_id ?? '';
        for (const method of methods) {
          const [row] = await stage.query<{ tries: string | null }>(
            `select snapshot->'context'->'factors'->$2->>'tries' tries from actors where address = 'user:' || $1`,
            [userId, method],
          );
          const tries = Number(row?.tries ?? 0);
          evaluated += tries;
          if (tries > bound || wrong[method] > bound) {
            over++;
            notes.push(`${userId}: ${tries} tries of ${method} were charged, ${wrong[method]} answered as wrong`);
          }
        }
      }
      const asked = victims.reduce((sum, victim) => sum + victim.asked, 0);
      // A random code is right once in 300,000 guesses, of which no more than five count.
      return {
        violations: { evaluated_over_bound: over, let_in: victims.reduce((sum, { let_in }) => sum + let_in, 0) },
        done: { guesses: asked, evaluated, factors: victims.length * methods.length },
        notes,
      };
    },
  };
}

/** A name whose user's actors are on the stage's victim now. */
async function nameOn({ query, victim }: Stage, name: string): Promise<string> {
  const owned = await query<{ slot: number }>('select s.slot from slots s join nodes n on n.boot_id = s.owner where n.name = $1', [
    victim.name,
  ]);
  const slots = new Set(owned.map(({ slot }) => slot));
  for (let number = 0; number < 10_000; number++) {
    if (slots.has(slotOf(`user:@${name}-${number}:tween.example`))) return `${name}-${number}`;
  }
  throw new Error(`${victim.name} owns no slot`);
}
