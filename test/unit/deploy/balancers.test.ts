/** The files in deploy/haproxy and deploy/nginx against the protocol's limits, and read by the programs they are for. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findBalancer, renderHaproxy, renderNginx } from '../../../scripts/lib/balancer.ts';
import { haproxySays } from './haproxy-says.ts';
import { limits } from '../../../src/protocol/limits.ts';

const deploy = resolve(import.meta.dirname, '../../../deploy');
const haproxy = readFileSync(join(deploy, 'haproxy/haproxy.cfg'), 'utf8');
const nginx = readFileSync(join(deploy, 'nginx/nginx.conf'), 'utf8');

/** Milliseconds of `90s`, `500ms`. */
function ms(text: string | undefined): number {
  const [, number = 'NaN', unit = 's'] = /^(\d+)(ms|s|m)$/.exec(text ?? '') ?? [];
  return Number(number) * ({ ms: 1, s: 1_000, m: 60_000 }[unit] ?? Number.NaN);
}

const timeout = (name: string): number => ms(new RegExp(`^ +timeout ${name} (\\S+)$`, 'm').exec(haproxy)?.[1]);
const section = (name: string): string => haproxy.split(/^(?=\S)/m).find((part) => part.startsWith(`${name}\n`)) ?? '';

describe('haproxy.cfg', () => {
  it('lets the node decide that a socket is dead, not the balancer', () => {
    expect(timeout('tunnel')).toBeGreaterThan(limits.silentCloseMs);
    expect(timeout('tunnel')).toBeGreaterThan(2 * limits.pingEveryMs);
  });

  it('waits longer for an answer than a call may take, and not long for a connection', () => {
    expect(timeout('server')).toBeGreaterThanOrEqual(30_000);
    expect(timeout('connect')).toBeLessThanOrEqual(1_000);
  });

  it('notices a node that is gone within 3 s and a frozen one within 6', () => {
    const check = /check inter (\S+) fastinter (\S+) .*fall (\d)/.exec(section('backend live')) ?? [];
    const [, inter, fast, fall] = check;
    const refused = ms(inter) + (Number(fall) - 1) * ms(fast);
    expect(refused).toBeLessThanOrEqual(3_000);
    expect(refused + Number(fall) * timeout('check')).toBeLessThanOrEqual(6_000);
  });

  it('has every node in every backend, under the same id', () => {
    const servers = (name: string): string[] =>
      [...section(name).matchAll(/^ +server (\S+ \S+ id \d+)/gm)].map(([, line]) => line as string);
    expect(servers('backend live')).toHaveLength(3);
    expect(servers('backend any')).toEqual(servers('backend live'));
    expect(servers('backend last_resort')).toEqual(servers('backend live'));
  });

  it('takes addresses from nobody', () => {
    expect(section('frontend public')).toContain('http-request set-header X-Forwarded-For %[src]\n');
    expect(haproxy).not.toMatch(/forwardfor|add-header X-Forwarded-For/);
  });

  it('writes no path and no query to its log', () => {
    expect(/log-format "(.*)"/.exec(haproxy)?.[1]).not.toMatch(/%(r|HP|HU|HQ|HPO|HV)(?![a-z])|%\[/);
    expect(haproxy).not.toContain('option httplog');
  });

  it.skipIf(findBalancer('haproxy') === undefined)('is valid, also with five nodes on loopback', () => {
    const nodes = Array.from({ length: 5 }, (_, index) => ({ name: `n${index + 1}`, port: 20_000 + index }));
    const rendered = renderHaproxy({ nodes }, { port: 18_080, operatorPort: 18_404, folder: '/tmp' });
    expect([...rendered.matchAll(/^ +server n5 127\.0\.0\.1:20004 id 5/gm)]).toHaveLength(3);
    expect(rendered).toContain('track live/n5');
    for (const text of [haproxy, rendered]) expect(haproxySays(text)).toEqual([]);
    expect(haproxySays(haproxy.replace('balance leastconn', 'balance leastcon'))).not.toEqual([]);
  });
});

describe('nginx.conf', () => {
  it('lets a socket be silent for longer than the pause between two pings of the node', () => {
    for (const name of ['proxy_read_timeout', 'proxy_send_timeout'])
      expect(ms(new RegExp(`location = /v1/live \\{[^}]*${name} (\\w+);`).exec(nginx)?.[1])).toBeGreaterThan(limits.pingEveryMs);
  });

  it('passes the largest body a node takes', () => {
    const mebibytes = Number(/client_max_body_size (\d+)m;/.exec(nginx)?.[1]);
    expect(mebibytes * 1024 * 1024).toBeGreaterThanOrEqual(Math.max(limits.httpStorageBodyBytes, limits.httpBodyBytes));
  });

  it('takes addresses from nobody, in any location', () => {
    expect(nginx).toContain('proxy_set_header X-Forwarded-For $remote_addr;');
    expect(nginx).not.toContain('proxy_add_x_forwarded_for');
    // One of its own in a location would hide those above.
    expect(nginx.slice(nginx.indexOf('    server {'))).not.toContain('proxy_set_header');
  });

  it('writes no path and no query to its log', () => {
    expect(/log_format tmcp '([^']*)'/.exec(nginx)?.[1]).not.toMatch(/\$(request|uri|request_uri|args|arg_\w+|document_uri)\b/);
  });

  it('has its nodes where the script looks for them', () => {
    const nodes = [{ name: 'n1', port: 20_001 }];
    const rendered = renderNginx({ nodes }, { port: 18_080, operatorPort: 0, folder: '/tmp/x' });
    // Once for live sockets, once for requests: what one counts against a node must not count for the other.
    expect([...rendered.matchAll(/^ +server 127\.0\.0\.1:20001 /gm)]).toHaveLength(2);
    expect(rendered).not.toContain('10.0.0.1');
  });
});
