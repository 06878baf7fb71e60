/**
 * The life of one payment: asked for, signed, proven by a second factor where the wallet wants one, charged once. Pure: time,
 * ids and facts arrive in events, what must be done leaves as effects. Rules PAY9 to PAY34 of docs/spec/payment.md.
 *
 *   pending_authorization ──► mfa_required ──► processing (charging ─► unknown ⇄ settling, unresolved) ──► completed
 *            │    └──────────────────┼───────────────▲                                              └──► failed
 *            └──► cancelled, expired ◄┘
 *
 * What has ended stays ended. An answer is an effect too: `reject`, `show`, `wait`, `challenge`.
 */
import { assign, setup } from 'xstate';
import type { ErrorCode } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import {
  attemptVerdict,
  endedCode,
  requeryPauseMs,
  unresolvedPauseMs,
  verdictOf,
  type AttemptVerdict,
  type Verdict,
} from './payment-rules.ts';
import type { AuthorizeFacts, PaymentContext, PaymentEvent, PaymentInput } from './payment-types.ts';

export const paymentMachineVersion = 1;

type Context = { readonly context: PaymentContext };
type On<T extends PaymentEvent['type']> = Context & { readonly event: Extract<PaymentEvent, { type: T }> };
type Rejection = { readonly code: ErrorCode; readonly details?: Readonly<Record<string, unknown>>; readonly lockedUntil?: number | null };

const machine = setup({
  types: { context: {} as PaymentContext, events: {} as PaymentEvent, input: {} as PaymentInput },
  delays: {
    /** What is left of the authorization window; at the first step nothing of it is used up. */
    authorizationLeft: ({ context, event }) => Math.max(0, context.expiresAt - ('at' in event ? event.at : context.createdAt)),
    requeryPause: ({ context }) => requeryPauseMs(context.queries),
    unresolvedPause: unresolvedPauseMs,
  },
  guards: {
    windowOver: (_, params: { readonly at: number; readonly expiresAt: number }) => params.at >= params.expiresAt,
    verdict: (_, params: { readonly facts: AuthorizeFacts | null; readonly is: Verdict }) => verdictOf(params.facts) === params.is,
    attempt: (
      _,
      params: { readonly context: PaymentContext; readonly event: Parameters<typeof attemptVerdict>[1]; readonly is: AttemptVerdict },
    ) => attemptVerdict(params.context, params.event) === params.is,
    sameChallenge: (_, params: { readonly asked: string; readonly known: string | null | undefined }) => params.asked === params.known,
    triesUsedUp: (_, params: { readonly attempts: number }) => params.attempts >= limits.challengeAttempts,
    holds: (_, params: { readonly fact: boolean }) => params.fact,
  },
  actions: {
    // Answers to the command in hand.
    reject: (_, _params: Rejection) => {},
    show: () => {},
    wait: () => {},
    challenge: () => {},
    // What the host does once it is committed.
    'mfa.evaluate': (_, _params: { readonly method: string; readonly challengeId: string }) => {},
    'wallet.charge': (_, _params: Readonly<Record<string, unknown>>) => {},
    'wallet.settle': (_, _params: Readonly<Record<string, unknown>>) => {},
    announce: () => {},
    'announce.wallet': () => {},
    alarm: (_, _params: { readonly what: string }) => {},
    // What the machine remembers.
    issueChallenge: assign((_, params: { readonly facts: AuthorizeFacts | null; readonly at: number; readonly deviceId: string }) => {
      const { facts, at, deviceId } = params;
      if (facts === null) return {};
      return { deviceId, challenge: { id: facts.challengeId, methods: facts.methods, expiresAt: at + limits.challengeTtlMs } };
    }),
    chargeAttempt: assign(({ context }) => ({ attempts: context.attempts + 1 })),
    intend: assign((_, params: { readonly at: number }) => ({ intentAt: params.at })),
    signedBy: assign((_, params: { readonly deviceId: string }) => ({ deviceId: params.deviceId })),
    passed: assign((_, params: { readonly challengeId: string }) => ({ passedChallengeId: params.challengeId })),
    countUnknown: assign(({ context }) => ({ queries: context.queries + 1 })),
    booked: assign((_, params: { readonly txnId: string; readonly bookedAt: number }) => ({
      txnId: params.txnId,
      completedAt: params.bookedAt,
      error: null,
    })),
    fail: assign(
      (_, params: { readonly code: ErrorCode; readonly message: string; readonly details: Readonly<Record<string, unknown>> | null }) => ({
        error: params,
      }),
    ),
  },
});

