/** The user actor through the real gate and registry: factors, devices, identity and wallet reads. */
import { describe, expect, it } from 'vitest';
import { createSecretHasher } from '../../../src/persistence/crypto/secret-hasher.ts';
import type { ErrorCode, TmcpError } from '../../../src/protocol/errors.ts';
import {
  alice,
  aliceId,
  bob,
  bobId,
  CountingHasher,
  newSigner,
  PaymentWorld,
  pin,
  principal,
  type Signer,
  totpSecret,
} from '../../support/payment-harness.ts';

const address = `user:${aliceId}`;

async function internal(
  world: PaymentWorld,
  type: string,
  input: unknown,
  to = address,
): Promise<{ error: TmcpError | null; result: unknown }> {
  const asked = world.internal(to, type, input);
  await world.settle();
  if (asked.answer === undefined) throw new Error(`${type} was not answered`);
  return asked.answer;
}

const totp = (world: PaymentWorld, code = world.code()) => internal(world, 'mfa.check', { method: 'totp', credentials: { code } });
const pinCheck = (world: PaymentWorld, guess: string) =>
  internal(world, 'mfa.check', { method: 'transaction_pin', credentials: { pin: guess } });

function registration(signer: Signer, more: object = {}) {
  return {
    device_id: signer.deviceId,
    device_name: 'Tablet',
    platform: 'android' as const,
    public_key: { algorithm: 'ECDSA_P256' as const, format: 'SPKI' as const, key_data: signer.key },
    ...more,
  };
}

