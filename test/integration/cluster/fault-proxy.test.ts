/** The proxy that other tests break connections with does to bytes what it says, and only to the way it was told. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { disposed } from '../../support/disposed.ts';
import { startFaultProxy } from '../../support/fault-proxy.ts';
import { until } from '../../support/peer-nodes.ts';

/** A client and a server's side of one connection through a proxy, and what each has received. */
async function through() {
  const servers: Socket[] = [];
  const server = createServer((socket) => servers.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startFaultProxy({ port: (server.address() as AddressInfo).port });
  const client = connect(proxy.port, '127.0.0.1');
  await until(() => servers.length === 1);
  const watch = (socket: Socket) => {
    const seen = { text: '', end: '' };
    socket.on('data', (bytes) => {
      seen.text += bytes.toString();
    });
    socket.on('end', () => {
      seen.end = 'end';
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      seen.end = error.code ?? '';
    });
    return seen;
  };
  const inside = servers[0] as Socket;
  return {
    proxy,
    client,
    inside,
    atServer: watch(inside),
    atClient: watch(client),
    async [Symbol.asyncDispose]() {
      client.destroy();
      for (const socket of servers) socket.destroy();
      await proxy[Symbol.asyncDispose]();
      server.close();
    },
  };
}

describe('the fault proxy', () => {
  it('passes bytes and ends both ways', async () => {
    const t = disposed(await through());
    t.client.write('there');
    t.inside.write('back');
    await until(() => t.atServer.text === 'there' && t.atClient.text === 'back');
    t.client.end();
    await until(() => t.atServer.end === 'end' && t.atClient.end === 'end');
    await until(() => t.proxy.connections === 0);
  });

  it('holds bytes back, in order, also when the delay ends meanwhile', async () => {
    const t = disposed(await through());
    t.proxy.delay('toServer', 60);
    const from = performance.now();
    t.client.write('one ');
    t.inside.write('not me');
    await until(() => t.atClient.text === 'not me');
    t.proxy.delay('toServer', 0);
    t.client.write('two');
    await until(() => t.atServer.text === 'one two');
    expect(performance.now() - from).toBeGreaterThan(55);
  });

  it('stalls one way, until it flows again', async () => {
    const t = disposed(await through());
    t.proxy.stall('toServer');
    t.client.write('held');
    t.inside.write('passed');
    await until(() => t.atClient.text === 'passed');
    expect(t.atServer.text).toBe('');
    t.proxy.flow('both');
    await until(() => t.atServer.text === 'held');
  });

  it('resets one receiver and tells the other side nothing, or both', async () => {
    const one = disposed(await through());
    one.proxy.reset('toServer');
    await until(() => one.atServer.end === 'ECONNRESET');
    one.client.write('into nothing');
    expect([one.client.destroyed, one.atClient.end]).toEqual([false, '']);
    const both = disposed(await through());
    both.proxy.reset();
    await until(() => both.atServer.end === 'ECONNRESET' && both.atClient.end === 'ECONNRESET');
  });

  it('refuses connections to come, and leads them elsewhere', async () => {
    const t = disposed(await through());
    const other = disposed(await through());
    t.proxy.refuse(true);
    const refused = connect(t.proxy.port, '127.0.0.1');
    refused.on('error', () => undefined);
    await new Promise((resolve) => refused.once('close', resolve));
    t.proxy.refuse(false);
    t.proxy.retarget(other.proxy.port);
    const led = connect(t.proxy.port, '127.0.0.1');
    await until(() => other.proxy.accepted === 2);
    led.destroy();
    expect(t.proxy.accepted).toBe(2);
  });
});
