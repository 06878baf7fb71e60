import { afterAll, beforeAll, expect, it } from 'vitest';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';
let app: DevApp;
beforeAll(async () => { app = await startDevApp(); });
afterAll(async () => { await app[Symbol.asyncDispose](); });
it('accepted writes leave when durable; survive a restart', async () => {
  const alice = app.user('alice');
  const errors: unknown[] = [];
  const client = await app.client(alice.user_id, allScopes, { writes: 'accepted', onError: (e) => errors.push(e) });
  const outcomes: string[] = [];
  client.storage.onOutcome(({ status }) => outcomes.push(status));
  const durables: unknown[] = [];
  client.on('tween.session.durable', (p) => durables.push(p));
  for (let n = 0; n < 20; n++) { await client.storage.set(`a${n}`, `${n}`); }
  const t = Date.now();
  await client.storage.flushed();
  console.log('flushed after', Date.now() - t, 'ms', durables.length, 'watermarks', outcomes.length, new Set(outcomes), client.session?.durable);
  const resyncs: unknown[] = []; client.on('resync', (w) => resyncs.push(w));
  const states: unknown[] = []; client.on('state', (w) => states.push([w, Date.now() - t]));
  const writing = (async () => { for (let n = 0; n < 400; n++) { await client.storage.set(`b${n}`, `${n}`); await new Promise((r) => setTimeout(r, 5)); } })();
  await new Promise((r) => setTimeout(r, 300));
  client.disconnect();
  await new Promise((r) => setTimeout(r, 300));
  await app.restart();
  await writing;
  await client.storage.flushed();
  console.log(states, resyncs, outcomes.length, [...new Set(outcomes)], errors.map(String));
  const { keys } = await client.call('tween.storage.list', { limit: 1000 });
  expect(keys.length).toBe(420);
  for (let n = 0; n < 400; n += 37) expect((await client.call('tween.storage.get', { key: `b${n}` })).value).toBe(`${n}`);
  for (let n = 0; n < 450; n++) { void client.storage.set(`c${n}`, `${n}`).catch(() => {}); }
  await client.storage.flushed();
  const all = await client.call('tween.storage.list', { limit: 1000 });
  expect(all.keys.length).toBe(870);
}, 60000);