const windowOver = {
  type: 'windowOver',
  params: ({ context, event }: Context & { readonly event: PaymentEvent }) => ({ at: event.at, expiresAt: context.expiresAt }),
} as const;
const verdict = (is: Verdict) =>
  ({ type: 'verdict', params: ({ event }: On<'payment.authorize'>) => ({ facts: event.facts, is }) }) as const;
const attempt = (is: AttemptVerdict) =>
  ({ type: 'attempt', params: ({ context, event }: On<'mfa.attempt'>) => ({ context, event, is }) }) as const;
const ofThisChallenge = {
  type: 'sameChallenge',
  params: ({ context, event }: On<'mfa.passed' | 'mfa.failed'>) => ({ asked: event.challengeId, known: context.challenge?.id }),
} as const;
const ofPassedChallenge = {
  type: 'sameChallenge',
  params: ({ context, event }: On<'mfa.attempt'>) => ({ asked: event.challengeId, known: context.passedChallengeId }),
} as const;
const triesUsedUp = { type: 'triesUsedUp', params: ({ context }: Context) => ({ attempts: context.attempts }) } as const;

const reject = (code: ErrorCode, details?: Readonly<Record<string, unknown>>) =>
  ({ type: 'reject', params: details === undefined ? { code } : { code, details } }) as const;
const rejectEnded = (status: string) =>
  ({ type: 'reject', params: ({ context }: Context) => ({ code: endedCode(status, context) }) }) as const;
const rejectLocked = {
  type: 'reject',
  params: ({ context, event }: On<'payment.authorize' | 'mfa.attempt' | 'mfa.failed'>): Rejection => ({
    code: 'MFA_LOCKED',
    lockedUntil: lockOf(context, event),
  }),
} as const;
const rejectWrong = {
  type: 'reject',
  params: ({ context }: Context): Rejection => ({
    code: 'INVALID_MFA_CREDENTIALS',
    details: { attempts_remaining: limits.challengeAttempts - context.attempts, retry_allowed: true },
  }),
} as const;

/** Until when a refused second factor is of no use: the factor's own lock, or else the end of this payment's window. */
function lockOf(context: PaymentContext, event: On<'payment.authorize' | 'mfa.attempt' | 'mfa.failed'>['event']): number | null {
  if (event.type === 'payment.authorize') return event.facts?.locked === true ? event.facts.lockedUntil : context.expiresAt;
  return event.type === 'mfa.failed' && event.locked ? event.lockedUntil : context.expiresAt;
}

const tooManyTries = {
  type: 'fail',
  params: { code: 'MFA_LOCKED', message: 'Too many failed attempts at the second factor', details: null },
} as const;
const intend = { type: 'intend', params: ({ event }: { readonly event: PaymentEvent }) => ({ at: event.at }) } as const;
const alarm = (what: string) => ({ type: 'alarm', params: { what } }) as const;

/** What the wallet is asked with: the same at every try, `intent_at` the first. No account of the payer but the id. */
const chargeOf = ({ context }: Context): Readonly<Record<string, unknown>> => ({
  reference: context.paymentId,
  idempotency_key: `charge:${context.paymentId}`,
  payer_user_id: context.payerUserId,
  merchant_app_id: context.appId,
  amount_minor: context.amountMinor,
  currency: context.currency,
  description: context.description,
  intent_at: context.intentAt,
});

