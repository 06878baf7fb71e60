/** What the compiler does not see in a machine: names in its configuration that nothing answers to. */
import type { AnyStateMachine, AnyStateNode } from 'xstate';

type Named = string | { readonly type: string } | undefined;

/**
 * Names in `on`, `after`, guards, actions and targets that the machine does not have, each with the place where it stands. `events`: all
 * that the machine can get from outside.
 */
export function unknownNames(machine: AnyStateMachine, events: readonly string[]): string[] {
  const { actions = {}, guards = {}, delays = {} } = machine.implementations;
  const unknown: string[] = [];
  const check = (kind: string, name: Named, known: object, node: AnyStateNode): void => {
    const text = typeof name === 'string' ? name : name?.type;
    if (text !== undefined && !text.startsWith('xstate.') && !(text in known)) unknown.push(`${node.id}: ${kind} ${text}`);
  };
  const visit = (node: AnyStateNode): void => {
    for (const name of Object.keys(node.config.on ?? {})) if (!events.includes(name)) unknown.push(`${node.id}: event ${name}`);
    for (const name of Object.keys(node.config.after ?? {})) check('delay', name, delays, node);
    for (const action of [...node.entry, ...node.exit]) if (typeof action !== 'function') check('action', action as Named, actions, node);
    for (const transitions of node.transitions.values()) {
      for (const { guard, actions: taken, target } of transitions) {
        if (guard !== undefined) check('guard', guard as Named, guards, node);
        for (const action of taken) if (typeof action !== 'function') check('action', action as Named, actions, node);
        for (const to of target ?? []) if (machine.getStateNodeById(to.id) !== to) unknown.push(`${node.id}: target ${to.id}`);
      }
    }
    for (const child of Object.values(node.states)) visit(child);
  };
  visit(machine.root);
  return unknown;
}
