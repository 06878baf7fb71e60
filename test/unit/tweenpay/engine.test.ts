import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine, type Reply } from '../../../src/wallet-sandbox/engine.ts';
import { Faults } from '../../../src/wallet-sandbox/faults.ts';
import { routeOf } from '../../../src/wallet-sandbox/routes.ts';
import { alice, ManualClock, shop } from './support.ts';

let dataDir = '';
let engine: Engine;
const open = () => new Engine({ clock: new ManualClock(), faults: new Faults(), idempotencyKeepMs: 60_000, dataDir });
const onDisk = () => readFileSync(join(dataDir, 'ledger.jsonl'), 'utf8');
const body = { reference: 'pay_1', payer_user_id: alice, merchant_app_id: shop, amount_minor: 5, currency: 'USD', description: '' };

function call(method: string, path: string, query: string, json?: unknown, key?: string): Promise<Reply> {
  const route = routeOf(method, path, query);
  if (route === undefined) throw new Error(`no route ${method} ${path}`);
  return engine.handle(route, `${method} ${path}`, json, key);
}

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'tmcp-engine-'));
  engine = open();
  await engine.change((bank) => bank.setUser(alice, 'USD', 100, 'active'));
  await engine.change((bank) => bank.setMerchant(shop, 'USD', 0));
});
afterEach(async () => {
  await engine.close();
  rmSync(dataDir, { recursive: true });
});

describe('engine', () => {
  it('has a charge with the kernel before it answers it', async () => {
    const reply = await call('POST', '/v1/charges', '', body, 'k1');
    expect(reply).toMatchObject({ kind: 'answer', status: 201 });
    expect(onDisk()).toContain('pay_1');
  });

  it('tells nobody of a charge that is not written yet, neither by look-up nor by replay nor at the admin door', async () => {
    const told: string[] = [];
    const tell = (who: string) => () => {
      if (!onDisk().includes('pay_1')) told.push(who);
    };
    const first = call('POST', '/v1/charges', '', body, 'k1');
    await Promise.all([
      call('GET', '/v1/charges', 'reference=pay_1').then(tell('look-up')),
      call('POST', '/v1/charges', '', body, 'k1').then(tell('replay')),
      engine.change((bank) => ({ status: 200, body: bank.ledger.recount(), events: [] })).then(tell('admin')),
      first,
    ]);
    expect(told).toEqual([]);
  });

  it('is after a restart what it was: balances, first answers, refusals and limits', async () => {
    const first = await call('POST', '/v1/charges', '', body, 'k1');
    const refused = await call('POST', '/v1/charges', '', { ...body, reference: 'pay_2', amount_minor: 1_000 }, 'k2');
    const before = await call('GET', `/v1/users/${alice}/account`, '');
    await engine.close();
    engine = open();
    expect(await call('GET', `/v1/users/${alice}/account`, '')).toEqual(before);
    expect(await call('POST', '/v1/charges', '', body, 'k1')).toEqual({ ...first, replayed: true });
    expect(await call('POST', '/v1/charges', '', { ...body, reference: 'pay_2', amount_minor: 1_000 }, 'k2')).toEqual({
      ...refused,
      replayed: true,
    });
    expect(await call('GET', '/v1/charges', 'reference=pay_2')).toMatchObject({ body: expect.stringContaining('insufficient_funds') });
    expect(engine.ledger.recount()).toMatchObject({ sum: 0, mismatches: 0, charges: 1 });
  });

  it('forgets on disk too when it is reset', async () => {
    await call('POST', '/v1/charges', '', body, 'k1');
    await engine.reset();
    expect(onDisk()).toBe('');
    await engine.change((bank) => bank.setUser(alice, 'EUR', 7, undefined));
    await engine.close();
    engine = open();
    expect(engine.ledger.users.get(alice)?.currency).toBe('EUR');
    expect(engine.ledger.transactions).toHaveLength(1);
  });
});