/** Wallet news while the charge's fate is open. A refusal ends the payment; whatever tells nothing is asked about again. */
const openOutcome = {
  'wallet.charged': {
    target: '#payment.completed',
    actions: { type: 'booked', params: ({ event }: On<'wallet.charged'>) => ({ txnId: event.txnId, bookedAt: event.bookedAt }) },
  },
  'wallet.refused': {
    target: '#payment.failed',
    actions: {
      type: 'fail',
      params: ({ event }: On<'wallet.refused'>) => ({ code: event.code, message: event.message, details: event.details }),
    },
  },
} as const;
const asked = {
  'wallet.unknown': { target: 'unknown', actions: 'countUnknown' },
  'wallet.unavailable': { target: 'unknown', actions: 'countUnknown' },
  'wallet.unresolved': 'unresolved',
} as const;

/** Commands that come too late for a payment in the wallet's hands. `answer`: what a caller who has done his part gets. */
const lateCommands = (answer: 'wait' | 'show') =>
  ({
    'payment.authorize': { actions: answer },
    'payment.cancel': { actions: reject('INVALID_STATE') },
    'mfa.attempt': [{ guard: ofPassedChallenge, actions: answer }, { actions: reject('INVALID_STATE') }],
    'mfa.passed': { actions: reject('INVALID_STATE') },
    'mfa.failed': { actions: reject('INVALID_STATE') },
  }) as const;

/** A payment that ended without a charge. A charge told afterwards is for a person to look at; the state stays. */
const endedWithout = (status: 'failed' | 'cancelled' | 'expired') =>
  ({
    'payment.authorize': { actions: rejectEnded(status) },
    'payment.cancel': { actions: status === 'cancelled' ? 'show' : reject('INVALID_STATE') },
    'mfa.attempt': { actions: rejectEnded(status) },
    'mfa.passed': { actions: rejectEnded(status) },
    'mfa.failed': { actions: rejectEnded(status) },
    'wallet.charged': { actions: alarm(`charged although ${status}`) },
  }) as const;

