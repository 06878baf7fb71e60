/**
 * The words about configuration, made from the table: docs/config.md, .env.example and the end of `tmcp serve --help`.
 * A snapshot test holds the text; `npm run docs` writes the files.
 */
import { defaultText, type Option, options } from './config-options.ts';

const rows = Object.values(options as Record<string, Option<unknown>>);

/** The three texts, each ending in a line break. */
export function describeConfig(): { readonly markdown: string; readonly envExample: string; readonly help: string } {
  return { markdown: markdown(), envExample: envExample(), help: help() };
}

function defaultOf(row: Option<unknown>): string {
  const [dev, serve] = [defaultText(row, 'dev'), defaultText(row, 'serve')];
  if (serve === undefined) return row.requiredIn === 'serve' ? 'none; `tmcp serve` requires it' : 'none';
  if (serve === '') return 'empty';
  return dev === serve ? `\`${serve}\`` : `\`${dev}\` in dev, \`${serve}\` in serve`;
}

function markdown(): string {
  const cells = rows.map((row) => {
    const notes = [row.secret === undefined ? '' : 'Secret.'].filter((note) => note !== '');
    const says = [row.says, ...notes].join(' ').replaceAll('|', '\\|');
    return `| \`${row.env}\` | ${defaultOf(row)} | ${row.unit ?? ''} | ${says} |`;
  });
  return [
    '# Configuration',
    '',
    '<!-- Made by `npm run docs` from src/config-options.ts; edit that. -->',
    '',
    'Options are environment variables. An empty value counts as not set. A secret may come from a file instead: put its path in',
    'the variable of the same name with `_FILE` behind it. The server starts only when every value is right and none contradict;',
    'otherwise it lists all that is wrong. `tmcp doctor` checks them without starting.',
    '',
    '| variable | default | unit | meaning |',
    '|---|---|---|---|',
    ...cells,
    '',
    '## What must fit together',
    '',
    '* `TMCP_PUBLIC_URL` and `TMCP_WALLET_URL` are https unless they point to this machine.',
    '* `TMCP_DB_POOL` is at least `TMCP_LANES` + 2: each lane keeps a connection of its own.',
    '* `TMCP_PORT` and `TMCP_METRICS_PORT` differ.',
    '* `TMCP_PEPPER` and the keys of `TMCP_MASTER_KEY` all differ.',
    '* `TMCP_TEST_ACK_BEFORE_COMMIT` is refused by `tmcp serve` unless `NODE_ENV=test`.',
    '',
  ].join('\n');
}

function envExample(): string {
  const blocks = rows.map((row) => {
    const required = row.requiredIn === 'serve' ? ' Required by tmcp serve.' : '';
    const unit = row.unit === undefined ? '' : ` (${row.unit})`;
    return `# ${row.says}${unit}${required}\n# ${row.env}=${defaultText(row, 'serve') ?? ''}\n`;
  });
  return [
    '# Made by `npm run docs` from src/config-options.ts; edit that. The values shown are the defaults of tmcp serve.\n',
    ...blocks,
  ].join('\n');
}

function help(): string {
  const lines = rows.map((row) => {
    const value = row.requiredIn === 'serve' ? 'required by tmcp serve' : defaultOf(row).replaceAll('`', '');
    return `  ${row.env}\n      ${row.says} [${value}${row.unit === undefined ? '' : `, ${row.unit}`}]`;
  });
  return `Configuration is read from the environment:\n\n${lines.join('\n')}\n`;
}
