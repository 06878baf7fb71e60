/** `npm run bench -- NAME [--seconds N] [--rounds N] [--sockets N] [--depth N] [--json FILE]`. Without a name: what there is. */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
    sockets: { type: 'string', default: '200' },
    depth: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});

const scenarios: Readonly<Record<string, () => Promise<Pick<typeof import('./system/storage-get.ts'), 'run'>>>> = {
  'cluster-hop': () => import('./system/cluster-hop.ts'),
  'storage-get': () => import('./system/storage-get.ts'),
};
const name = positionals[0];
const load = name === undefined ? undefined : scenarios[name];
if (load === undefined) {
  process.stderr.write(`npm run bench -- NAME, one of: ${Object.keys(scenarios).join(', ')}\n`);
  process.exit(name === undefined ? 0 : 2);
}
const scenario = await load();
const result = await scenario.run({
  seconds: Number(values.seconds),
  rounds: Number(values.rounds),
  sockets: Number(values.sockets),
  depth: Number(values.depth),
});
if (values.json !== undefined) {
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() };
  writeFileSync(values.json, `${JSON.stringify({ scenario: name, machine, ...result }, null, 2)}\n`);
}
process.exit(0);
