/**
 * The options as data: one row each. From this table come the type `Config` and the loader (`config.ts`) and the text of
 * docs/config.md, .env.example and `tmcp serve --help` (`config-text.ts`). A new option is a row here and nothing else.
 * There is no default where a wrong one costs money or opens a door.
 */
import {
  bytes,
  integer,
  list,
  masterKeys,
  onOff,
  oneOf,
  origin,
  type Parse,
  portOrOff,
  secretBytes,
  secretList,
  secretText,
  signingKeys,
  text,
  unsafeSettings,
  url,
} from './config-parsers.ts';

/** `dev`: nothing required, everything local. `serve`: production, nothing guessed. */
export type Mode = 'dev' | 'serve';

/** One option. `T` is its value's type; `undefined` is in it when there may be none. */
export interface Option<T> {
  readonly env: string;
  readonly parse: Parse<T>;
  /** The default as text, one for both modes or one for each; undefined means none. */
  readonly default: string | { readonly dev: string; readonly serve: string } | undefined;
  readonly unit?: string;
  /** One sentence for the operator. */
  readonly says: string;
  /** `value`: never shown. `url`: shown without its password. */
  readonly secret?: 'value' | 'url';
  readonly requiredIn?: 'serve';
}

function option<T>(env: string, parse: Parse<T>, byDefault: Option<T>['default'] & {}, says: string, unit?: string): Option<T> {
  return { env, parse, default: byDefault, says, ...(unit === undefined ? {} : { unit }) };
}

type Extras = Pick<Option<unknown>, 'secret' | 'requiredIn' | 'unit'>;

function optional<T>(env: string, parse: Parse<T>, says: string, extras: Extras = {}): Option<T | undefined> {
  return { env, parse, default: undefined, says, ...extras };
}

const required = { requiredIn: 'serve' } as const;
const requiredSecret = { requiredIn: 'serve', secret: 'value' } as const;
const day = 86_400_000;

