/** Percentiles and pauses for the runs of this folder. */

/** The value below which `share` of `figures` lie; 0 of none. */
export function percentile(figures: readonly number[], share: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** Median, 99th percentile and largest of `figures`, whole ms. */
export function spread(figures: readonly number[]): {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
} {
  const round = (share: number): number => Math.round(percentile(figures, share));
  return { count: figures.length, p50: round(0.5), p99: round(0.99), max: round(1) };
}

/** Resolves `ms` later. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Asks `found` again and again until it gives something. Errors: `withinMs` pass first. */
export async function until<T>(what: string, withinMs: number, found: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const value = await found();
    if (value !== undefined) return value;
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within ${withinMs} ms`);
    await pause(50);
  }
}