describe('factors', () => {
  it('[MFA1] charges a try durably before it is looked at', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin } });
    await world.settle();
    expect(world.hasher.verified).toBe(0);
    world.journal.flush();
    expect(world.journal.committed.at(-1)?.records?.map(({ event }) => event)).toEqual([
      { type: 'mfa.charge', at: world.clock.now(), method: 'transaction_pin' },
    ]);
    await world.settle();
    expect(world.hasher.verified).toBe(1);
  });

  it('[MFA8] tells the verdict only when it is durable', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    const checks = [
      world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin } }),
      world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin: '111222' } }),
    ];
    await world.settle();
    world.journal.flush();
    await world.settle();
    expect(checks.map(({ answer }) => answer)).toEqual([undefined, undefined]);
    await world.settle({ flush: true });
    expect(checks.map(({ answer }) => answer?.error?.code)).toEqual([undefined, 'INVALID_MFA_CREDENTIALS']);
  });

  it('[MFA2] locks after five, also for the right PIN, over a restart, for 15 minutes', async () => {
    const world = await PaymentWorld.open();
    for (let n = 0; n < 4; n++) expect((await pinCheck(world, '111222')).error?.code).toBe('INVALID_MFA_CREDENTIALS');
    expect((await pinCheck(world, '111222')).error).toMatchObject({
      code: 'MFA_LOCKED',
      details: { locked_until: '2026-01-01T00:15:00.000Z' },
      retryAfter: 900,
    });
    await world.crash();
    await world.pass(15 * 60_000 - 1);
    expect((await pinCheck(world, pin)).error).toMatchObject({ code: 'MFA_LOCKED', retryAfter: 1 });
    expect(await world.result('tween.mfa.getMethods', {})).toMatchObject({
      methods: [
        { type: 'transaction_pin', enabled: false, locked_until: '2026-01-01T00:15:00.000Z' },
        { type: 'totp', enabled: true },
      ],
    });
    await world.pass(1);
    expect((await pinCheck(world, pin)).result).toEqual({ ok: true });
  });

  it('[MFA2] takes the fifth when it is right', async () => {
    const world = await PaymentWorld.open();
    for (let n = 0; n < 4; n++) await pinCheck(world, '111222');
    expect((await pinCheck(world, pin)).result).toEqual({ ok: true });
    expect((await pinCheck(world, '111222')).error?.code).toBe('INVALID_MFA_CREDENTIALS');
  });

  it('[MFA4] blocks for good after twenty, until it is enrolled anew', async () => {
    const world = await PaymentWorld.open();
    for (let n = 0; n < 40; n++) {
      await pinCheck(world, '111222');
      await world.pass(24 * 3_600_000);
    }
    expect(world.hasher.verified).toBe(20);
    expect((await pinCheck(world, pin)).error).toMatchObject({ code: 'MFA_LOCKED', details: { permanent: true } });
    expect((await world.result('tween.mfa.getMethods', {})).methods[0]).toEqual({
      type: 'transaction_pin',
      enabled: false,
      display_name: 'Transaction PIN',
    });
    await internal(world, 'mfa.enrol', { pin });
    expect((await pinCheck(world, pin)).error?.code).toBe('MFA_LOCKED');
    await internal(world, 'mfa.enrol', { pin: '860428' });
    expect((await pinCheck(world, '860428')).error).toBeNull();
  });

  it('[MFA6] evaluates five of two hundred guesses at once', async () => {
    const world = await PaymentWorld.open();
    const asked = Array.from({ length: 200 }, (_, n) =>
      world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin: String(200_001 + n) } }),
    );
    await world.settle();
    expect(world.hasher.verified).toBe(5);
    expect(asked.every(({ answer }) => answer?.error instanceof Error)).toBe(true);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('[MFA6] evaluates at most five when the server dies between guesses (order %d)', async (order) => {
    const hasher = new CountingHasher();
    const world = await PaymentWorld.open({ hasher, autoFlush: false });
    let seed = order;
    for (let n = 0; n < 60; n++) {
      for (let guess = 0; guess < 5; guess++)
        world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin: '111222' } });
      await world.settle();
      seed = (seed * 48_271) % 2_147_483_647;
      // The process dies before, between or after the commits of the charges and the verdicts.
      world.journal.flush(seed % 6);
      await world.settle();
      if (seed % 3 === 0) world.journal.flush(seed % 4);
      await world.crash();
      await world.settle();
    }
    expect(hasher.verified).toBeLessThanOrEqual(5);
    expect(hasher.verified).toBeGreaterThan(0);
  });

  it('[MFA10] [MFA11] takes a PIN clear and hashed, and refuses a weak one', async () => {
    const world = await PaymentWorld.open({ hasher: createSecretHasher({ pepper: new Uint8Array(32) }) });
    const { createHash } = process.getBuiltinModule('node:crypto');
    expect((await pinChecked(world, pin)).error).toBeNull();
    expect((await pinChecked(world, createHash('sha256').update(pin).digest('hex'))).error).toBeNull();
    expect((await internal(world, 'mfa.enrol', { pin: '123456' })).error?.code).toBe('WEAK_PIN');
  });

  it('[MFA12] takes a code once, of the last, the present and the next step', async () => {
    const world = await PaymentWorld.open();
    expect((await totp(world, world.code(-2))).error?.code).toBe('INVALID_MFA_CREDENTIALS');
    expect((await totp(world, world.code(-1))).error).toBeNull();
    expect((await totp(world, world.code(-1))).error?.code).toBe('INVALID_MFA_CREDENTIALS');
    expect((await totp(world, world.code(1))).error).toBeNull();
    expect((await totp(world, world.code(0))).error?.code).toBe('INVALID_MFA_CREDENTIALS');
  });

  it('[MFA12] takes one of four times the same fresh code at once, also after a restart', async () => {
    const world = await PaymentWorld.open();
    const code = world.code();
    const asked = Array.from({ length: 4 }, () => world.internal(address, 'mfa.check', { method: 'totp', credentials: { code } }));
    await world.settle();
    expect(asked.filter(({ answer }) => answer?.error === null)).toHaveLength(1);
    await world.crash();
    expect((await totp(world, code)).error?.code).toBe('INVALID_MFA_CREDENTIALS');
  });

  it('[MFA13] refuses while the clock is behind the last step, without a fault', async () => {
    const world = await PaymentWorld.open();
    expect((await totp(world)).error).toBeNull();
    world.clock.jump(-3_600_000);
    expect((await totp(world)).error?.code).toBe('INVALID_MFA_CREDENTIALS');
    expect(world.restarts).toEqual([]);
  });

  it('[MFA14] keeps no secret in clear, and none at all in history', async () => {
    const world = await PaymentWorld.open();
    await totp(world);
    const written = JSON.stringify(world.journal.committed);
    expect(written.includes(totpSecret) || written.includes(pin)).toBe(false);
    const records = JSON.stringify(await world.journal.records(address));
    expect(records).toContain('mfa.enrolled');
    expect(records).not.toContain('h:');
  });

  it('[MFA15] does not charge for a key it cannot get; charges for a verifier that fails', async () => {
    const world = await PaymentWorld.open();
    await world.crash();
    const { forUser } = world.keys;
    Object.assign(world.keys, { forUser: () => Promise.reject(new Error('the key store is away')) });
    for (let n = 0; n < 30; n++) expect((await totp(world)).error?.code).toBe('SERVICE_UNAVAILABLE');
    Object.assign(world.keys, { forUser });
    expect((await totp(world)).error).toBeNull();
    Object.assign(world.hasher, { verify: () => Promise.reject(new Error('no threads')) });
    const codes: unknown[] = [];
    for (let n = 0; n < 6; n++) codes.push((await pinCheck(world, pin)).error?.code);
    expect(codes).toEqual([...Array.from({ length: 5 }, () => 'SERVICE_UNAVAILABLE'), 'MFA_LOCKED']);
  });

  it('[MFA16] enrolled with the same again keeps its counters and its last step', async () => {
    const world = await PaymentWorld.open();
    const code = world.code();
    await totp(world, code);
    const kept = world.journal.committed.length;
    await internal(world, 'mfa.enrol', { totpSecret });
    await internal(world, 'mfa.enrol', { pin });
    expect(world.journal.committed.length).toBe(kept);
    expect((await totp(world, code)).error?.code).toBe('INVALID_MFA_CREDENTIALS');
    await internal(world, 'mfa.enrol', { totpSecret: 'A'.repeat(32) });
    expect((await totp(world)).error?.code).toBe('INVALID_MFA_CREDENTIALS');
  });

  it('[MFA24] are shown when they are enrolled, and asked for at sign-in when it is a code', async () => {
    const world = await PaymentWorld.open();
    expect((await world.result('tween.mfa.getMethods', {})).methods.map(({ type, enabled }) => [type, enabled])).toEqual([
      ['transaction_pin', true],
      ['totp', true],
    ]);
    expect(await world.result('tween.mfa.getMethods', {}, bob)).toEqual({ methods: [] });
    expect((await internal(world, 'mfa.required', {})).result).toBe(true);
    expect((await internal(world, 'mfa.required', {}, `user:${bobId}`)).result).toBe(false);
    expect((await internal(world, 'mfa.check', { method: 'totp', credentials: { code: '123456' } }, `user:${bobId}`)).error?.code).toBe(
      'INVALID_MFA_CREDENTIALS',
    );
    expect((await internal(world, 'mfa.check', { method: 'palm', credentials: {} })).error?.code).toBe('INVALID_MFA_CREDENTIALS');
  });
});

