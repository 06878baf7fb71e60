/** A payment's challenge and the user's factors together: what is charged, what is evaluated, what is told. */
import { describe, expect, it } from 'vitest';
import { aliceId, CountingHasher, PaymentWorld, pin } from '../../support/payment-harness.ts';

const user = `user:${aliceId}`;

async function challenged(world: PaymentWorld): Promise<{ id: string; challenge: string }> {
  const id = await world.pay();
  return { id, challenge: await world.challenge(id) };
}

describe('a challenge', () => {
  it('[PAY18] tells how many tries are left, and ends the payment with the last', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    const tried = [];
    for (const guess of ['111222', '111223', '111224', pin])
      tried.push((await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, guess))).error);
    expect(tried.map((error) => error?.code)).toEqual(['INVALID_MFA_CREDENTIALS', 'INVALID_MFA_CREDENTIALS', 'MFA_LOCKED', 'MFA_LOCKED']);
    expect(tried.slice(0, 2).map((error) => error?.details)).toEqual([
      { payment_id: id, status: 'mfa_required', attempts_remaining: 2, retry_allowed: true },
      { payment_id: id, status: 'mfa_required', attempts_remaining: 1, retry_allowed: true },
    ]);
    expect(tried[2]).toMatchObject({ details: { status: 'failed', locked_until: '2026-01-01T00:05:00.000Z' }, retryAfter: 300 });
    expect([await world.status(id), world.wallet.calls.charge]).toEqual(['failed', 0]);
  });

  it('[PAY15] [PAY17] a fresh challenge gives no fresh tries', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, '111222'));
    await world.call('tween.payment.verifyMfa', world.pinVerification(id, await world.challenge(id), '111223'));
    expect((await world.call('tween.payment.verifyMfa', world.pinVerification(id, await world.challenge(id), '111224'))).error?.code).toBe(
      'MFA_LOCKED',
    );
    expect(await world.status(id)).toBe('failed');
  });

  it('[PAY17] evaluates three of two hundred guesses at once, one after the other', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    const asked = Array.from({ length: 200 }, (_, n) =>
      world.ask('tween.payment.verifyMfa', world.pinVerification(id, challenge, String(200_001 + n))),
    );
    await world.settle();
    expect(world.hasher.verified).toBe(3);
    expect(asked.filter(({ answer }) => answer === undefined)).toEqual([]);
    expect(await world.status(id)).toBe('failed');
  });

  it('[PAY17] a try charged before a crash stays charged', async () => {
    const hasher = new CountingHasher();
    const world = await PaymentWorld.open({ hasher });
    const { id, challenge } = await challenged(world);
    for (let n = 0; n < 5; n++) {
      hasher.hold = true;
      world.ask('tween.payment.verifyMfa', world.pinVerification(id, challenge, `11122${n}`));
      await world.settle();
      await world.crash();
      hasher.release();
      await world.settle();
    }
    expect(hasher.verified).toBe(3);
    expect(await world.status(id)).toBe('failed');
  });

  it('[PAY19] is of no use for another payment, after two minutes, or before it was made', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    const other = await challenged(world);
    const code = async (...input: Parameters<PaymentWorld['verification']>) =>
      (await world.call('tween.payment.verifyMfa', world.verification(...input))).error?.code;
    expect(await code(id, other.challenge)).toBe('MFA_CHALLENGE_EXPIRED');
    expect(await code(await world.pay(), challenge)).toBe('MFA_CHALLENGE_EXPIRED');
    await world.pass(119_999);
    expect(await code(id, 'mfa_ch_none')).toBe('MFA_CHALLENGE_EXPIRED');
    await world.pass(1);
    expect(await code(id, challenge)).toBe('MFA_CHALLENGE_EXPIRED');
    expect(await code(id, await world.challenge(id))).toBeUndefined();
  });

  it('[PAY21] proven once, is answered with the payment as it stands', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    const first = await world.result('tween.payment.verifyMfa', world.verification(id, challenge));
    expect(await world.result('tween.payment.verifyMfa', world.verification(id, challenge))).toEqual(first);
    expect(world.wallet.booked(id)).toHaveLength(1);
  });

  it('[PAY21] [MFA9] proven just before a crash, needs no second code', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    const paying = world.ask('tween.wallet.pay', world.order());
    await world.settle({ flush: true });
    const id = paying.answer!.result.payment_id;
    const authorizing = world.ask('tween.payment.authorize', world.authorization(id));
    await world.settle({ flush: true });
    const [challenge] = JSON.stringify(authorizing.answer?.error?.details).match(/mfa_ch_\d+/) ?? [];
    const input = world.verification(id, String(challenge));
    world.ask('tween.payment.verifyMfa', input);
    // The payment's try, the user's try, the user's verdict; the payment never hears of it.
    for (let n = 0; n < 3; n++) {
      await world.settle();
      expect(world.journal.flush(1)).toBe(1);
    }
    await world.settle();
    await world.crash();
    const again = world.ask('tween.payment.verifyMfa', input);
    await world.settle({ flush: true });
    expect(again.answer?.result).toMatchObject({ status: 'verified', payment_status: 'completed' });
    expect((await world.journal.records(user)).filter(({ event }) => event.type === 'mfa.charge')).toHaveLength(1);
  });
});

describe('the factor behind it', () => {
  it('[MFA5] counts over all payments', async () => {
    const world = await PaymentWorld.open();
    const codes: unknown[] = [];
    for (let n = 0; n < 3; n++) {
      const { id, challenge } = await challenged(world);
      for (const guess of ['111222', '111223'])
        codes.push((await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, guess))).error?.code);
    }
    expect(codes).toEqual(
      [...Array.from({ length: 4 }, () => 'INVALID_MFA_CREDENTIALS'), 'MFA_LOCKED', undefined].slice(0, 5).concat(['MFA_LOCKED']),
    );
    expect(world.hasher.verified).toBe(5);
  });

  it('[MFA2] [PAY14] locked, is not offered, and not taken although right', async () => {
    const world = await PaymentWorld.open();
    const { id, challenge } = await challenged(world);
    for (let n = 0; n < 5; n++) world.internal(user, 'mfa.check', { method: 'transaction_pin', credentials: { pin: '111222' } });
    await world.settle();
    const { error } = await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge));
    expect(error).toMatchObject({ code: 'MFA_LOCKED', details: { locked_until: '2026-01-01T00:15:00.000Z' }, retryAfter: 900 });
    const other = await world.pay();
    const { error: offered } = await world.call('tween.payment.authorize', world.authorization(other));
    expect(offered?.details).toMatchObject({ mfa_challenge: { methods: [{ type: 'totp' }] } });
    for (let n = 0; n < 5; n++) world.internal(user, 'mfa.check', { method: 'totp', credentials: { code: '000000' } });
    await world.settle();
    expect((await world.call('tween.payment.authorize', world.authorization(other))).error).toMatchObject({
      code: 'MFA_LOCKED',
      retryAfter: 900,
    });
  });

  it('[MFA12] takes one code for one payment', async () => {
    const world = await PaymentWorld.open();
    const [one, two] = [await challenged(world), await challenged(world)];
    const code = world.code();
    const asked = [one, two].map(({ id, challenge }) => world.ask('tween.payment.verifyMfa', world.verification(id, challenge, code)));
    await world.settle();
    expect(asked.map(({ answer }) => answer?.error?.code).sort()).toEqual(['INVALID_MFA_CREDENTIALS', undefined]);
    expect(world.wallet.booked(one.id).length + world.wallet.booked(two.id).length).toBe(1);
  });
});
