/**
 * What a node takes on while it has more to do than it can: classes of work are refused one after the other, each first in part and then
 * whole, and payments never. Pure: time and measures come from the caller. Rules: docs/spec/session.md, [LIVE47] to [LIVE50].
 *
 * One number, the pressure, says how many classes are refused. It rises while the event loop comes round late or too much is
 * unanswered, falls while neither is so, and stays between the two bounds: it settles where the node is just busy enough.
 */
import { jitter } from '../../ids.ts';
import { TmcpError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';

/** In the order in which they are refused. `entry`: upgrades, session opens and sign-ins. `money`: payments, factors and whatever takes rights away. */
export const workClasses = ['bulk', 'write', 'read', 'entry', 'money'] as const;
export type WorkClass = (typeof workClasses)[number];

const ranks: Readonly<Record<WorkClass, number>> = { bulk: 0, write: 1, read: 2, entry: 3, money: 4 };
/** Where `money` begins: the pressure goes no further. */
const mostPressure = ranks.money;

/** The class of an operation, by what it is: a new one needs no entry anywhere. */
export function workClassOf(operation: Pick<Operation, 'name' | 'limit' | 'access' | 'input'>): WorkClass {
  const family = operation.name.split('.')[1];
  const { properties } = operation.input as unknown as { readonly properties: Readonly<Record<string, unknown>> };
  if (family === 'sync' || operation.limit === 'storage_batch' || Object.hasOwn(properties, 'limit')) return 'bulk';
  if (family === 'storage') return operation.access;
  return operation.access === 'write' || family === 'payment' || family === 'mfa' ? 'money' : 'read';
}

/** Refused because the node is too busy. Certainly not begun; the same request may be sent again after `retryAfter`. */
export class Overloaded extends TmcpError {
  constructor(retryAfterS: number) {
    super('SERVICE_UNAVAILABLE', 'The server is too busy for this right now', { retryAfter: retryAfterS });
  }
}

/** Seconds. Those refused come back within this time, and sooner while they are few: together they must not keep the node busy refusing. */
const longestHintS = 10;
const shortestHintS = 2;
/** Refusals a second for each second of the hint. */
const refusalsPerHintS = 250;
/** Made once: a refusal must cost little, and the stack of an error is most of what it costs. */
const refusals = Array.from({ length: longestHintS }, (_, index) => new Overloaded(index + 1));

/** What the node has before it, each as a share of its bound: at 1 the bound is reached. */
export interface Load {
  /** Entries or bytes that wait for the database. */
  readonly journal: number;
  /** Requests that are not answered, without those that only wait for the database. */
  readonly unanswered: number;
}

export interface AdmissionOptions {
  /** The event loop may come round this late; 0: everything is admitted always. */
  readonly loopDelayMs: number;
  /** How often `lap` is called. */
  readonly lapEveryMs: number;
  /** Monotonic ms. */
  readonly now: number;
  readonly load: () => Load;
  readonly onShed?: (workClass: WorkClass) => void;
}

/** Below this share of its bound a measure is at ease. */
const easeShare = 0.5;
/** A lap that is still going on and this many times later than it may be is overload, whatever the one before was. */
const plainlyLate = 5;
/** How much of the time since the last look counts: a process that was stopped has nothing to make up for. */
const longestStepMs = 100;
/** How soon a request makes us look again, within one lap of the loop. */
const lookEveryMs = 50;
/** Classes a second. Up: at twice the bound and beyond. Down: when nothing waits; half of it at the edge of ease. */
const slowestRise = 0.25;
const fastestRise = 2;
const fastestFall = 0.8;
/** From this share of the journal's bound on writes are refused: bulk from here, single ones half way to the end. The end is left to payments. */
const journalFrom = 0.7;
const journalTo = 0.95;

export class Admission {
  readonly #options: AdmissionOptions;
  #pressure = 0;
  /** How many classes of writes the journal has no room for, 0 to 2. */
  #full = 0;
  #lapAt: number;
  #lookedAt: number;
  /** How late the loop was the time before. */
  #before = 0;
  /** Refusals of late, per second. */
  #refusedPerS = 0;
  #refused = 0;
  /** What each class is owed in refusals: a share of a class is refused evenly, not by luck. */
  readonly #owed: Record<WorkClass, number> = { bulk: 0, write: 0, read: 0, entry: 0, money: 0 };

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#lapAt = options.now;
    this.#lookedAt = options.now;
  }

  /** How many classes are refused, 0 to 4; the fraction is the share of the next one. */
  get pressure(): number {
    return this.#pressure;
  }

  /** The loop came round; called every `lapEveryMs` as well as it can. */
  lap(now: number): void {
    const late = this.#late(now);
    // One late lap is a collected heap, a neighbour, a process that was stopped; two in a row are a queue.
    this.#look(now, Math.min(late, this.#before));
    this.#before = late;
    this.#lapAt = now;
  }

  /** Why something of `workClass` is not taken on now; undefined: it is. A refusal is one of what is to be refused, so it is asked once a request. */
  refuse(workClass: WorkClass, access: Operation['access'], now: number): Overloaded | undefined {
    if (this.#options.loopDelayMs === 0) return undefined;
    if (now - this.#lookedAt >= lookEveryMs && now - this.#lapAt > this.#options.lapEveryMs + lookEveryMs) this.#lookWithin(now);
    const rank = ranks[workClass];
    const level = access === 'write' && this.#full > this.#pressure ? this.#full : this.#pressure;
    const share = level - rank;
    if (share <= 0 || rank >= mostPressure) return undefined;
    if (share < 1) {
      this.#owed[workClass] += share;
      if (this.#owed[workClass] < 1) return undefined;
      this.#owed[workClass] -= 1;
    }
    return this.#refusal(workClass);
  }

  /** Whether all of a class is refused: for what should not have been begun at all. */
  closedTo(workClass: WorkClass): Overloaded | undefined {
    if (workClass === 'money' || this.#pressure < ranks[workClass] + 1) return undefined;
    return this.#refusal(workClass);
  }

  /** When a client that is sent away may come back: ms, spread, later the more are refused. */
  comeBackMs(): number {
    return 1_000 + Math.floor(jitter() * this.#hintS() * 1_000);
  }

  #refusal(workClass: WorkClass): Overloaded {
    this.#refused++;
    this.#options.onShed?.(workClass);
    return refusals[Math.floor(jitter() * this.#hintS())] as Overloaded;
  }

  #hintS(): number {
    return Math.min(longestHintS, Math.max(shortestHintS, this.#refusedPerS / refusalsPerHintS));
  }

  #late(now: number): number {
    return Math.max(0, now - this.#lapAt - this.#options.lapEveryMs);
  }

  /** Within a lap that does not end the timer cannot look. */
  #lookWithin(now: number): void {
    const late = this.#late(now);
    this.#look(now, late >= this.#options.loopDelayMs * plainlyLate ? late : Math.min(late, this.#before));
  }

  /** `late`: how late the loop is, as far as it stands for a queue. */
  #look(now: number, late: number): void {
    const { loopDelayMs, load } = this.#options;
    if (loopDelayMs === 0) return;
    const passed = now - this.#lookedAt;
    const seconds = Math.min(passed, longestStepMs) / 1_000;
    this.#lookedAt = now;
    // Of the last second or so.
    const fresh = Math.min(1, passed / 1_000);
    this.#refusedPerS += this.#refused * Math.min(1, 1_000 / Math.max(passed, 1)) - this.#refusedPerS * fresh;
    this.#refused = 0;
    const { journal, unanswered } = load();
    this.#full = Math.min(2, Math.max(0, ((journal - journalFrom) / (journalTo - journalFrom)) * 2));
    const share = Math.max(late / loopDelayMs, unanswered);
    let change = 0;
    if (share > 1) change = Math.min(fastestRise, slowestRise + (share - 1) * (fastestRise - slowestRise)) * seconds;
    else if (share < easeShare) change = -(1 - share / (2 * easeShare)) * fastestFall * seconds;
    this.#pressure = Math.min(mostPressure, Math.max(0, this.#pressure + change));
  }
}
