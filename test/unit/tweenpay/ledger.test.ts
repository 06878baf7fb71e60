import { describe, expect, it } from 'vitest';
import { Ledger, minorOf, userKey, type Transaction } from '../../../src/wallet-sandbox/ledger.ts';

const charge = (id: string, reference: string, entries: Transaction['entries'], amountMinor = 10): Transaction => ({
  type: 'charge',
  id,
  reference,
  payer: 'u',
  merchant: 'm',
  currency: 'USD',
  amountMinor,
  note: '',
  at: 0,
  entries,
});

describe('ledger', () => {
  it('refuses a transaction that does not add up to zero, and changes nothing', () => {
    const ledger = new Ledger();
    expect(() =>
      ledger.apply({
        t: 'txn',
        txn: charge('t1', 'r1', [
          ['a', -10],
          ['b', 9],
        ]),
      }),
    ).toThrow(/add up/);
    expect(ledger.recount()).toMatchObject({ sum: 0, transactions: 0 });
    expect(ledger.balance('a')).toBe(0);
  });

  it('refuses a booking that leaves the exact range of integers', () => {
    const ledger = new Ledger();
    const most = Number.MAX_SAFE_INTEGER;
    ledger.apply({
      t: 'txn',
      txn: charge('t1', 'r1', [
        ['a', -most],
        ['b', most],
      ]),
    });
    expect(() =>
      ledger.apply({
        t: 'txn',
        txn: charge('t2', 'r2', [
          ['a', -1],
          ['b', 1],
        ]),
      }),
    ).toThrow(/exact range/);
  });

  it('sees a double charge and a wrong sum in the entries themselves', () => {
    const ledger = new Ledger();
    ledger.apply({
      t: 'txn',
      txn: charge('t1', 'r1', [
        ['a', -10],
        ['b', 10],
      ]),
    });
    ledger.apply({
      t: 'txn',
      txn: charge('t2', 'r1', [
        ['a', -10],
        ['b', 10],
      ]),
    });
    expect(ledger.recount()).toMatchObject({
      sum: 0,
      double_charges: 1,
      charges_by_reference_max: 2,
      charges: 2,
      charged_minor: 20,
      mismatches: 0,
    });
    ledger.transactions.push(charge('t3', 'r3', [['a', 5]]));
    expect(ledger.recount()).toMatchObject({ sum: 5, mismatches: 1 });
  });

  it('starts the daily allowance again at midnight UTC', () => {
    const ledger = new Ledger();
    ledger.apply({ t: 'account', userId: 'u', currency: 'USD', status: 'active' });
    const noon = Date.UTC(2030, 0, 1, 12);
    ledger.apply({
      t: 'txn',
      txn: {
        ...charge('t1', 'r1', [
          [userKey('u'), -10],
          ['b', 10],
        ]),
        at: noon,
      },
    });
    expect(ledger.usedMinor('u', Date.UTC(2030, 0, 1, 23, 59, 59, 999))).toBe(10);
    expect(ledger.usedMinor('u', Date.UTC(2030, 0, 2))).toBe(0);
  });

  it('knows that minor units differ by currency', () => {
    expect([minorOf(50, 'USD'), minorOf(50, 'JPY'), minorOf(50, 'BHD')]).toEqual([5_000, 50, 50_000]);
  });
});
