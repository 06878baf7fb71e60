/**
 * The event bus of many nodes: what an actor publishes reaches this node's sessions at once and those of all other nodes over their links,
 * encoded once. A node reads no more of an event than its user's id when it has no session of that user.
 */
import type { EventBus, EventStamp, UserEvent } from '../../actors/ports.ts';

export interface ClusterBus extends EventBus {
  /** An event of another node; `read` decodes it. */
  receive(userId: string, read: () => unknown, stamp: EventStamp): void;
}

interface Listener {
  readonly hear: (event: UserEvent, stamp?: EventStamp) => void;
  readonly wants: ((userId: string) => boolean) | undefined;
}

/** `broadcast` sends an event to all other nodes. */
export function createClusterBus(broadcast: (userId: string, body: UserEvent) => void): ClusterBus {
  const listeners = new Set<Listener>();
  return {
    publish(event) {
      for (const { hear } of listeners) hear(event);
      broadcast(event.userId, event);
    },
    subscribe(hear, wants) {
      const listener = { hear, wants };
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    receive(userId, read, stamp) {
      let event: UserEvent | undefined;
      for (const { hear, wants } of listeners) {
        if (wants?.(userId) !== true) continue;
        event ??= read() as UserEvent;
        hear(event, stamp);
      }
    },
  };
}
