/** The check that finds misspelt names in machines, seen red. */
import { type AnyStateMachine, setup } from 'xstate';
import { expect, it } from 'vitest';
import { unknownNames } from './machine-names.ts';

const made = setup({ delays: { soon: 1 }, guards: { yes: () => true }, actions: { go: () => {} } });

it('finds nothing in a machine whose names all exist', () => {
  const machine = made.createMachine({
    id: 'm',
    initial: 'a',
    states: { a: { entry: 'go', after: { soon: 'b' }, on: { move: { guard: 'yes', target: 'b' } } }, b: {} },
  });
  expect(unknownNames(machine, ['move'])).toEqual([]);
});

it('names a misspelt event, delay, guard and action with its place', () => {
  const wrong = {
    id: 'm',
    initial: 'a',
    states: { a: { entry: 'goo', after: { sooon: 'b' }, on: { moove: { guard: 'yess', target: 'b' } } }, b: {} },
  };
  expect(unknownNames(made.createMachine(wrong as never) as unknown as AnyStateMachine, ['move'])).toEqual([
    'm.a: event moove',
    'm.a: delay sooon',
    'm.a: action goo',
    'm.a: guard yess',
  ]);
});
