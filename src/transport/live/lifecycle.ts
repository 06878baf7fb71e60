/**
 * How the live transport sees the life of a session: a function from where it is and what happened to where it goes and what
 * must be done. The rules themselves are the session actor's machine; `app.ts` hands them in.
 */
export type SessionPhase = 'opening' | 'open' | 'draining' | 'detached' | 'closed';

export type SessionHappening =
  | 'opened'
  | 'notOpenedInTime'
  | 'lost'
  | 'resumed'
  | 'violated'
  | 'tooLarge'
  | 'flooded'
  | 'slow'
  | 'expired'
  | 'revoked'
  | 'ended'
  | 'failed'
  | 'drain'
  | 'drainOver'
  | 'windowOver'
  | 'taken'
  | 'gap';

export type LifecycleEffect =
  | { readonly type: 'closeSocket'; readonly code: number }
  | { readonly type: 'keep' }
  | { readonly type: 'forget' }
  | { readonly type: 'announceDrain' };

export type SessionLifecycle = (
  phase: SessionPhase,
  event: SessionHappening,
) => { readonly phase: SessionPhase; readonly effects: readonly LifecycleEffect[] };