/** As `pinCheck`, for a hasher on real threads. */
async function pinChecked(world: PaymentWorld, guess: string): Promise<{ error: TmcpError | null }> {
  const asked = world.internal(address, 'mfa.check', { method: 'transaction_pin', credentials: { pin: guess } });
  while (asked.answer === undefined) await world.settle();
  return asked.answer;
}

describe('devices', () => {
  it('[MFA17] [MFA18] registers one, and says the same again', async () => {
    const world = await PaymentWorld.open();
    const tablet = newSigner('tablet');
    const first = await world.result('tween.device.register', registration(tablet), bob);
    expect(first).toEqual({
      device_id: 'tablet',
      registered_at: '2026-01-01T00:00:00.000Z',
      status: 'active',
      public_key_hash: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    });
    await world.pass(60_000);
    expect(await world.result('tween.device.register', registration(tablet), bob)).toEqual(first);
    expect((await world.call('tween.device.register', registration(newSigner('tablet')), bob)).error?.code).toBe('CONFLICT');
    expect((await world.result('tween.device.list', {}, bob)).devices.map(({ device_id: id, status }) => [id, status])).toEqual([
      ['phone', 'active'],
      ['tablet', 'active'],
    ]);
  });

  it('[MFA20] needs a code of the user who has an authenticator app, and charges it like any', async () => {
    const world = await PaymentWorld.open();
    const tablet = newSigner('tablet');
    const code = async (input: Parameters<typeof registration>[1]) =>
      (await world.call('tween.device.register', registration(tablet, input))).error?.code;
    expect(await code({})).toBe('MFA_REQUIRED');
    const codes: unknown[] = [];
    for (let n = 0; n < 6; n++) codes.push(await code({ totp_code: '000000' }));
    expect(codes).toEqual([...Array.from({ length: 4 }, () => 'INVALID_MFA_CREDENTIALS'), 'MFA_LOCKED', 'MFA_LOCKED']);
    expect(await code({ totp_code: world.code() })).toBe('MFA_LOCKED');
    await world.pass(15 * 60_000);
    const used = world.code();
    expect(await code({ totp_code: used })).toBeUndefined();
    expect((await world.call('tween.device.register', registration(newSigner('other'), { totp_code: used }))).error?.code).toBe(
      'INVALID_MFA_CREDENTIALS',
    );
    expect(await world.history(address).then((lines) => lines.filter((line) => line.startsWith('device')).length)).toBe(2);
    const last = (await world.journal.records(address)).findIndex(
      ({ event }) => event.type === 'device.registered' && event['deviceId'] === 'tablet',
    );
    // The proof and what it allowed are one commit.
    expect(
      world.journal.committed
        .filter(({ records }) => records?.some(({ event }) => event.type === 'device.registered' && event['deviceId'] === 'tablet'))[0]
        ?.records?.map(({ event }) => event.type),
    ).toEqual(['mfa.passed', 'device.registered']);
    expect(last).toBeGreaterThan(0);
  });

  it('[MFA20] needs the PIN of the user who has nothing else, and no PIN will do where there is an authenticator app', async () => {
    const world = await PaymentWorld.open();
    const enrolled = world.internal(`user:${bobId}`, 'mfa.enrol', { pin });
    await world.settle();
    expect(enrolled.answer?.error).toBeNull();
    const tablet = registration(newSigner('tablet'));
    const refused = async (input: object, who = bob) => (await world.call('tween.device.register', { ...tablet, ...input }, who)).error;
    expect(await refused({})).toMatchObject({ code: 'MFA_REQUIRED', details: { methods: ['transaction_pin'] } });
    expect(await refused({ pin: '000000' })).toMatchObject({ code: 'INVALID_MFA_CREDENTIALS' });
    expect(await refused({ totp_code: '000000' })).toMatchObject({ code: 'MFA_REQUIRED' });
    expect((await world.result('tween.device.list', {}, bob)).devices).toHaveLength(1);
    expect(await refused({ pin })).toBeNull();
    expect(await refused({ pin }, alice)).toMatchObject({ code: 'MFA_REQUIRED', details: { methods: ['totp'] } });
  });

  it('[MFA19] refuses what is no key of a device', async () => {
    const world = await PaymentWorld.open();
    const bad = { algorithm: 'RSA_2048' as const, format: 'SPKI' as const, key_data: newSigner().key };
    expect((await world.call('tween.device.register', { ...registration(newSigner('tablet')), public_key: bad }, bob)).error?.code).toBe(
      'INVALID_REQUEST',
    );
  });

  it('[MFA22] [MFA23] revoked, signs nothing any more and never comes back', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20, bob);
    expect(await world.result('tween.device.revoke', { device_id: 'phone' }, bob)).toEqual({ device_id: 'phone', status: 'revoked' });
    expect(await world.result('tween.device.revoke', { device_id: 'phone' }, bob)).toEqual({ device_id: 'phone', status: 'revoked' });
    expect((await world.call('tween.device.revoke', { device_id: 'none' }, bob)).error?.code).toBe('DEVICE_NOT_FOUND');
    expect((await world.call('tween.payment.authorize', world.authorization(id, '20.00'), bob)).error?.code).toBe('DEVICE_NOT_REGISTERED');
    expect((await world.call('tween.device.register', registration(world.signer), bob)).error?.code).toBe('CONFLICT');
    expect((await world.result('tween.device.list', {}, bob)).devices).toMatchObject([{ device_id: 'phone', status: 'revoked' }]);
    expect((await world.result('tween.device.list', {})).devices).toMatchObject([{ device_id: 'phone', status: 'active' }]);
  });
});

