/**
 * The resume records of this node's sessions that have no socket. While an event may be missing from a session's record there is no
 * record: a resume on another node then starts afresh rather than skip an event. What is done to one session's record is done in order.
 * Rules: docs/spec/session.md, [LIVE15], [LIVE16].
 */
import type { Clock, EventTrailView, ResumeRecord, ResumeStore } from '../../actors/ports.ts';
import type { Logger } from '../../log.ts';
import type { Session } from './session.ts';

/** Events of a session without a socket come in bursts; its record is written again this long after the first. */
const storeAgainMs = 250;

/** What the records need. */
export interface KeptOptions {
  readonly resumes: ResumeStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly trail?: EventTrailView | undefined;
}

export class KeptSessions {
  readonly #options: KeptOptions;
  readonly #store: ResumeStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Another node resumed the session. */
  readonly #taken: (session: Session) => void;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: KeptOptions, taken: (session: Session) => void) {
    this.#options = options;
    this.#store = options.resumes;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#taken = taken;
  }

  /** Writes the record of a session that has just lost its socket. */
  put(session: Session): void {
    this.#chain(session, async () => {
      if (session.phase !== 'detached') return;
      // Until it has said so, and when it does not, nobody knows.
      session.stored = 'perhaps';
      if (await this.#store.put(recordOf(session, this.#options))) session.stored = true;
    });
  }

  /** An event came in: the record no longer holds all of them. */
  outdated(session: Session): void {
    if (session.storeAgain) return;
    session.storeAgain = true;
    this.#chain(session, async () => {
      if (!(await this.#withdraw(session))) this.#taken(session);
    });
    this.#clock.after(storeAgainMs, () => {
      session.storeAgain = false;
      if (session.phase === 'detached') this.put(session);
    });
  }

  /** Takes the record back for a resume here. False: another node was first. */
  async claim(session: Session): Promise<boolean> {
    let ours = false;
    this.#chain(session, async () => {
      ours = await this.#withdraw(session);
    });
    await session.storing;
    return ours;
  }

  /** Removes the record of a session that must never be resumed. */
  remove(session: Session): void {
    this.#chain(session, async () => {
      await this.#withdraw(session);
    });
  }

  /** Takes a record that another node wrote; undefined when there is none or the store is away. */
  async takeForeign(id: string, secretHash: string): Promise<ResumeRecord | undefined> {
    try {
      return await this.#store.take(id, secretHash);
    } catch (error) {
      this.#log.warn({ event: 'session.store_failed', sessionId: id, err: error }, 'the resume store did not answer');
      return undefined;
    }
  }

  /** Gives a record back that was taken for somebody who may not have it. */
  giveBack(record: ResumeRecord): void {
    this.#track(
      this.#store.put(record).then(
        () => undefined,
        (error: unknown) => this.#failed(record.session, error),
      ),
    );
  }

  /** Resolves when everything asked for so far was done. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  async #withdraw(session: Session): Promise<boolean> {
    const { stored } = session;
    if (stored === false) return true;
    session.stored = false;
    const taken = await this.#store.take(session.id, session.secretHash).catch((error: unknown) => this.#failed(session.id, error));
    // A record that may never have been there proves nothing by not being there.
    return taken !== undefined || stored === 'perhaps';
  }

  #chain(session: Session, work: () => Promise<void>): void {
    const done = (session.storing ?? Promise.resolve()).then(work).catch((error: unknown) => this.#failed(session.id, error));
    session.storing = done;
    void done.then(() => {
      if (session.storing === done) session.storing = undefined;
    });
    this.#track(done);
  }

  #track(done: Promise<void>): void {
    this.#underWay.add(done);
    void done.then(() => this.#underWay.delete(done));
  }

  #failed(id: string, error: unknown): void {
    this.#log.warn({ event: 'session.store_failed', sessionId: id, err: error }, 'the resume store did not answer');
  }
}

/** All that a resume elsewhere needs of a session. */
export function recordOf(session: Session, { clock, trail }: Pick<KeptOptions, 'clock' | 'trail'>): ResumeRecord {
  const { events, principal } = session;
  return {
    session: session.id,
    secretHash: session.secretHash,
    userId: principal.userId,
    appId: principal.appId,
    deviceId: session.deviceId,
    generation: session.generation,
    seq: events.seq,
    events: events.all().map(({ seq, method, params }) => ({ seq, method, params })),
    gap: false,
    ...(trail === undefined ? {} : { seen: trail.seen(), at: clock.now() }),
  };
}
