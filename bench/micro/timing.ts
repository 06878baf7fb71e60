/** What the micro-benchmarks share: run a function for a while after a warm-up and print nanoseconds a call. */

let sink: unknown;

/** Prints the median ns/op of `rounds` rounds of about `roundMs` ms each, and returns it. `fn` must return something it made. */
export function measure(name: string, fn: () => unknown, rounds = 7, roundMs = 120): number {
  let batch = 1;
  for (let spent = 0; spent < roundMs; batch *= 2) spent = timeOf(fn, batch);
  const samples: number[] = [];
  for (let round = 0; round < rounds; round += 1) samples.push((timeOf(fn, batch) * 1e6) / batch);
  samples.sort((a, b) => a - b);
  // Read once, so that no call can be optimised away.
  if (sink === measure) throw new Error('a benchmark returned its own harness');
  const median = samples[rounds >> 1] as number;
  console.log(`${name.padEnd(52)} ${median.toFixed(0).padStart(10)} ns/op   (best ${(samples[0] as number).toFixed(0)})`);
  return median;
}

function timeOf(fn: () => unknown, times: number): number {
  const from = performance.now();
  for (let i = 0; i < times; i += 1) sink = fn();
  return performance.now() - from;
}
