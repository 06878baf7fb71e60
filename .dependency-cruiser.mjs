/**
 * The import rules: which layer may know which, which library has which owner, no cycles. TypeScript 7 has no compiler API
 * for JavaScript tools, so the files are read by swc; it does not tell `import type` from `import`, and the rules hold for both.
 */

/** One library, one owner. A path is where it may be imported; everywhere else in `src` it may not. */
const owners = {
  'uWebSockets.js': '^src/transport/uws\\.ts$',
  msgpackr: '^src/protocol/codec\\.ts$',
  xstate: '^src/actors/',
  pg: '^src/persistence/',
  '@electric-sql/pglite': '^src/persistence/',
  ioredis: '^src/(persistence/redis|transport/cluster)/',
  pino: '^src/log\\.ts$',
  'prom-client': '^src/metrics\\.ts$',
  'oidc-provider': '^src/transport/http/',
  'light-my-request': '^src/transport/http/',
  '@node-rs/argon2': '^src/persistence/crypto/',
  undici: '^src/transport/(tweenpay|webhooks)/',
  cockatiel: '^src/transport/(tweenpay|webhooks)/',
  jose: '^src/transport/tokens/',
  commander: '^src/(main\\.ts$|cli/)',
};

/** The small modules every layer of the server may use; the floor and the client may not. */
const ground = 'clock|ids|log|events|metrics|config';

const forbidden = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

export default {
  forbidden: [
    forbidden('no-cycles', 'Modules that import each other cannot be understood, tested or replaced alone.', {}, { circular: true }),
    forbidden(
      'protocol-is-the-floor',
      'protocol/ ships inside the SDK: it imports nothing of ours and does no I/O.',
      { path: '^src/protocol/' },
      { path: '^src/', pathNot: '^src/protocol/' },
    ),
    forbidden('protocol-does-no-io', 'protocol/ also runs in browsers.', { path: '^src/protocol/' }, { dependencyTypes: ['core'] }),
    forbidden(
      'actors-know-the-protocol',
      'actors/ imports protocol/ and itself; the runtime also the ground modules.',
      { path: '^src/actors/' },
      { path: '^src/', pathNot: `^src/(protocol/|actors/|(${ground})\\.ts$)` },
    ),
    forbidden(
      'machines-are-pure',
      'A machine has no clock, no randomness and no logger: time and ids arrive in the event.',
      { path: '^src/actors/.*\\.machine\\.ts$' },
      { path: `^src/(${ground})\\.ts$` },
    ),
    forbidden(
      'machines-do-no-io',
      'A machine asks for I/O by an effect.',
      { path: '^src/actors/.*\\.machine\\.ts$' },
      { dependencyTypes: ['core'] },
    ),
    forbidden(
      'actor-kinds-are-strangers',
      'One actor kind never imports another: they send messages.',
      { path: '^src/actors/([^/]+)/', pathNot: '^src/actors/runtime/' },
      { path: '^src/actors/[^/]+/', pathNot: '^src/actors/($1|runtime)/' },
    ),
    forbidden(
      'runtime-knows-no-kind',
      'The actor runtime hosts every kind and knows none.',
      { path: '^src/actors/(runtime/|ports\\.ts$)' },
      { path: '^src/actors/', pathNot: '^src/actors/(runtime/|ports\\.ts$)' },
    ),
    forbidden(
      'persistence-adapts-ports',
      'persistence/ imports protocol/, actors/ports, the slot of an address, and the ground modules.',
      { path: '^src/persistence/' },
      { path: '^src/', pathNot: `^src/(protocol/|persistence/|actors/(ports|runtime/slots)\\.ts$|(${ground})\\.ts$)` },
    ),
    forbidden(
      'transport-meets-the-runtime',
      'transport/ imports protocol/, actors/ports, actors/runtime/ and the ground modules.',
      { path: '^src/transport/' },
      { path: '^src/', pathNot: `^src/(protocol/|transport/|actors/ports\\.ts$|actors/runtime/|(${ground})\\.ts$)` },
    ),
    forbidden(
      'client-knows-the-protocol',
      'The SDK is protocol/ and itself.',
      { path: '^src/client/' },
      { path: '^src/', pathNot: '^src/(protocol|client)/' },
    ),
    forbidden(
      'nobody-imports-the-client',
      'The SDK is for mini-apps; the server has no use for it.',
      { path: '^src/(protocol|actors|persistence|transport)/' },
      { path: '^src/client/' },
    ),
    forbidden(
      'environment-has-one-reader',
      'env.ts reads process.env for the composition root and the command line; the rest takes a Config.',
      { path: '^src/', pathNot: '^src/(main|app|config)\\.ts$|^src/(app|cli)/' },
      { path: '^src/env\\.ts$' },
    ),
    forbidden(
      'app-is-the-root',
      'Only the command line starts the application, its development doors and the sandbox.',
      { path: '^src/(protocol|actors|persistence|transport|client)/' },
      { path: '^src/(main|app)\\.ts$|^src/(app|cli|dev|wallet-sandbox)/' },
    ),
    forbidden(
      'sandbox-is-a-stranger',
      'The sandbox wallet is another service: it shares the contract with the server and nothing of its insides.',
      { path: '^src/wallet-sandbox/' },
      { path: '^src/', pathNot: `^src/(protocol/|wallet-sandbox/|transport/tweenpay/contract\\.ts$|actors/ports\\.ts$|(${ground})\\.ts$)` },
    ),
    forbidden('src-stands-alone', 'src/ ships without tests and tools.', { path: '^src/' }, { path: '^(test|bench|scripts)/' }),
    forbidden(
      'no-dev-dependencies',
      'What src/ imports is installed in production. koa is, with oidc-provider, and only its types are named.',
      { path: '^src/' },
      { pathNot: '^node_modules/koa/', dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    ),
    forbidden('resolvable', 'An import must lead somewhere.', {}, { couldNotResolve: true }),
    ...Object.entries(owners).map(([library, path]) =>
      forbidden(
        `one-owner-of-${library
          .replace('@', '')
          .replaceAll(/[^A-Za-z0-9]+/g, '-')
          .toLowerCase()}`,
        `${library} is imported only under ${path}.`,
        { path: '^src/', pathNot: path },
        { path: `(^|/)node_modules/${library.replaceAll('.', '\\.')}/` },
      ),
    ),
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.d.ts'],
    },
  },
};
