/**
 * What the core needs from outside. Each port's header says order, atomicity and who else may write.
 * Adapters live in `persistence/` and `transport/`; `app.ts` joins them. No adapter is imported here.
 */

// --- time ---------------------------------------------------------------------------------------------------------

export type CancelTimer = () => void;

/** Time. `now` is wall time in epoch milliseconds and may jump; `monotonic` never goes back. Timers do not hold the process. */
export interface Clock {
  now(): number;
  monotonic(): number;
  after(ms: number, fn: () => void): CancelTimer;
}

// --- addresses and callers ------------------------------------------------------------------------------------------

/** `kind:id`, for example `payment:pay_…`, `vault:@alice:tween.example:ma_demo_shop`. */
export type Address = string;

/** Who asks: what a verified access token says. Never built from what a message says. */
export interface Principal {
  readonly userId: string;
  readonly appId: string;
  readonly walletId: string;
  readonly scopes: ReadonlySet<string>;
  /** Token id, for revocation. */
  readonly tokenId: string;
  /** One per authorisation, kept across refreshes. */
  readonly grantId: string;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** From `session.open` on the live binding, or the request on HTTP; undefined when not told. */
  readonly deviceId?: string;
  /** The live session the message came over; undefined on HTTP. */
  readonly sessionId?: string;
  /** How often that session was resumed: what an older socket of it still sends is refused. */
  readonly generation?: number;
}

/** Verifies an access token. Errors: `INVALID_TOKEN`, always with the same message. In process, no I/O on the warm path. */
export interface TokenVerifier {
  verify(token: string): Promise<Principal>;
}

// --- journal --------------------------------------------------------------------------------------------------------

/** One line of an actor's history, and the audit trail of a transaction. `event` holds no secrets. */
export interface RecordRow {
  readonly seq: number;
  readonly machineVersion: number;
  readonly event: { readonly type: string; readonly [member: string]: unknown };
  readonly at: number;
  readonly stateAfter: string;
}

