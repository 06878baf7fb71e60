/** What one numbered case is: what is sent, in which pieces, and what must come of it. */
import type { Frame } from './frames.ts';
import { bytesOf } from './frames.ts';
import type { Expectation, Happening } from './verdict.ts';

export type Step =
  /** These bytes, be they a frame or not. */
  | { readonly do: 'raw'; readonly bytes: Uint8Array }
  /** All frames in one write. */
  | { readonly do: 'send'; readonly frames: readonly Frame[] }
  /** Each write reaches the server alone: one frame a write, or this many bytes. */
  | { readonly do: 'chop'; readonly frames: readonly Frame[]; readonly by: 'frame' | number }
  /** One frame, its bytes in these pieces of the payload, with a pause between. */
  | { readonly do: 'pieces'; readonly frame: Frame; readonly lengths: readonly number[] }
  /** Waits until the server handled everything sent so far. */
  | { readonly do: 'pause' }
  /** The frame so many times, each when something came back for the one before. */
  | { readonly do: 'rounds'; readonly frame: Frame; readonly count: number };

export interface Script {
  readonly steps: readonly Step[];
  readonly expect: Expectation;
}

export interface ConformanceCase {
  /** The number the case has in the Autobahn testsuite. */
  readonly id: string;
  readonly what: string;
  /** Built when it runs: some hold 16 MiB. */
  readonly script: () => Script;
}

export function send(...frames: Frame[]): Step {
  return { do: 'send', frames };
}

export function chop(by: 'frame' | number, ...frames: Frame[]): Step {
  return { do: 'chop', frames, by };
}

export const pause: Step = { do: 'pause' };

export function gotText(payload: string | Uint8Array): Happening {
  return { kind: 'text', payload: bytesOf(payload) };
}

export function gotBinary(payload: Uint8Array): Happening {
  return { kind: 'binary', payload };
}

export function gotPong(payload: string | Uint8Array = ''): Happening {
  return { kind: 'pong', payload: bytesOf(payload) };
}

/** Everything comes back, and the connection is closed in good order. */
export function answers(...happenings: Happening[]): Expectation {
  return { end: 'closed-by-us', happenings };
}

/** The server fails the connection for a breach of the protocol, and nothing else comes. */
export const refuses: Expectation = { end: 'failed', codes: [1002], happenings: [] };

/** As `refuses`, after this was answered; lost together with the connection it is non-strict. */
export function refusesAfter(...happenings: Happening[]): Expectation {
  return { end: 'failed', codes: [1002], happenings, lenient: [] };
}