/** Every option, in the order of the documents. */
export const options = {
  host: option('TMCP_HOST', text, { dev: '127.0.0.1', serve: '0.0.0.0' }, 'The address the server listens on for live sockets and HTTP.'),
  port: option('TMCP_PORT', integer(0, 65_535), '8080', 'The port for live sockets and HTTP; 0 takes a free one.'),
  publicUrl: optional(
    'TMCP_PUBLIC_URL',
    origin,
    'The origin clients reach, also the OAuth issuer; https unless loopback. In dev it follows TMCP_HOST and TMCP_PORT.',
    required,
  ),
  serverName: optional('TMCP_SERVER_NAME', text, "The part after the colon of local users' ids; the host of TMCP_PUBLIC_URL when not set."),
  allowedOrigins: option(
    'TMCP_ALLOWED_ORIGINS',
    list(origin),
    '',
    "Browser origins allowed on live sockets and by CORS, by comma; empty means the registered apps' own origins.",
  ),
  trustProxy: option(
    'TMCP_TRUST_PROXY',
    integer(0, 8),
    '0',
    'How many reverse proxies in front of the server are trusted to tell the client address.',
    'hops',
  ),
  compression: option(
    'TMCP_COMPRESSION',
    onOff,
    'off',
    'permessage-deflate on live sockets (on or off); costs memory and CPU for each socket.',
  ),
  maxConnections: option(
    'TMCP_MAX_CONNECTIONS',
    integer(1, 5_000_000),
    '100000',
    'Live sockets this node takes; more are refused with 503.',
    'sockets',
  ),
  maxConnectionsPerIp: option(
    'TMCP_MAX_CONNECTIONS_PER_IP',
    integer(0, 1_000_000),
    '0',
    'Live sockets from one client address; 0 means no bound.',
    'sockets',
  ),
  acceptRate: option(
    'TMCP_ACCEPT_RATE',
    integer(0, 1_000_000),
    { dev: '0', serve: '500' },
    'Live sockets this node takes in a second; more get 503 and a spread Retry-After. 0 means no bound.',
    'sockets/s',
  ),
  acceptBurst: option(
    'TMCP_ACCEPT_BURST',
    integer(1, 1_000_000),
    '1000',
    'Live sockets it takes at once before that rate counts.',
    'sockets',
  ),
  maxSessionsPerUser: option(
    'TMCP_MAX_SESSIONS_PER_USER',
    integer(0, 1_000_000),
    { dev: '0', serve: '32' },
    'Live sessions of one user on this node; one more ends the oldest. 0 means no bound.',
    'sessions',
  ),
  loopDelayMs: option(
    'TMCP_LOOP_DELAY_MS',
    integer(0, 60_000),
    { dev: '0', serve: '250' },
    'How late the event loop may come round before work is refused, payments never. 0 refuses nothing for load.',
    'ms',
  ),
  maxInFlight: option(
    'TMCP_MAX_IN_FLIGHT',
    integer(100, 10_000_000),
    '10000',
    'Requests of live sessions that may be unanswered at once, and messages that may wait in mailboxes, before work is refused.',
    'requests',
  ),
  deadlineMs: option(
    'TMCP_DEADLINE_MS',
    integer(100, 600_000),
    '10000',
    'How long a request may wait to be begun; past it the answer is SERVICE_UNAVAILABLE.',
    'ms',
  ),
  rateLimits: option(
    'TMCP_RATE_LIMITS',
    oneOf('spec', 'relaxed'),
    'spec',
    "The protocol's rate limits (spec), or the same buckets a thousand times larger (relaxed), for load tests.",
  ),
  drainMs: option(
    'TMCP_DRAIN_MS',
    integer(0, 600_000),
    '10000',
    'How long a stopping node lets its clients move away before it closes their sockets.',
    'ms',
  ),

  dataDir: option(
    'TMCP_DATA_DIR',
    text,
    './.tmcp',
    'The folder for the embedded database and the development keys; serve with a Postgres writes nothing here.',
  ),
  databaseUrl: optional(
    'DATABASE_URL',
    url('postgres:', 'postgresql:'),
    'Postgres, which holds all truth. Without it dev runs an embedded one in TMCP_DATA_DIR.',
    { ...required, secret: 'url' },
  ),
  databasePool: option(
    'TMCP_DB_POOL',
    integer(1, 200),
    '8',
    'Connections to Postgres this node keeps, the lanes included; two more keep its lease and tell that it is ready.',
    'connections',
  ),
  unsafeDatabase: option(
    'TMCP_UNSAFE_DATABASE',
    list(oneOf(...unsafeSettings)),
    '',
    `Settings of Postgres that can lose committed writes and are accepted all the same, by comma: ${unsafeSettings.join(', ')}.`,
  ),
  lanes: option('TMCP_LANES', integer(1, 64), '2', 'Journal lanes: group commits that may run at the same time.', 'lanes'),
  journalMaxEntries: option(
    'TMCP_JOURNAL_MAX_ENTRIES',
    integer(100, 10_000_000),
    '20000',
    'Entries that may wait for the database; past it new writes get 503.',
    'entries',
  ),
  journalMaxBytes: option(
    'TMCP_JOURNAL_MAX_BYTES',
    bytes(4 * 2 ** 20, 2 ** 40),
    '64MiB',
    'Bytes that may wait for the database; past it new writes get 503.',
    'bytes',
  ),
  redisUrl: optional(
    'REDIS_URL',
    url('redis:', 'rediss:'),
    'Redis, for routing hints and shared buckets; without it they are in memory and the node is alone.',
    { secret: 'url' },
  ),

  clusterPort: option(
    'TMCP_CLUSTER_PORT',
    portOrOff,
    { dev: 'off', serve: '7600' },
    'The port for links between nodes (0 takes a free one); off: the node is alone, and takes over whatever another one had.',
  ),
  clusterHost: option(
    'TMCP_CLUSTER_HOST',
    text,
    { dev: '127.0.0.1', serve: '0.0.0.0' },
    'The address that links between nodes are accepted on; only nodes with the same TMCP_PEPPER get in.',
  ),
  clusterAddress: optional(
    'TMCP_CLUSTER_ADDRESS',
    text,
    'The host name or address at which other nodes reach this one; TMCP_CLUSTER_HOST when not set, or the machine’s own name where that is every address.',
  ),
  nodeName: optional(
    'TMCP_NODE_NAME',
    text,
    'The name of this node, which no other live node may have; a random one when not set. In Kubernetes: the name of the pod.',
  ),

  idleActorMs: option(
    'TMCP_IDLE_ACTOR_MS',
    integer(1_000, day),
    '60000',
    'How long an actor may be idle before it is flushed and dropped from memory.',
    'ms',
  ),
  maxActors: option(
    'TMCP_MAX_ACTORS',
    integer(100, 10_000_000),
    '200000',
    'Actors in memory; past it the longest idle ones go first.',
    'actors',
  ),
  mailbox: option(
    'TMCP_MAILBOX',
    integer(1, 1_000_000),
    '1000',
    'Messages that may wait for one actor; past it the answer is SERVICE_UNAVAILABLE.',
    'messages',
  ),

  signingKeys: optional(
    'TMCP_SIGNING_KEYS',
    signingKeys,
    'A JSON Web Key Set with private RS256 keys, inline or the path of a file; the first signs, all verify. `tmcp keys` makes one.',
    requiredSecret,
  ),
  tokenTtlS: option('TMCP_TOKEN_TTL_S', integer(60, 86_400), '3600', 'Life of an access token.', 's'),
  masterKeys: optional(
    'TMCP_MASTER_KEY',
    masterKeys,
    "The key that wraps users' data keys: base64 of 32 bytes, or a comma list of id:base64 whose first is current.",
    requiredSecret,
  ),
  pepper: optional(
    'TMCP_PEPPER',
    secretBytes(32),
    'Base64 of 32 bytes or more that every PIN and password hash depends on; losing it loses them all.',
    requiredSecret,
  ),
  cookieKeys: optional(
    'TMCP_COOKIE_KEYS',
    secretList(32),
    'Secrets that sign the cookies of the sign-in pages, 32 characters or more each, by comma; the first signs.',
    requiredSecret,
  ),

  walletUrl: optional(
    'TMCP_WALLET_URL',
    url('https:', 'http:'),
    'The TweenPay service; https unless loopback. Without it dev starts the sandbox.',
    required,
  ),
  walletToken: optional('TMCP_WALLET_TOKEN', secretText(16), 'The bearer token for the TweenPay service.', requiredSecret),
  walletTimeoutMs: option(
    'TMCP_WALLET_TIMEOUT_MS',
    integer(100, 60_000),
    '5000',
    'How long a wallet call may take before its outcome counts as unknown.',
    'ms',
  ),

  metricsHost: option('TMCP_METRICS_HOST', text, '127.0.0.1', 'The address of the metrics listener; it asks for no credentials.'),
  metricsPort: option('TMCP_METRICS_PORT', integer(0, 65_535), '9464', 'The port of the metrics listener; 0 turns it off.'),
  logLevel: option(
    'TMCP_LOG_LEVEL',
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    'info',
    'The lowest level that is logged: trace, debug, info, warn, error, fatal or silent.',
  ),
  testAckBeforeCommit: option(
    'TMCP_TEST_ACK_BEFORE_COMMIT',
    onOff,
    'off',
    'Test only: answers durable writes before they are committed, to prove that the crash test sees lost writes; serve refuses it unless NODE_ENV=test.',
  ),
} as const satisfies Record<string, Option<unknown>>;

/** The default of an option as text, in `mode`. */
export function defaultText(row: Option<unknown>, mode: Mode): string | undefined {
  return typeof row.default === 'object' ? row.default[mode] : row.default;
}