describe('identity', () => {
  it('[USR1] shows the caller, and only what is known of him', async () => {
    const world = await PaymentWorld.open();
    expect(await world.result('tween.auth.getUserInfo', {})).toEqual({
      user_id: aliceId,
      display_name: 'Alice',
      wallet_id: `wal_of_${aliceId}`,
    });
    world.users.delete(aliceId);
    expect((await world.call('tween.auth.getUserInfo', {})).error?.code).toBe('USER_NOT_FOUND');
  });

  it('[USR2] shows the token’s scopes beside the granted ones', async () => {
    const world = await PaymentWorld.open();
    expect(await world.result('tween.auth.getScopes', {}, principal(aliceId, 'ma_demo_shop', ['wallet:pay', 'storage:read']))).toEqual({
      scopes: ['storage:read', 'wallet:pay'],
      granted: ['user:read', 'wallet:pay'],
    });
  });

  it.each<[string, string | undefined, ErrorCode | undefined]>([
    ['ma_demo_shop', undefined, undefined],
    ['ma_demo_shop', 'ma_demo_shop', undefined],
    ['ma_demo_shop', 'ma_other', 'FORBIDDEN'],
    ['ma_official_host', 'ma_other', undefined],
  ])('[USR3] %s withdraws the access of %s: %s', async (appId, target, code) => {
    const world = await PaymentWorld.open();
    const input = { ...(target === undefined ? {} : { miniapp_id: target }), idempotency_key: 'k' };
    const { error, result } = await world.call('tween.auth.revoke', input, principal(aliceId, appId));
    expect(error?.code).toBe(code);
    expect(world.revocations).toEqual(code === undefined ? [{ userId: aliceId, appId: target ?? appId, reason: 'user_initiated' }] : []);
    if (code !== undefined) return;
    expect(result).toEqual({ miniapp_id: target ?? appId, revoked_scopes: ['wallet:pay'], revoked_at: '2026-01-01T00:00:00.000Z' });
    await world.crash();
    expect(await world.result('tween.auth.revoke', input, principal(aliceId, appId))).toEqual(result);
    expect(world.revocations).toHaveLength(1);
  });
});

