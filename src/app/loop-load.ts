/** How busy this process's event loop was since the last look: what an operator sees of a node beside what it has in memory. */
import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks';

export interface LoopLoad {
  /** Between 0 and 1: the share of time in which the loop did something. */
  readonly busy: number;
  /** How late it came round, 99 times of 100, ms. */
  readonly delayMs: number;
}

const resolutionMs = 20;

/** Begins to measure; each call gives what was since the one before. */
export function createLoopMeter(): { readonly read: () => LoopLoad; readonly close: () => void } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  return {
    read() {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      // The histogram holds whole laps, each of which was meant to last the resolution.
      const lateMs = delays.count === 0 ? 0 : Math.max(0, delays.percentile(99) / 1e6 - resolutionMs);
      delays.reset();
      return { busy: Math.round(utilization * 1_000) / 1_000, delayMs: Math.round(lateMs * 10) / 10 };
    },
    close() {
      delays.disable();
    },
  };
}
