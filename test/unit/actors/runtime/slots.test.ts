import { describe, expect, it } from 'vitest';
import { naming } from '../../../../src/actors/runtime/digest.ts';
import { shardOf, slotCount, slotOf } from '../../../../src/actors/runtime/slots.ts';

describe('the slot of an address', () => {
  it('never changes: another value would give an actor two owners during an upgrade', () => {
    const addresses = [
      'user:@alice:tween.example',
      'vault:@alice:tween.example:ma_demo_shop',
      `payment:pay_b7${'a'.repeat(32)}`,
      'payment:pay_1',
      'app:ma_demo_shop',
      '',
      'vault:ü字:a',
    ];
    expect(addresses.map(slotOf)).toMatchInlineSnapshot(`
      [
        528,
        528,
        63,
        446,
        706,
        217,
        525,
      ]
    `);
  });

  it('is one for all actors of a person, and their transactions say it', () => {
    for (let index = 0; index < 2_000; index++) {
      const userId = `@user${index}:tween.example`;
      const slot = slotOf(`user:${userId}`);
      expect(slotOf(`vault:${userId}:ma_some_app`)).toBe(slot);
      expect(slotOf(`payment:pay_${naming.shard(userId)}${naming.digest([userId, 'ma_x', 'key'])}`)).toBe(slot);
      expect(shardOf(userId)).toMatch(/^[a-z2-7]{2}$/);
    }
  });

  it('is some slot for whatever an id holds', () => {
    for (const address of [`payment:pay_A1${'a'.repeat(32)}`, 'payment:', 'vault:', 'user:', 'vault:x', `x_${'z'.repeat(34)}`]) {
      expect(slotOf(address)).toBeGreaterThanOrEqual(0);
      expect(slotOf(address)).toBeLessThan(slotCount);
    }
  });

  it('is spread over all slots evenly enough', () => {
    const counts = new Array<number>(slotCount).fill(0);
    for (let index = 0; index < 102_400; index++) counts[slotOf(`vault:@user${index}:tween.example:ma_demo_shop`)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(Math.max(...counts)).toBeLessThan(160);
  });
});