describe('wallet reads', () => {
  it('[USR4] show balance, limits and history in major units', async () => {
    const world = await PaymentWorld.open();
    expect(await world.result('tween.wallet.getBalance', {})).toEqual({
      wallet_id: expect.any(String),
      user_id: aliceId,
      balance: { available: 1_000, pending: 0, currency: 'USD' },
      limits: { daily_limit: 100_000, daily_used: 0, transaction_limit: 50_000 },
      status: 'active',
    });
    const ids = [await world.pay(20), await world.pay('0.07')];
    for (const [id, amount] of [
      [ids[0], '20.00'],
      [ids[1], '0.07'],
    ] as const)
      await world.result('tween.payment.authorize', world.authorization(String(id), amount));
    expect(await world.result('tween.wallet.getTransactions', { limit: 1 })).toEqual({
      transactions: [
        {
          txn_id: 'txn_2',
          type: 'payment',
          amount: 0.07,
          currency: 'USD',
          from: { user_id: aliceId },
          status: 'completed',
          timestamp: '2026-01-01T00:00:00.000Z',
        },
      ],
      pagination: { total: 2, limit: 1, offset: 0, has_more: true },
    });
    expect((await world.result('tween.wallet.getTransactions', { offset: 1 })).pagination).toEqual({
      total: 2,
      limit: 50,
      offset: 1,
      has_more: false,
    });
  });

  it('[USR5] asked alike at once go to the wallet once, asked otherwise each', async () => {
    const world = await PaymentWorld.open();
    world.wallet.fault('account', 'slow');
    const asked = Array.from({ length: 20 }, () => world.ask('tween.wallet.getBalance', {}));
    const others = [1, 2].map((limit) => world.ask('tween.wallet.getTransactions', { limit }));
    await world.settle();
    world.wallet.release();
    await world.settle();
    expect([world.wallet.calls.account, world.wallet.calls.transactions]).toEqual([1, 2]);
    expect([...asked, ...others].filter(({ answer }) => answer?.error !== null)).toEqual([]);
    await world.result('tween.wallet.getBalance', {});
    expect(world.wallet.calls.account).toBe(2);
  });

  it.each([
    ['unavailable', 'SERVICE_UNAVAILABLE', 7],
    ['unknown_before', 'SERVICE_UNAVAILABLE', 1],
    ['throws', 'SERVICE_UNAVAILABLE', 1],
    ['refused', 'SERVICE_UNAVAILABLE', 1],
  ] as const)('[USR6] with a wallet that is %s: %s, come again in %d s', async (fault, code, retryAfter) => {
    const world = await PaymentWorld.open();
    world.wallet.fault('account', fault);
    expect((await world.call('tween.wallet.getBalance', {})).error).toMatchObject({ code, retryAfter });
  });

  it('[USR6] of a user the wallet does not know: USER_NOT_FOUND', async () => {
    const world = await PaymentWorld.open();
    expect((await world.call('tween.wallet.getBalance', {}, principal('@nobody:tween.example'))).error?.code).toBe('USER_NOT_FOUND');
  });
});
