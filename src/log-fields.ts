/**
 * What may stand in a log line. An allow-list, not a list of secrets to remove: a field that is not here is not written, only
 * its name is, so that a new message member can never carry a PIN into the logs. Text that is written is scrubbed of what
 * looks like a credential or a card number (protocol section 5: tokens, PINs, codes and attestations never reach logs).
 */

/** Fields that may be logged. Ids, counts, names and outcomes; never what a person typed or a device signed. */
const loggable = [
  'component',
  'event',
  'reason',
  'outcome',
  'problem',
  'hint',
  'step',
  'phase',
  'mode',
  'version',
  'name',
  'detail',
  'count',
  'total',
  'limit',
  'attempt',
  'requestId',
  'traceId',
  'spanId',
  'sessionId',
  'connectionId',
  'userId',
  'appId',
  'deviceId',
  'grantId',
  'tokenId',
  'walletId',
  'nodeId',
  'bootId',
  'paymentId',
  'transferId',
  'challengeId',
  'outboxId',
  'timerId',
  'txnId',
  'reference',
  'address',
  'kind',
  'slot',
  'epoch',
  'lane',
  'seq',
  'machineVersion',
  'state',
  'operation',
  'method',
  'route',
  'path',
  'protocol',
  'status',
  'errorCode',
  'rpcCode',
  'closeCode',
  'retryable',
  'retryAfterS',
  'rateClass',
  'scopes',
  'clientName',
  'clientVersion',
  'clientIp',
  'origin',
  'host',
  'port',
  'url',
  'pid',
  'signal',
  'file',
  'folder',
  'migration',
  'dialect',
  'keyId',
  'keyIds',
  'durationMs',
  'waitMs',
  'delayMs',
  'dueAt',
  'expiresAt',
  'sizeBytes',
  'bytes',
  'entries',
  'backlogEntries',
  'backlogBytes',
  'mailboxDepth',
  'sessions',
  'actors',
  'amountMinor',
  'currency',
  'config',
  'variables',
] as const;

export type LogField = (typeof loggable)[number];
type Scalar = string | number | boolean | null | undefined;

/** The fields of a line. `err` is any thrown value: its name, message, code, stack and causes are written, scrubbed. */
export type LogFields = { readonly [K in LogField]?: Scalar | readonly Scalar[] | Readonly<Record<string, Scalar>> } & {
  readonly err?: unknown;
};

const allowed: ReadonlySet<string> = new Set(loggable);

/** Longer text is cut: a log line is for reading. */
const textChars = 2_000;
const members = 50;
const causes = 4;

/** The fields as they are written: allowed ones scrubbed, the names of others under `dropped`. */
export function scrubFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const written: Record<string, unknown> = {};
  const dropped: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'err') written['err'] = describeError(value);
    else if (allowed.has(name)) written[name] = scrubValue(value);
    else dropped.push(name.slice(0, 40));
  }
  if (dropped.length > 0) written['dropped'] = dropped.slice(0, members);
  return written;
}

/** Text without what looks like a credential or a card number, on one line's worth of characters. */
export function scrubText(text: string): string {
  const cut = text.length > textChars ? `${text.slice(0, textChars)}… (${text.length} characters)` : text;
  let clean = cut;
  for (const [pattern, replacement] of patterns) clean = clean.replaceAll(pattern, replacement);
  return clean.replaceAll(/\d(?:[ -]?\d){12,18}/g, (digits) => (isCardNumber(digits.replaceAll(/[ -]/g, '')) ? '[card]' : digits));
}

const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[private key]'],
  [/\b(Bearer|Basic|DPoP)\s+[A-Za-z0-9._~+/=-]+/gi, '$1 [hidden]'],
  [/\b(?:tep\.|ter\.|eyJ)[A-Za-z0-9_.~-]{8,}/g, '[token]'],
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi, '$1:***@'],
  [
    /\b((?:access_|refresh_|id_)?token|code_verifier|client_secret|secret|password|passwd|pin|otp|totp|authorization|cookie|signature|attestation|credentials)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&,;"'}]+)/gi,
    '$1$2[hidden]',
  ],
  // A bare "code: …" is a driver's error code; an OAuth code comes in a query or in JSON.
  [/(\bcode=|"code"\s*:\s*")[^\s&,;"'}]+/g, '$1[hidden]'],
];

function scrubValue(value: unknown): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.slice(0, members).map((member) => (isScalar(member) ? scrubValue(member) : '[not logged]'));
  if (typeof value !== 'object') return undefined;
  const entries = Object.entries(value).slice(0, members);
  return Object.fromEntries(entries.map(([name, member]) => [scrubText(name), isScalar(member) ? scrubValue(member) : '[not logged]']));
}

function isScalar(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean', 'bigint', 'undefined'].includes(typeof value);
}

/** A thrown value: never its own members, which may hold a request or a row. */
function describeError(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return { message: scrubText(String(thrown)) };
  const { code } = thrown as { readonly code?: unknown };
  return {
    name: thrown.name,
    message: scrubText(thrown.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    stack: scrubText(thrown.stack ?? ''),
    ...(thrown.cause === undefined || depth >= causes ? {} : { cause: describeError(thrown.cause, depth + 1) }),
  };
}

/** The check of ISO/IEC 7812-1 annex B (Luhn). */
function isCardNumber(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = Number(digits[digits.length - 1 - i]);
    const doubled = i % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
