/** `tween.session.*` on an open session, answered without an actor. Rules: docs/spec/session.md, [LIVE25] to [LIVE29]. */
import { issuesOf } from '../../actors/runtime/validators.ts';
import type { CompiledOperation } from '../../actors/runtime/validators.ts';
import type { InputOf } from '../../protocol/catalogue.ts';
import { invalidRequest, TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { Session } from './session.ts';
import type { SessionHub } from './session-hub.ts';

type Answer = (error: TmcpError | null, result?: unknown) => void;

export class SessionOperations {
  readonly #hub: SessionHub;

  constructor(hub: SessionHub) {
    this.#hub = hub;
  }

  /** Runs one; `answer` is called exactly once, for `refresh` later. */
  run(operation: CompiledOperation, session: Session, input: unknown, answer: Answer): void {
    const issues = issuesOf(operation, input);
    if (issues.length > 0) {
      answer(invalidRequest(issues));
      return;
    }
    switch (operation.name) {
      case 'tween.session.ack':
        answer(null, { seq: session.events.ack((input as InputOf<'tween.session.ack'>).seq) });
        return;
      case 'tween.session.ping':
        answer(null, { server_time: toIso(this.#hub.options.clock.now()) });
        return;
      case 'tween.session.close':
        answer(null, { closed: true });
        this.#hub.happen(session, undefined, 'ended');
        return;
      case 'tween.session.refresh':
        this.#refresh(session, (input as InputOf<'tween.session.refresh'>).token).then((result) => answer(null, result), answer);
        return;
      default:
        answer(new TmcpError('INVALID_STATE', 'The session is already open'));
    }
  }

  async #refresh(session: Session, token: string): Promise<unknown> {
    const { clock, verifier } = this.#hub.options;
    const began = clock.monotonic();
    const principal = await verifier.verify(token);
    const { userId, appId } = session.principal;
    if (principal.userId !== userId || principal.appId !== appId || this.#hub.revokedSince(principal, began))
      throw new TmcpError('INVALID_TOKEN');
    session.identify(principal);
    this.#hub.scheduleExpiry(session);
    return { expires_at: toIso(principal.expiresAt), scopes: [...principal.scopes] };
  }
}