/** An effect that leaves the system, delivered at least once with the same id at every try. */
export interface OutboxRow {
  readonly id: string;
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** A durable timer: `id` is unique within its actor. Fires once in effect; setting the same id again replaces it. */
export interface TimerRow {
  readonly id: string;
  readonly dueAt: number;
}

/** A stored value of a vault, or its tombstone (`deleted`). `value` is ciphertext. The newest version of a key wins within a group. */
export interface StorageRow {
  readonly key: string;
  readonly version: number;
  readonly value: Uint8Array | null;
  readonly sizeBytes: number;
  readonly contentType: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly clientAt: number;
  readonly opId: string | null;
  readonly expiresAt: number | null;
  readonly deleted: boolean;
}

/** The loser's value of a conflict, kept 30 days. `value` is ciphertext. */
export interface ConflictRow {
  readonly key: string;
  readonly opId: string;
  readonly value: Uint8Array | null;
  readonly kind: 'set' | 'remove';
  readonly clientAt: number;
  readonly at: number;
  readonly resolution: string;
}

/** The first answer under an idempotency key. `result` is the encoded result, kept byte for byte. */
export interface IdempotencyRow {
  readonly scope: string;
  readonly inputHash: string;
  readonly result: Uint8Array;
  readonly expiresAt: number;
}

/** All that one actor writes at once. `seq` grows by at least one; `baseSeq` is the seq the actor was at before. */
export interface JournalEntry {
  readonly address: Address;
  readonly kind: string;
  readonly baseSeq: number;
  readonly seq: number;
  readonly machineVersion: number;
  /** Replaces the stored snapshot; undefined leaves it. Plain JSON, no secrets in clear. */
  readonly snapshot?: unknown;
  readonly records?: readonly RecordRow[];
  readonly storage?: readonly StorageRow[];
  readonly conflicts?: readonly ConflictRow[];
  readonly idempotency?: readonly IdempotencyRow[];
  readonly outbox?: readonly OutboxRow[];
  readonly outboxDone?: readonly string[];
  readonly timers?: readonly TimerRow[];
  readonly timersDone?: readonly string[];
}

/** Called once: without an error when the entry is committed, with one when it is certain that it is not and never will be. */
export type Flushed = (error?: Error) => void;

/**
 * Order: entries of one actor commit in the order of `append`, each whole or not at all. Atomicity: an entry is one
 * transaction, shared with others. Conditional: an entry whose `baseSeq` or epoch is not the stored one fails, and all later
 * entries of that actor with it. Bound: past its cap `append` throws `SERVICE_UNAVAILABLE` and takes nothing.
 * Who else writes: nobody writes these rows but through a journal; another node only after it raised the slot's epoch.
 */
export interface Journal {
  append(entry: JournalEntry, flushed: Flushed): void;
  /** Bytes and entries that wait, for metrics and admission. */
  backlog(): { readonly entries: number; readonly bytes: number };
  /** Commits what waits; resolves when all of it is flushed. */
  drain(): Promise<void>;
}

/** What is stored of an actor. */
export interface StoredActor {
  readonly seq: number;
  readonly machineVersion: number;
  readonly snapshot: unknown;
}

/** Reads of what a journal wrote. Reads see every entry whose `flushed` was called before the read began. */
export interface ActorStore {
  load(address: Address): Promise<StoredActor | undefined>;
  records(address: Address): Promise<RecordRow[]>;
  idempotency(address: Address, scope: string): Promise<IdempotencyRow | undefined>;
  /** `slots`: only of these; rows without a slot, of earlier versions, count to slot 0. */
  timers(dueBefore: number, limit: number, slots?: readonly number[]): Promise<{ address: Address; id: string; dueAt: number }[]>;
  outbox(limit: number, slots?: readonly number[]): Promise<(OutboxRow & { address: Address; createdAt: number })[]>;
}

/** Reads of a vault's rows. `index` gives every row without its value, of tombstones at least the newest 20,000. */
export interface VaultStore {
  index(address: Address): Promise<Omit<StorageRow, 'value'>[]>;
  values(address: Address, keys: readonly string[]): Promise<{ key: string; version: number; value: Uint8Array }[]>;
  conflicts(address: Address, limit: number): Promise<ConflictRow[]>;
}

// --- secrets ------------------------------------------------------------------------------------------------------------

/** Encrypts one user's data with that user's key. Same thread, synchronous; `aad` binds a ciphertext to its place. */
export interface UserCipher {
  encrypt(plain: Uint8Array, aad: string): Uint8Array;
  decrypt(sealed: Uint8Array, aad: string): Uint8Array;
}

/** Gives a user's cipher, making the user's data key at first use (committed before it is given). */
export interface KeyRing {
  forUser(userId: string): Promise<UserCipher>;
}

/** Slow hashes of PINs and passwords, off the event loop, with a pepper outside the database. */
export interface SecretHasher {
  hash(secret: string): Promise<string>;
  verify(hash: string, secret: string): Promise<boolean>;
}

// --- wallet -------------------------------------------------------------------------------------------------------------

/** A refusal by the wallet: final for this request, nothing moved. */
export type WalletRefusal =
  | 'INSUFFICIENT_FUNDS'
  | 'AMOUNT_EXCEEDS_LIMIT'
  | 'DAILY_LIMIT_EXCEEDED'
  | 'CURRENCY_MISMATCH'
  | 'USER_SUSPENDED'
  | 'USER_NOT_FOUND'
  | 'DUPLICATE_TRANSACTION'
  | 'PAYMENT_FAILED';

/**
 * How a wallet call ended. `done`: it took effect. `refused`: it did not and will not. `unavailable`: it certainly did not
 * reach the ledger; the same call may be made later. `unknown`: it may have taken effect; ask by reference, never repeat blindly.
 */
export type WalletOutcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | {
      readonly kind: 'refused';
      readonly code: WalletRefusal;
      readonly message: string;
      readonly details?: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'unavailable'; readonly reason: string; readonly retryAfterMs: number }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface WalletAccount {
  readonly walletId: string;
  readonly userId: string;
  readonly currency: string;
  readonly availableMinor: number;
  readonly pendingMinor: number;
  readonly dailyLimitMinor: number;
  readonly dailyUsedMinor: number;
  readonly transactionLimitMinor: number;
  readonly status: 'active' | 'pending' | 'suspended';
}

export interface WalletTransaction {
  readonly txnId: string;
  readonly type: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly from?: { readonly userId: string };
  readonly to?: { readonly userId: string };
  readonly status: string;
  readonly note?: string;
  readonly at: number;
}

export interface WalletPolicy {
  readonly mfaRequired: boolean;
  /** Methods the wallet accepts for this amount, of `transaction_pin`, `totp`, `biometric`. */
  readonly methods: readonly string[];
}

/** A charge as the wallet booked it. */
export interface WalletCharge {
  readonly txnId: string;
  readonly reference: string;
  readonly status: 'completed';
  readonly amountMinor: number;
  readonly currency: string;
  readonly payerWalletId: string;
  readonly merchantWalletId: string;
  readonly bookedAt: number;
}

export interface ChargeRequest {
  /** Our reference: the payment id. The wallet can be asked for it later. */
  readonly reference: string;
  /** The same at every try of this charge. */
  readonly idempotencyKey: string;
  readonly payerUserId: string;
  readonly merchantAppId: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly description: string;
}

/** TweenPay, or whatever wallet stands in its place: an outside system. Every answer is schema-checked by the adapter. */
export interface Wallet {
  account(userId: string): Promise<WalletOutcome<WalletAccount>>;
  /** Makes the account when there is none; `currency` is used only then. */
  ensureAccount(userId: string, currency: string): Promise<WalletOutcome<WalletAccount>>;
  /** The wallet id that receives a mini-app's payments; made when there is none. */
  ensureMerchant(appId: string, name: string): Promise<WalletOutcome<{ readonly walletId: string }>>;
  transactions(
    userId: string,
    page: { readonly limit: number; readonly offset: number },
  ): Promise<WalletOutcome<{ readonly transactions: readonly WalletTransaction[]; readonly total: number }>>;
  policy(request: {
    readonly userId: string;
    readonly reference: string;
    readonly amountMinor: number;
    readonly currency: string;
  }): Promise<WalletOutcome<WalletPolicy>>;
  charge(request: ChargeRequest): Promise<WalletOutcome<WalletCharge>>;
  /** The charge under our reference: `done` with a charge, `done` with null when the wallet never booked one, or `refused` as it was then. */
  findCharge(reference: string): Promise<WalletOutcome<WalletCharge | null>>;
}

// --- people and apps ------------------------------------------------------------------------------------------------------

export interface AppRecord {
  readonly appId: string;
  readonly name: string;
  readonly clientType: 'public' | 'confidential' | 'hybrid';
  readonly classification: 'official' | 'verified' | 'community' | 'beta';
  readonly status: 'active' | 'suspended';
  readonly scopes: readonly string[];
  readonly redirectUris: readonly string[];
}

/** The registered mini-apps. Cached by the adapter; a change is seen within a second. */
export interface AppDirectory {
  find(appId: string): Promise<AppRecord | undefined>;
}

export interface UserProfile {
  readonly userId: string;
  readonly displayName: string;
  readonly avatarUrl?: string;
  readonly status: 'active' | 'suspended';
}

export interface UserDirectory {
  find(userId: string): Promise<UserProfile | undefined>;
}

// --- sessions and events ----------------------------------------------------------------------------------------------------

/** An event for live sessions. `key` with the same `method` may be coalesced to the newest. */
export interface UserEvent {
  readonly userId: string;
  /** Only sessions of this app; undefined means all. */
  readonly appId?: string;
  /** Only sessions whose token has one of these scopes: those that could ask for what the event tells. Undefined means all. */
  readonly scopes?: readonly string[];
  /** Not to this session (the one that caused it). */
  readonly exceptSession?: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly key?: string;
}

/** Which event it is: the boot id of the node that published it, and that node's number, which grows by one. */
export interface EventStamp {
  readonly origin: string;
  readonly seq: number;
}

/** Carries events to a user's live sessions, wherever they are. At most once per session socket; the session numbers and keeps them. */
export interface EventBus {
  publish(event: UserEvent): void;
  /**
   * Calls `listener` with each event published on this node, and with those of other nodes whose user `wants` says yes to. Without
   * `wants`: with this node's alone. `stamp`: of an event of another node.
   */
  subscribe(listener: (event: UserEvent, stamp?: EventStamp) => void, wants?: (userId: string) => boolean): () => void;
}

/** What is withdrawn. Exactly one of `tokenId`, `grantId`, or user (with or without app) names it. */
export interface Revocation {
  readonly tokenId?: string;
  readonly grantId?: string;
  readonly userId?: string;
  readonly appId?: string;
  readonly at: number;
}

/**
 * Withdrawn tokens. `revoke` is durable before it resolves and reaches every node within a second;
 * `isRevoked` is synchronous and in memory, bounded by the longest token life.
 */
export interface Revocations {
  revoke(revocation: Revocation): Promise<void>;
  isRevoked(principal: Pick<Principal, 'tokenId' | 'grantId' | 'userId' | 'appId'> & { readonly issuedAt: number }): boolean;
  subscribe(listener: (revocation: Revocation) => void): () => void;
}

/** A session that lost its socket, kept for the resume window. */
export interface ResumeRecord {
  readonly session: string;
  readonly secretHash: string;
  readonly userId: string;
  readonly appId: string;
  readonly deviceId: string;
  /** How often it was resumed. */
  readonly generation: number;
  readonly seq: number;
  /** Unacknowledged events, oldest first, already encoded as `{method, params, seq}`. */
  readonly events: readonly { readonly seq: number; readonly method: string; readonly params: unknown }[];
  /** True when events had to be dropped: the client must pull state afresh. */
  readonly gap: boolean;
  /** How far the node had heard the events of each node when it wrote this; left out by a node that is alone. */
  readonly seen?: Readonly<Record<string, number>>;
  /** When it was written, epoch ms. */
  readonly at?: number;
}

/** What a node has heard of all nodes' events: tells whether a session that comes from another node missed one on its way. */
export interface EventTrailView {
  seen(): Readonly<Record<string, number>>;
  /** True unless it is certain that this node has heard no event of the record's user that the record's writer had not. */
  missed(record: Pick<ResumeRecord, 'userId' | 'seen' | 'at'>): boolean;
}

/**
 * Resume records, at most `limits.resumeMs` old. `take` is atomic: of two takers one gets the record. It may also get it from the node
 * that still has the session, which lets go of it for whoever names the hash of its secret.
 * Losing all of it costs clients a fresh pull, never a promise.
 */
export interface ResumeStore {
  /** False: it was not kept, and nobody can take it. */
  put(record: ResumeRecord): Promise<boolean>;
  take(session: string, secretHash?: string): Promise<ResumeRecord | undefined>;
}

/** Buckets keyed by address, client or app. Errors: none; when the store is away it answers from a local share. */
export interface SharedBuckets {
  take(
    key: string,
    bucket: { readonly capacity: number; readonly windowMs: number },
  ): Promise<{ readonly ok: boolean; readonly retryAfterS: number }>;
}

// --- nodes --------------------------------------------------------------------------------------------------------------------

/** A node with its lease, as the database has it. */
export interface ClusterNode {
  readonly bootId: string;
  readonly name: string;
  readonly version: string;
  readonly peerHost: string;
  readonly peerPort: number;
  readonly httpUrl: string;
  readonly state: 'live' | 'draining';
  readonly drainRequested: boolean;
  /** Epoch ms of the database's clock. */
  readonly startedAt: number;
  /** At the instant of the answer; zero or below where the lease is over. */
  readonly leaseLeftMs: number;
  readonly load: unknown;
}

export interface OwnedSlot {
  readonly slot: number;
  readonly epoch: number;
}

/** Which nodes live and who owns which slot: truth, in the database. Who else writes: every other node, through the same port. */
export interface Membership {
  /** Renews the lease and reads the cluster, in one round trip; undefined: this node is no member any more and must join anew. */
  heartbeat(
    bootId: string,
    state: 'live' | 'draining',
    load: unknown,
  ): Promise<
    | {
        readonly nodes: readonly ClusterNode[];
        /** By index, all of them. */
        readonly slots: readonly { readonly owner: string | null; readonly epoch: number; readonly leased: boolean }[];
        readonly drainRequested: boolean;
      }
    | undefined
  >;
  /** Makes this node a member. Errors: `NodeRefusedError` when a live node has its name or other keys. */
  join(): Promise<void>;
  /** Takes those slots whose owner is gone; gives also those that are ours already. */
  claim(bootId: string, slots: readonly number[]): Promise<readonly OwnedSlot[]>;
  /** Moves slots of `from` to a live node. Gives those that moved, with the epoch they have now. */
  handOver(from: string, to: string, slots: readonly number[]): Promise<readonly OwnedSlot[]>;
  /** Gives up all slots and membership. */
  leave(bootId: string): Promise<void>;
}
