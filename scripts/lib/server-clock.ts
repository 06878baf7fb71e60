/** The dev server's clock, as the demo and the tests see it: it runs with the real one, ahead by what it was moved. */

export interface ServerClock {
  /** The server's time, epoch ms. */
  now(): number;
  /** Moves it forward; timers that become due fire. */
  advance(ms: number): Promise<void>;
}

/** Reads how far the clock of the dev server at `origin` is ahead. */
export async function serverClock(origin: string): Promise<ServerClock> {
  const door = async (advanceMs: number): Promise<number> => {
    const response = await fetch(`${origin}/dev/clock`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ advance_ms: advanceMs }),
    });
    if (!response.ok) throw new Error(`/dev/clock answered ${response.status}`);
    return Date.parse(((await response.json()) as { now: string }).now) - Date.now();
  };
  let aheadMs = await door(0);
  return {
    now: () => Date.now() + aheadMs,
    async advance(ms) {
      aheadMs = await door(ms);
    },
  };
}
