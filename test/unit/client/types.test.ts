/** The types of `call`: what does not compile here is the test. Each `@ts-expect-error` fails the type check when the line compiles. */
import { describe, expectTypeOf, it } from 'vitest';
import type { Client, InputOf, MethodName, OutputOf, TmcpError } from '../../../src/client/mod.ts';

/** Never run: only its types are looked at. */
async function wrongCalls(client: Client): Promise<void> {
  // @ts-expect-error there is no such method
  await client.call('tween.wallet.getBalanse', {});
  // @ts-expect-error the parameters are missing
  await client.call('tween.storage.get');
  // @ts-expect-error a member is missing
  await client.call('tween.storage.get', {});
  // @ts-expect-error a member has the wrong type
  await client.call('tween.storage.get', { key: 1 });
  // @ts-expect-error a member is not known
  await client.call('tween.storage.get', { key: 'k', colour: 'red' });
  // @ts-expect-error durability is one of two words
  await client.call('tween.storage.set', { key: 'k', value: 'v', durability: 'maybe' });
  // @ts-expect-error the result has no such member
  (await client.call('tween.storage.get', { key: 'k' })).colour;
  // @ts-expect-error a listener of the state hears a state
  client.on('state', (now: number) => now);
  // @ts-expect-error a value is text
  await client.storage.set('k', 1);
}

describe('a call', () => {
  it('that is wrong does not compile', () => {
    expectTypeOf(wrongCalls).returns.toEqualTypeOf<Promise<void>>();
  });

  it('is typed by its method', () => {
    expectTypeOf<InputOf<'tween.storage.get'>>().toEqualTypeOf<{ key: string }>();
    expectTypeOf<OutputOf<'tween.storage.get'>['value']>().toEqualTypeOf<string>();
    expectTypeOf<OutputOf<'tween.wallet.getBalance'>['balance']['available']>().toEqualTypeOf<number>();
    expectTypeOf<OutputOf<'tween.sync.push'>['results'][number]['op_id']>().toEqualTypeOf<string>();
    expectTypeOf<'tween.wallet.pay'>().toExtend<MethodName>();
    expectTypeOf<MethodName>().not.toBeAny();
  });

  it('resolves with the typed result', () => {
    const call = (client: Client) => client.call('tween.storage.usage', {});
    expectTypeOf<Awaited<ReturnType<typeof call>>['usage_bytes']>().toEqualTypeOf<number>();
  });

  it('rejects with errors whose code is one of the table', () => {
    expectTypeOf<TmcpError['code']>().toExtend<string>();
    expectTypeOf<'KEY_NOT_FOUND'>().toExtend<TmcpError['code']>();
  });
});
