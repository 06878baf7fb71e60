/** The sandbox's fault door: what goes wrong with the next calls, first in, first used. Holds plans; the server carries them out. */
import { Type, type Static } from '@sinclair/typebox';

export const faultOperations = ['account', 'transactions', 'policy', 'charge', 'find', 'refund'] as const;

/** What a fault can be aimed at. `account` covers users' and merchants' accounts, read and ensured. */
export type FaultOperation = (typeof faultOperations)[number];

export const faultSchema = Type.Object(
  {
    operation: Type.Union([...faultOperations.map((name) => Type.Literal(name)), Type.Literal('*')], { default: '*' }),
    mode: Type.Union([
      Type.Literal('timeout_before'),
      Type.Literal('timeout_after'),
      Type.Literal('http_500'),
      Type.Literal('http_500_after'),
      Type.Literal('refuse'),
      Type.Literal('slow'),
      Type.Literal('down'),
    ]),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000, default: 1 })),
    delay_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000, default: 1_000 })),
  },
  { additionalProperties: false },
);

export type FaultBody = Static<typeof faultSchema>;
export type FaultMode = FaultBody['mode'];

export interface Fault {
  readonly operation: FaultOperation | '*';
  readonly mode: FaultMode;
  readonly delayMs: number;
  remaining: number;
  /** Calls it has met so far. */
  hits: number;
}

export class Faults {
  #plans: Fault[] = [];

  add(body: FaultBody): void {
    this.#plans.push({
      operation: body.operation as FaultOperation | '*',
      mode: body.mode,
      delayMs: body.delay_ms ?? 1_000,
      remaining: body.count ?? 1,
      hits: 0,
    });
  }

  /** The fault this call meets, used up by one. */
  take(operation: FaultOperation): Fault | undefined {
    const plan = this.#plans.find((fault) => fault.remaining > 0 && (fault.operation === operation || fault.operation === '*'));
    if (plan === undefined) return undefined;
    plan.remaining -= 1;
    plan.hits += 1;
    return plan;
  }

  /** All plans since the last clearing, used ones included. */
  list(): { operation: string; mode: FaultMode; delay_ms: number; remaining: number; hits: number }[] {
    return this.#plans.map(({ operation, mode, delayMs, remaining, hits }) => ({ operation, mode, delay_ms: delayMs, remaining, hits }));
  }

  clear(): void {
    this.#plans = [];
  }
}
