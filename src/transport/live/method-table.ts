/** What the frame handler looks up for a method name, made once: the operation, and its metrics' cells. */
import type { Gate } from '../../actors/runtime/gate.ts';
import type { CompiledOperation } from '../../actors/runtime/validators.ts';
import type { Metrics } from '../../metrics.ts';
import { operations } from '../../protocol/catalogue.ts';

export interface Method {
  readonly operation: CompiledOperation;
  readonly ok: { inc(): void };
  readonly failed: { inc(): void };
  readonly seconds: { observe(value: number): void };
}

/** Every method of the catalogue that the gate knows. */
export function methodTable(gate: Gate, metrics: Metrics): ReadonlyMap<string, Method> {
  const table = new Map<string, Method>();
  for (const { name } of operations) {
    const operation = gate.operation(name);
    if (operation === undefined) continue;
    table.set(name, {
      operation,
      ok: metrics.liveMessages.with(name, 'ok'),
      failed: metrics.liveMessages.with(name, 'error'),
      seconds: metrics.liveMessageSeconds.with(name),
    });
  }
  return table;
}
