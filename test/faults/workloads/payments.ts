/**
 * Payments, one after the other, each driven to its end: small ones with a signature, larger ones with the PIN or a one-time code as well. The
 * wallet charges once at most (I2), histories end once (I3), and server and wallet agree after healing (I6); an answer stays true (I25).
 */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { secretBytes, totpCode } from '../../../scripts/lib/totp.ts';
import { type OutputOf, TmcpError } from '../../../src/client/mod.ts';
import { type Device, passing } from '../device.ts';
import { pause } from '../time.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

type View = OutputOf<'tween.payment.get'>;
type Factor = 'none' | 'transaction_pin' | 'totp';

interface Paid {
  readonly paymentId: string;
  readonly amount: string;
  readonly factor: Factor;
  /** It was answered as made, and is not there. */
  lost: boolean;
  readonly answers: Set<string>;
}

interface Payer {
  readonly device: Device;
  readonly factor: Factor;
  readonly paid: Paid[];
  lastCodeAt: number;
}

const ends = ['completed', 'failed', 'cancelled', 'expired'];
const settleWithinMs = 60_000;
const codeEveryMs = 30_000;

/** `plain` people pay 1.25 with a signature; `proven` pay 60.00 with a PIN, and one in three of them with a code. */
export async function paymentsWorkload(stage: Stage, plain: number, proven: number): Promise<Workload> {
  const { world, town, prefix } = stage;
  const payers = await Promise.all(
    Array.from({ length: plain + proven }, async (_, index): Promise<Payer> => {
      const factor = index < plain ? 'none' : index % 3 === 0 ? 'totp' : 'transaction_pin';
      const person = await town.person(`${prefix}payer${index}`, { factors: factor !== 'none' });
      const device = person.device('p', index % 2 === 0 ? 'balanced' : 'direct');
      await device.connect();
      return { device, factor, paid: [], lastCodeAt: Number.NEGATIVE_INFINITY };
    }),
  );
  const crew = new Crew();
  /** Set a while after the end, so that nothing hangs: what is open then is looked at by `verify`. */
  let draining = false;
  const stopped = (): boolean => draining;

  async function pay(payer: Payer): Promise<void> {
    const { device, factor } = payer;
    const amount = factor === 'none' ? 1.25 : 60;
    const wanted = {
      amount,
      currency: 'USD',
      description: 'fault matrix',
      merchant_order_id: randomUUID(),
      idempotency_key: randomUUID(),
    };
    const made = await device.insist(stopped, () => device.call('tween.wallet.pay', wanted, true));
    if (made === undefined) return;
    const paid: Paid = { paymentId: made.payment_id, amount: amount.toFixed(2), factor, lost: false, answers: new Set() };
    payer.paid.push(paid);
    const view = await orLost(paid, () => device.insist(stopped, () => drive(payer, paid)));
    if (view !== undefined && ends.includes(view.status)) paid.answers.add(view.status);
    await pause(20);
  }

  /** One more step towards the end; throws what passes when it is not there yet. */
  async function drive(payer: Payer, paid: Paid): Promise<View> {
    const { device } = payer;
    const known = await device.call('tween.payment.get', { payment_id: paid.paymentId }, true);
    if (known.status !== 'pending_authorization' && known.status !== 'mfa_required') return known;
    try {
      return await device.call('tween.payment.authorize', signed(payer, paid));
    } catch (error) {
      if (!(error instanceof TmcpError)) throw error;
      if (error.code === 'MFA_REQUIRED')
        return prove(payer, paid, (error.details as { mfa_challenge: { challenge_id: string } }).mfa_challenge);
      if (refusedForGood(error)) return device.call('tween.payment.get', { payment_id: paid.paymentId }, true);
      throw error;
    }
  }

  async function prove(payer: Payer, paid: Paid, challenge: { readonly challenge_id: string }): Promise<View> {
    const { device, factor } = payer;
    const { user } = device;
    if (factor === 'totp') {
      // A code counts once: the next payment waits for the next one.
      while (Date.now() < payer.lastCodeAt + codeEveryMs && !crew.stopped) {
        await pause(300);
        await device.call('tween.payment.get', { payment_id: paid.paymentId }, true);
      }
      if (Date.now() < payer.lastCodeAt + codeEveryMs) return device.call('tween.payment.cancel', { payment_id: paid.paymentId });
      payer.lastCodeAt = Date.now();
    }
    try {
      const answer = await device.call('tween.payment.verifyMfa', {
        payment_id: paid.paymentId,
        challenge_id: challenge.challenge_id,
        method: factor === 'totp' ? 'totp' : 'transaction_pin',
        credentials: factor === 'totp' ? { code: totpCode(secretBytes(user.totp_secret), Date.now()) } : { pin: user.pin },
      });
      return answer.payment;
    } catch (error) {
      // The proof may have been taken by a node that died; the payment says how far it came.
      if (error instanceof TmcpError && refusedForGood(error))
        return device.call('tween.payment.get', { payment_id: paid.paymentId }, true);
      throw error;
    }
  }

  return {
    name: 'payments',
    invariants: 'I1 I2 I3 I6 I25',
    devices: payers.map(({ device }) => device),
    start() {
      for (const payer of payers) crew.run(() => pay(payer));
    },
    async stop() {
      const late = setTimeout(() => {
        draining = true;
      }, 15_000);
      await crew.stop();
      clearTimeout(late);
    },
    async verify(): Promise<Verdict> {
      const notes: string[] = [];
      const until = performance.now() + settleWithinMs;
      let stuck = 0;
      let contradictory = 0;
      let uncharged = 0;
      let overcharged = 0;
      let completed = 0;
      const all = payers.flatMap(({ device, paid }) => paid.map((entry) => ({ device, entry })));
      await inTurns(all, 8, async ({ device, entry }) => {
        const { paymentId, answers } = entry;
        const look = async () =>
          (
            await orLost(entry, () =>
              device.insist(
                () => false,
                () => device.call('tween.payment.get', { payment_id: paymentId }, true),
              ),
            )
          )?.status;
        let status = await look();
        while ((status === 'processing' || status === 'authorized') && performance.now() < until) {
          await pause(100);
          status = await look();
        }
        if (status === undefined) {
          notes.push(`payment ${paymentId} was answered and is not there`);
          return;
        }
        if (status === 'processing' || status === 'authorized') stuck++;
        answers.add(status);
        if ([...answers].filter((answer) => ends.includes(answer)).length > 1) {
          contradictory++;
          notes.push(`payment ${paymentId} was answered as ${[...answers].join(' and ')}`);
        }
        const { charges } = (await (await fetch(`${world.walletUrl}/admin/charges?reference=${paymentId}`)).json()) as {
          charges: unknown[];
        };
        if (answers.has('completed')) completed++;
        if (answers.has('completed') && charges.length !== 1) uncharged++;
        if (!answers.has('completed') && charges.length > 0 && ends.includes(status)) overcharged++;
      });
      const ledger = (await (await fetch(`${world.walletUrl}/admin/ledger`)).json()) as { double_charges: number };
      const lost = all.filter(({ entry }) => entry.lost).length;
      return {
        violations: {
          lost_payments: lost,
          double_charges: ledger.double_charges,
          stuck_payments: stuck,
          contradictory_answers: contradictory,
          completed_without_charge: uncharged,
          charged_without_completion: overcharged,
        },
        done: {
          payments: all.length,
          completed,
          with_second_factor: all.filter(({ entry }) => entry.factor !== 'none' && entry.answers.has('completed')).length,
        },
        notes,
      };
    },
  };
}

function signed({ device: { user } }: Payer, { paymentId, amount }: Paid) {
  const timestamp = new Date().toISOString();
  const key = createPrivateKey(user.device.private_key);
  const signature = sign('sha256', Buffer.from(`${paymentId}:${amount}:USD:${timestamp}`), key).toString('base64');
  return { payment_id: paymentId, signature, device_id: user.device.device_id, timestamp };
}

/** Refusals that end an attempt and may have reasons of the fault's: a proof that was taken by a node that died, a clock that is off. */
function refusedForGood(error: TmcpError): boolean {
  return !passing(error) && error.code !== 'PAYMENT_NOT_FOUND' && error.code !== 'MFA_REQUIRED';
}

/** Runs `work`; a payment that does not exist any more is a loss and not the end of the run. */
async function orLost<T>(paid: Paid, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof TmcpError) || error.code !== 'PAYMENT_NOT_FOUND') throw error;
    paid.lost = true;
    return undefined;
  }
}

async function inTurns<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const hand = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, hand));
}
