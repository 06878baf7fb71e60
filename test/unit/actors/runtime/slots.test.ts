import { describe, expect, it } from 'vitest';
import { slotCount, slotOf } from '../../../../src/actors/runtime/slots.ts';

describe('the slot of an address', () => {
  it('never changes: another value would give an actor two owners during an upgrade', () => {
    const addresses = ['user:@alice:tween.example', 'vault:@alice:tween.example:ma_demo_shop', 'payment:pay_1', '', 'vault:ü字'];
    expect(addresses.map(slotOf)).toMatchInlineSnapshot(`
      [
        266,
        368,
        446,
        217,
        511,
      ]
    `);
  });

  it('is spread over all slots evenly enough', () => {
    const counts = new Array<number>(slotCount).fill(0);
    for (let index = 0; index < 102_400; index++) counts[slotOf(`vault:@user${index}:tween.example:ma_demo_shop`)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(Math.max(...counts)).toBeLessThan(160);
  });
});
