/** The Dockerfile, read instruction by instruction: no engine is needed to hold what the image promises. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Instruction {
  readonly name: string;
  readonly text: string;
}

const root = resolve(import.meta.dirname, '../../..');

/** The instructions in order, continued lines joined, comments left out (Dockerfile reference, "Format"). */
function parse(text: string): Instruction[] {
  const lines = text.split('\n').filter((line) => !/^\s*#/.test(line));
  const joined = lines.join('\n').replaceAll(/\\\n/g, ' ');
  return joined
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
      return { name: name.toUpperCase(), text: rest.replaceAll(/\s+/g, ' ') };
    });
}

const all = parse(readFileSync(join(root, 'Dockerfile'), 'utf8'));
const stages = all.reduce<Instruction[][]>((list, instruction) => {
  if (instruction.name === 'FROM') list.push([]);
  list.at(-1)?.push(instruction);
  return list;
}, []);
const image = stages.at(-1) ?? [];
const texts = (stage: readonly Instruction[], name: string): string[] => stage.filter((one) => one.name === name).map((one) => one.text);
const everywhere = (name: string): string[] => texts(all, name);
const ignored = readFileSync(join(root, '.dockerignore'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

describe('Dockerfile', () => {
  it('has only instructions that exist', () => {
    const known = [
      'FROM',
      'WORKDIR',
      'COPY',
      'RUN',
      'ENV',
      'VOLUME',
      'USER',
      'EXPOSE',
      'HEALTHCHECK',
      'STOPSIGNAL',
      'CMD',
      'ARG',
      'LABEL',
      'ENTRYPOINT',
    ];
    expect(all.filter((one) => !known.includes(one.name))).toEqual([]);
  });

  it('builds in stages, each on Debian 13 with a pinned Node major that our engines allow', () => {
    expect(stages.length).toBeGreaterThan(1);
    for (const from of everywhere('FROM')) expect(from).toMatch(/^node:20[\d.]*-trixie-slim( AS [a-z]+)?$/);
  });

  it('copies from stages that exist', () => {
    const named = everywhere('FROM').map((from) => / AS (\S+)$/.exec(from)?.[1]);
    for (const copy of everywhere('COPY')) {
      const from = /--from=(\S+)/.exec(copy)?.[1];
      if (from !== undefined) expect(named).toContain(from);
    }
  });

  it('copies nothing that is missing or kept out of the build context', () => {
    const sources = everywhere('COPY')
      .filter((copy) => !copy.includes('--from='))
      .flatMap((copy) => copy.split(' ').slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    for (const source of sources) {
      expect(existsSync(join(root, source)), source).toBe(true);
      expect(ignored, source).toContain(`!${source}`);
    }
  });

  it('ships production dependencies only, and no compiler', () => {
    expect(texts(stages.find((stage) => stage[0]?.text.endsWith(' AS dependencies')) ?? [], 'RUN')[0]).toMatch(/^npm ci --omit=dev/);
    expect(texts(image, 'COPY').filter((copy) => copy.includes('node_modules'))).toEqual([
      '--from=dependencies /app/node_modules/ node_modules/',
    ]);
    expect(texts(image, 'RUN').join()).not.toMatch(/npm (ci|install)|apt-get install/);
  });

  it('runs no install scripts of packages', () => {
    for (const run of everywhere('RUN').filter((text) => /npm (ci|install)/.test(text))) expect(run).toContain('--ignore-scripts');
  });

  it("keeps only this platform's uWebSockets.js binary, checked before and after and loaded once", () => {
    const run = everywhere('RUN').find((text) => text.includes('-delete')) ?? '';
    const steps = [
      'node scripts/check-uws.mjs &&',
      "find node_modules/uWebSockets.js -name '*.node' ! -name",
      '-delete',
      '--present',
      "require('uWebSockets.js')",
    ];
    expect(steps.map((step) => run.indexOf(step)).every((at, i, places) => at >= 0 && (i === 0 || at > (places[i - 1] ?? 0)))).toBe(true);
  });

  it('does not run as root', () => {
    const user = image.findIndex((one) => one.name === 'USER');
    expect(texts(image, 'USER')).toEqual(['1000:1000']);
    expect(image.slice(user).filter((one) => one.name === 'RUN')).toEqual([]);
  });

  it('writes to its volume alone, so that the root may be read-only', () => {
    expect(texts(image, 'VOLUME')).toEqual(['/data']);
    expect(texts(image, 'ENV').join()).toContain('TMCP_DATA_DIR=/data');
    expect(texts(image, 'RUN').join()).toContain('install -d -o 1000 -g 1000 -m 0700 /data');
  });

  it('carries no secret and no development switch in its environment', () => {
    const environment = texts(image, 'ENV').join(' ');
    expect(environment).toContain('NODE_ENV=production');
    expect(environment).not.toMatch(/KEY|TOKEN|SECRET|PEPPER|PASSWORD|DATABASE_URL/);
    expect(everywhere('ARG')).toEqual([]);
  });

  it('can be read by its user whatever the umask of the checkout was', () => {
    const build = stages.find((stage) => stage[0]?.text.endsWith(' AS build')) ?? [];
    expect(texts(build, 'RUN').at(-1)).toMatch(/ && chmod -R a\+rX dist package\.json LICENSE$/);
    expect(texts(image, 'COPY').filter((copy) => !copy.startsWith('--from='))).toEqual([]);
  });

  it('leaves no package manager behind', () => {
    const run = texts(image, 'RUN').join();
    expect(run).toContain('rm -rf /usr/local/lib/node_modules /opt/yarn*');
    expect(run).toContain('rm -f npm npx corepack yarn yarnpkg');
  });

  it('serves as process 1, without a shell that would swallow SIGTERM, and takes other commands in place of serve', () => {
    expect(texts(image, 'ENTRYPOINT').map((text) => JSON.parse(text) as unknown)).toEqual([['node', 'dist/main.js']]);
    expect(texts(image, 'CMD').map((text) => JSON.parse(text) as unknown)).toEqual([['serve']]);
    expect(texts(image, 'STOPSIGNAL')).toEqual(['SIGTERM']);
    expect(texts(image, 'EXPOSE')).toEqual(['8080 9464']);
  });
});

describe('HEALTHCHECK', () => {
  const [check = ''] = texts(image, 'HEALTHCHECK');
  const [program = '', ...words] = JSON.parse(check.slice(check.indexOf('CMD ') + 4)) as string[];

  /** The exit code of the command, run as an engine runs it: as written, no shell between. */
  function exitCode(port: number): Promise<number> {
    return new Promise((done) => {
      const child = execFile(process.execPath, words, { env: { TMCP_PORT: String(port) } }, () => done(child.exitCode ?? -1));
    });
  }

  async function answering<T>(status: number, run: (port: number, asked: string[]) => Promise<T>): Promise<T> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(status).end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      return await run((server.address() as AddressInfo).port, asked);
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  it('needs no shell and bounds its time', () => {
    expect([program, words[0]]).toEqual(['node', '-e']);
    expect(check).toMatch(/--timeout=\d+s/);
  });

  it('is well when /healthz answers 200', async () => {
    await answering(200, async (port, asked) => {
      expect(await exitCode(port)).toBe(0);
      expect(asked).toEqual(['/healthz']);
    });
  });

  it.each([302, 404, 503])('is ill when it answers %i', async (status) => {
    expect(await answering(status, (port) => exitCode(port))).toBe(1);
  });

  it('is ill when nothing listens', async () => {
    const free = await answering(200, (port) => Promise.resolve(port));
    expect(await exitCode(free)).toBe(1);
  });
});

describe('.dockerignore', () => {
  it('lets in what is named and nothing else', () => {
    expect(ignored[0]).toBe('*');
    expect(ignored.slice(1).every((line) => line.startsWith('!'))).toBe(true);
    expect(ignored.join()).not.toMatch(/\.env|\.git|\.tmcp|node_modules/);
  });
});
