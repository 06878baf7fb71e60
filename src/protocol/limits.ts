/**
 * Every bound of the protocol, in one place. A number here is part of the contract: the documents, the validators and
 * the SDK read it. Imports nothing.
 */

export const limits = {
  /** Live binding, section 1. */
  frameBytes: 2 * 1024 * 1024,
  frameBytesBeforeOpen: 8 * 1024,
  openWithinMs: 5_000,
  pingEveryMs: 30_000,
  silentCloseMs: 75_000,
  /** Live binding, section 2: the pre-scan. */
  frameDepth: 16,
  frameNodes: 4_096,
  /** What a client takes in one frame of its server: a full listing holds more values than a request may. */
  answerNodes: 65_536,
  idBytes: 64,
  batch: 64,
  undecodablePerMinute: 3,
  /** Live binding, section 3. */
  resumeMs: 120_000,
  replayEvents: 1_000,
  replayBytes: 1024 * 1024,
  expiringNoticeMs: 60_000,
  deviceIdBytes: 128,
  /** Live binding, section 4. */
  inFlight: 64,
  pauseReadAtBytes: 1024 * 1024,
  closeAtBufferedBytes: 8 * 1024 * 1024,
  closeAfterPausedMs: 30_000,
  ignoredRefusals: 100,
  ignoredRefusalsWindowMs: 10_000,
  /** Live binding, section 5. */
  watermarkEveryMs: 50,
  acceptedPerUser: 1_000,
  acceptedBytesPerNode: 64 * 1024 * 1024,
  /** Live binding, section 6. */
  idempotencyKeyChars: 255,
  idempotencyKeepMs: 24 * 3600_000,
  /** Live binding, section 8. */
  pushOps: 500,
  pushBytes: 1024 * 1024,
  opWindow: 10_000,
  clientAheadMs: 5 * 60_000,
  tombstoneMs: 30 * 24 * 3600_000,
  conflictKeepMs: 30 * 24 * 3600_000,
  /** Protocol, section 19. */
  storageTotalBytes: 10_485_760,
  storageKeys: 1_000,
  storageKeyBytes: 256,
  storageValueBytes: 1_048_576,
  storageBatch: 100,
  ttlMinS: 60,
  ttlMaxS: 2_592_000,
  /** HTTP. */
  httpBodyBytes: 256 * 1024,
  httpStorageBodyBytes: 2 * 1024 * 1024,
  /** Payments: protocol sections 14 and 15. */
  paymentTtlMs: 5 * 60_000,
  signatureSkewMs: 5 * 60_000,
  challengeTtlMs: 2 * 60_000,
  challengeAttempts: 3,
  factorFailuresInRow: 5,
  factorFailuresTotal: 20,
  factorLockMs: 15 * 60_000,
} as const;
