/** The event bus of a node that is alone: what is published reaches this node's sessions at once, in order. */
import type { EventBus, UserEvent } from '../../actors/ports.ts';

/** A bus within the process. Listeners must not throw: they are called in the publisher's turn. */
export function createLocalBus(): EventBus {
  const listeners = new Set<(event: UserEvent) => void>();
  return {
    publish(event) {
      for (const listener of listeners) listener(event);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