export const paymentMachine = machine.createMachine({
  id: 'payment',
  context: ({ input }) => ({
    ...input,
    challenge: null,
    attempts: 0,
    passedChallengeId: null,
    deviceId: null,
    intentAt: null,
    queries: 0,
    txnId: null,
    completedAt: null,
    error: null,
  }),
  initial: 'pending_authorization',
  states: {
    pending_authorization: {
      // Entered once, by the request: it is shown what it made.
      entry: ['announce', 'show'],
      after: { authorizationLeft: 'expired' },
      on: {
        'payment.authorize': [
          { guard: windowOver, target: 'expired', actions: reject('PAYMENT_EXPIRED') },
          {
            guard: verdict('charge'),
            target: 'processing',
            actions: [{ type: 'signedBy', params: ({ event }) => ({ deviceId: event.deviceId }) }, intend, 'wait'],
          },
          {
            guard: verdict('challenge'),
            target: 'mfa_required',
            actions: [{ type: 'issueChallenge', params: ({ event }) => event }, 'challenge'],
          },
          { guard: verdict('locked'), actions: rejectLocked },
          { actions: reject('FORBIDDEN', { enrol_required: true }) },
        ],
        'payment.cancel': [
          { guard: windowOver, target: 'expired', actions: reject('INVALID_STATE') },
          { target: 'cancelled', actions: 'show' },
        ],
        'mfa.attempt': { actions: reject('MFA_CHALLENGE_EXPIRED') },
        'mfa.passed': { actions: reject('MFA_CHALLENGE_EXPIRED') },
        'mfa.failed': { actions: reject('MFA_CHALLENGE_EXPIRED') },
      },
    },
    mfa_required: {
      entry: 'announce',
      after: { authorizationLeft: 'expired' },
      on: {
        'payment.authorize': [
          { guard: windowOver, target: 'expired', actions: reject('PAYMENT_EXPIRED') },
          { guard: triesUsedUp, target: 'failed', actions: [tooManyTries, rejectLocked] },
          { guard: verdict('challenge'), actions: [{ type: 'issueChallenge', params: ({ event }) => event }, 'challenge'] },
          { guard: verdict('locked'), actions: rejectLocked },
          // Gathered before the factor was asked for: what is asked for once stays asked for.
          { guard: verdict('charge'), actions: 'challenge' },
          { actions: reject('FORBIDDEN', { enrol_required: true }) },
        ],
        'payment.cancel': [
          { guard: windowOver, target: 'expired', actions: reject('INVALID_STATE') },
          { target: 'cancelled', actions: 'show' },
        ],
        'mfa.attempt': [
          { guard: windowOver, target: 'expired', actions: reject('PAYMENT_EXPIRED') },
          { guard: attempt('exhausted'), target: 'failed', actions: [tooManyTries, rejectLocked] },
          { guard: attempt('expired'), actions: reject('MFA_CHALLENGE_EXPIRED') },
          { guard: attempt('not_offered'), actions: reject('INVALID_REQUEST', { reason: 'method_not_offered' }) },
          {
            actions: [
              'chargeAttempt',
              { type: 'mfa.evaluate', params: ({ event }) => ({ method: event.method, challengeId: event.challengeId }) },
            ],
          },
        ],
        'mfa.passed': [
          { guard: windowOver, target: 'expired', actions: reject('PAYMENT_EXPIRED') },
          {
            guard: ofThisChallenge,
            target: 'processing',
            actions: [{ type: 'passed', params: ({ event }) => ({ challengeId: event.challengeId }) }, intend, 'wait'],
          },
          { actions: reject('MFA_CHALLENGE_EXPIRED') },
        ],
        'mfa.failed': [
          { guard: triesUsedUp, target: 'failed', actions: [tooManyTries, rejectLocked] },
          { guard: { type: 'holds', params: ({ event }) => ({ fact: event.locked }) }, actions: rejectLocked },
          { actions: rejectWrong },
        ],
      },
    },
    processing: {
      entry: 'announce',
      initial: 'charging',
      states: {
        charging: { entry: { type: 'wallet.charge', params: chargeOf }, on: { ...openOutcome, ...asked, ...lateCommands('wait') } },
        /** The outcome is not known: the wallet is asked again after a pause. News of an earlier try is taken meanwhile. */
        unknown: {
          after: { requeryPause: 'settling' },
          on: { ...openOutcome, ...lateCommands('show'), 'wallet.unresolved': 'unresolved' },
        },
        settling: { entry: { type: 'wallet.settle', params: chargeOf }, on: { ...openOutcome, ...asked, ...lateCommands('show') } },
        /** Neither booked nor safe to post again: a person decides; the wallet is still asked now and then. */
        unresolved: {
          entry: alarm('the fate of the charge cannot be told'),
          after: { unresolvedPause: 'settling' },
          on: { ...openOutcome, ...lateCommands('show') },
        },
      },
    },
    completed: {
      entry: ['announce', 'announce.wallet'],
      on: {
        'payment.authorize': { actions: 'show' },
        'payment.cancel': { actions: reject('INVALID_STATE') },
        'mfa.attempt': [{ guard: ofPassedChallenge, actions: 'show' }, { actions: reject('INVALID_STATE') }],
        'mfa.passed': { actions: reject('INVALID_STATE') },
        'mfa.failed': { actions: reject('INVALID_STATE') },
        'wallet.charged': {
          guard: { type: 'holds', params: ({ context, event }) => ({ fact: context.txnId !== event.txnId }) },
          actions: alarm('charged twice'),
        },
        'wallet.refused': { actions: alarm('refused although completed') },
      },
    },
    failed: { entry: 'announce', on: endedWithout('failed') },
    cancelled: { entry: 'announce', on: endedWithout('cancelled') },
    expired: { entry: 'announce', on: endedWithout('expired') },
  },
});
