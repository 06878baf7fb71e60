/** The sandbox is killed without warning, again and again, while it charges: what it answered must be there afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createTweenPayWallet } from '../../src/transport/tweenpay/tweenpay-wallet.ts';
import { admin, alice, chargeOf, raw, shop, token } from '../unit/tweenpay/support.ts';

const program = fileURLToPath(new URL('../unit/tweenpay/sandbox-process.ts', import.meta.url));
let dataDir = '';
let child: ChildProcess | undefined;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'tmcp-sandbox-'));
});
afterEach(async () => {
  await kill();
  rmSync(dataDir, { recursive: true });
});

async function start(): Promise<{ url: string; adminUrl: string }> {
  const started = spawn(process.execPath, ['--import', 'tsx', program, dataDir], { stdio: ['pipe', 'pipe', 'inherit'] });
  child = started;
  for await (const url of createInterface({ input: started.stdout! })) return { url, adminUrl: `${url}/admin` };
  throw new Error('the sandbox did not start');
}

async function kill(): Promise<void> {
  const victim = child;
  child = undefined;
  if (victim === undefined || victim.exitCode !== null || victim.signalCode !== null) return;
  const ended = new Promise((resolve) => victim.once('exit', resolve));
  victim.kill('SIGKILL');
  await ended;
}

it('keeps every answered charge, books none twice, and replays first answers byte for byte', async () => {
  let sandbox = await start();
  await admin(sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD', balance_minor: 9_000_000 });
  await admin(sandbox, 'POST', '/accounts', { app_id: shop, currency: 'USD' });
  const body = { reference: 'pay_first', payer_user_id: alice, merchant_app_id: shop, amount_minor: 5, currency: 'USD', description: '' };
  const first = await raw(sandbox, 'POST', '/v1/charges', { body, key: 'first' });
  expect(first.status).toBe(201);

  const done = new Map<string, string>();
  const unclear: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const wallet = createTweenPayWallet({ url: sandbox.url, token, connections: 16 });
    const answered = done.size;
    let dead = false;
    const payer = async (n: number): Promise<void> => {
      for (let i = 0; !dead; i += 1) {
        const reference = `pay_${round}_${n}_${i}`;
        const outcome = await wallet.charge(chargeOf(reference, { amountMinor: 1 }));
        if (outcome.kind === 'done') done.set(reference, outcome.value.txnId);
        else {
          unclear.push(reference);
          dead = true;
        }
        if (done.size >= answered + 200) void kill();
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, n) => payer(n)));
    await kill();
    await wallet.close();

    sandbox = await start();
    const again = createTweenPayWallet({ url: sandbox.url, token });
    for (const [reference, txnId] of done)
      expect(await again.findCharge(reference), reference).toMatchObject({ kind: 'done', value: { txnId } });
    // What was left open is settled by asking with the same key.
    for (const reference of unclear.splice(0)) {
      const settled = await again.charge(chargeOf(reference, { amountMinor: 1 }));
      if (settled.kind !== 'done') throw new Error(`${reference}: ${JSON.stringify(settled)}`);
      done.set(reference, settled.value.txnId);
    }
    await again.close();
    expect(await admin(sandbox, 'GET', '/ledger')).toMatchObject({ sum: 0, mismatches: 0, double_charges: 0, charges: done.size + 1 });
  }

  const replayed = await raw(sandbox, 'POST', '/v1/charges', { body, key: 'first' });
  expect([replayed.status, replayed.text]).toEqual([201, first.text]);
  expect(done.size).toBeGreaterThanOrEqual(800);
  expect(readFileSync(join(dataDir, 'ledger.jsonl'), 'utf8').endsWith('\n')).toBe(true);
}, 120_000);
