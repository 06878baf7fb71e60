/** `tmcp dev`. */
import { stopWithinMs } from '../app.ts';
import { startDev } from '../dev/start-dev.ts';
import type { Settings } from './settings.ts';
import { onStopSignal, requestStop, takeSignals, watchFaults } from './shut-down.ts';

/** Starts the development server and tells where everything is. */
export async function runDev({ config, log }: Settings): Promise<void> {
  takeSignals();
  watchFaults(log);
  const dev = await startDev(config, log, requestStop);
  onStopSignal({
    async stop() {
      await dev.app.drain();
      await dev[Symbol.asyncDispose]();
    },
    boundMs: stopWithinMs(config),
    log,
  });
  const { wallet } = dev.fixtures();
  const url = dev.url;
  const port = url.endsWith(':8080') ? '' : `TMCP_PORT=${new URL(url).port} `;
  process.stdout.write(`
TMCP server, development mode

  HTTP and OAuth   ${url}
  live sockets     ${url.replace('http', 'ws')}/v1/live
  documents        ${url}/openapi.json  ${url}/asyncapi.json
  metrics          ${dev.app.metricsUrl ?? 'off'}
  wallet sandbox   ${wallet.url}  (faults: POST ${wallet.admin_url}/faults)
  data             ${config.databaseUrl === undefined ? `${config.dataDir}: embedded, survives SIGKILL but not a power cut` : 'the Postgres of DATABASE_URL'}

Try next, in another terminal

${columns([
  [`curl -s ${url}/dev/fixtures`, 'who is there, with passwords and keys'],
  [`${port}node dist/main.js token --user @alice:tween.example --app ma_demo_shop`, 'an access token'],
  ['npm run demo', 'the whole story, checked step by step, on a server of its own'],
  ['docs/getting-started.md', 'the first half hour'],
])}

Ctrl-C stops it; what was written stays.

`);
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}
