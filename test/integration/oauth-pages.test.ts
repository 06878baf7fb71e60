/** The pages a person meets: what they hold, what they refuse, and what they never tell. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { authorizeUrl, Browser, type Page, pkce, signInAndAllow } from '../support/oauth-browser.ts';
import { alice, backend, bob, carol, type Harness, host, shop, startIdentity } from '../support/oauth-harness.ts';

let harness: Harness;
let browser: Browser;

beforeAll(async () => {
  harness = await startIdentity();
});
afterAll(async () => {
  expect(harness.faults).toEqual([]);
  await harness.stop();
});
beforeEach(async () => {
  browser = new Browser(harness.issuer);
  harness.events.length = 0;
  harness.codeTries.length = 0;
  await harness.db.query('DELETE FROM sign_in_guards');
  await harness.db.query('DELETE FROM consents');
});

const authorize = (scope: string, extra: Record<string, string> = {}, app = shop): string =>
  authorizeUrl({ clientId: app.appId, redirectUri: app.redirectUri, scope, challenge: pkce().challenge, extra });
const queryOf = (page: Page): Record<string, string> => Object.fromEntries(new URL(page.url).searchParams);
const signIn = (page: Page, user = alice, password = user.password): Promise<Page> =>
  browser.submit(page, 'sign-in', { account: user.userId, password });

describe('the sign-in page', () => {
  it('allows nothing but its style sheet, its forms and the way back to the app', async () => {
    const page = await browser.open(authorize('storage:read'));
    expect(page.headers.get('content-security-policy')).toBe(
      "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:9876; base-uri 'none'; frame-ancestors 'none'",
    );
    expect(page.headers.get('cache-control')).toBe('no-store');
    expect(page.headers.get('x-frame-options')).toBe('DENY');
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    expect(page.headers.get('referrer-policy')).toBe('same-origin');
    expect(page.text).not.toMatch(/<script|\son[a-z]+=|style=|javascript:/i);
    const sheet = /href="(\/assets\/[^"]+\.css)"/.exec(page.text)?.[1] ?? '';
    const styles = await browser.open(sheet);
    expect([styles.status, styles.headers.get('content-type'), styles.headers.get('cache-control')]).toEqual([
      200,
      'text/css; charset=utf-8',
      'public, max-age=31536000, immutable',
    ]);
    expect(styles.text).not.toMatch(/url\(|@import/);
  });

  it('labels every field, has one heading of the first rank and one main landmark, and escapes the names of apps', async () => {
    const page = await browser.open(authorize('storage:read'));
    for (const id of ['account', 'password']) expect(page.text).toContain(`<label for="${id}">`);
    expect(page.text.match(/<h1>/g)).toHaveLength(1);
    expect(page.text.match(/<main>/g)).toHaveLength(1);
    expect(page.text).toContain('<html lang="en">');
    expect(page.text).toContain('Shop &amp; Sons &lt;Ltd&gt;');
    expect(page.text).not.toContain('<Ltd>');
  });

  it('says what is missing in a summary that links to the fields, and keeps what was typed', async () => {
    const page = await browser.open(authorize('storage:read'));
    const empty = await browser.submit(page, 'sign-in', { account: '', password: '' });
    expect(empty.status).toBe(400);
    expect(empty.text).toContain('role="alert"');
    expect(empty.text).toContain('<a href="#account">Enter your user name</a>');
    expect(empty.text).toContain('<a href="#password">Enter your password</a>');
    expect(empty.text).toContain('<title>Error: ');
    const typed = await browser.submit(page, 'sign-in', { account: '"><script>', password: '' });
    expect(typed.text).toContain('value="&quot;&gt;&lt;script&gt;"');
    expect(typed.text).not.toContain('<script>');
  });

  it('takes the short name, any case and the hint of the app', async () => {
    const page = await browser.open(authorize('storage:read', { login_hint: 'alice' }));
    expect(page.text).toContain('value="alice"');
    const done = await browser.submit(page, 'sign-in', { account: ' Alice ', password: alice.password });
    expect(queryOf(done)).toMatchObject({ state: 'state-1', iss: harness.issuer, code: expect.stringMatching(/.{40,}/) });
  });

  it('answers an unknown name, a wrong password and a suspended account with the same bytes', async () => {
    const page = await browser.open(authorize('storage:read'));
    await harness.store.users.setStatus(bob.userId, 'suspended');
    const answers: string[] = [];
    for (const [account, password] of [
      ['nobodyatall', 'x'],
      [alice.userId, 'wrong'],
      [bob.userId, bob.password],
    ] as const) {
      const answer = await browser.submit(page, 'sign-in', { account, password });
      expect(answer.status).toBe(400);
      answers.push(answer.text.replaceAll(account, 'ACCOUNT'));
    }
    await harness.store.users.setStatus(bob.userId, 'active');
    expect(new Set(answers).size).toBe(1);
  });

  it('locks an account after five wrong passwords in a row, known or not, then twice as long', async () => {
    for (const account of [alice.userId, '@nobody:tween.example']) {
      const page = await browser.open(authorize('storage:read'));
      for (const minutes of [15, 30]) {
        for (let turn = 1; turn <= 5; turn += 1)
          expect((await browser.submit(page, 'sign-in', { account, password: 'wrong' })).status).toBe(400);
        const locked = await browser.submit(page, 'sign-in', { account, password: alice.password });
        expect(locked.status).toBe(429);
        expect(locked.text).toContain(`Try again in ${minutes} minutes.`);
        await harness.db.query('UPDATE sign_in_guards SET locked_until = $1 WHERE subject = $2', [harness.clock.now() - 1, account]);
      }
    }
    expect(harness.events.filter(({ type }) => type === 'sign_in.locked')).toHaveLength(4);
  });

  it('counts only wrong passwords in a row, and looks at the fifth', async () => {
    const page = await browser.open(authorize('storage:read'));
    for (let round = 0; round < 2; round += 1) {
      const attempt = await new Browser(harness.issuer).open(authorize('storage:read'));
      expect(attempt.status).toBe(200);
      for (let turn = 1; turn <= 4; turn += 1) await signIn(page, alice, 'wrong');
      const other = new Browser(harness.issuer);
      const fresh = await other.open(authorize('storage:read'));
      const done = await other.submit(fresh, 'sign-in', { account: alice.userId, password: alice.password });
      expect(queryOf(done)['code']).toBeDefined();
    }
  });

  it('looks at no more than five of a hundred passwords sent at once', async () => {
    let looked = 0;
    const verify = async (hash: string, secret: string): Promise<boolean> => {
      looked += 1;
      return harness.hasher.verify(hash, secret);
    };
    const counted = await startIdentity({
      db: harness.db,
      identity: {
        hasher: { hash: harness.hasher.hash, verify },
      },
    });
    const page = await new Browser(counted.issuer).open(authorize('storage:read'));
    expect(page.status).toBe(200);
    const own = new Browser(counted.issuer);
    const first = await own.open(authorize('storage:read'));
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => own.submit(first, 'sign-in', { account: alice.userId, password: 'wrong' })),
    );
    expect(looked).toBe(5);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(95);
    await counted.stop();
  });

  it('goes back to the app with access_denied when the person leaves', async () => {
    const page = await browser.open(authorize('storage:read'));
    expect(queryOf(await browser.submit(page, 'cancel'))).toMatchObject({ error: 'access_denied', state: 'state-1', iss: harness.issuer });
  });

  it('is over once it was used or has expired', async () => {
    const page = await browser.open(authorize('storage:read'));
    const stale = page.url;
    harness.clock.advance(901_000);
    const late = await signIn(page);
    expect([late.status, late.text.includes('This sign-in has expired')]).toEqual([400, true]);
    expect((await new Browser(harness.issuer).open(stale)).status).toBe(400);
  });
});

describe('the forms', () => {
  it.each<[string, Record<string, string>, Record<string, string>]>([
    ['without a proof', { csrf: '' }, {}],
    ['with a wrong proof', { csrf: Buffer.alloc(32, 7).toString('base64url') }, {}],
    ['from another origin', {}, { origin: 'https://evil.example' }],
    ['from nowhere', {}, { origin: 'null' }],
    ['that the browser calls cross-site', {}, { 'sec-fetch-site': 'cross-site' }],
  ])('%s are refused', async (_name, fields, headers) => {
    const page = await browser.open(authorize('storage:read'));
    const answer = await browser.submit(page, 'sign-in', { account: alice.userId, password: alice.password, ...fields }, headers);
    expect([answer.status, answer.text.includes('This form cannot be accepted')]).toEqual([403, true]);
  });

  it('from our own origin are taken', async () => {
    const page = await browser.open(authorize('storage:read'));
    const headers = { origin: harness.issuer, 'sec-fetch-site': 'same-origin' };
    expect(
      queryOf(await browser.submit(page, 'sign-in', { account: alice.userId, password: alice.password }, headers))['code'],
    ).toBeDefined();
  });

  it('of one interaction do not work in another browser', async () => {
    const page = await browser.open(authorize('storage:read'));
    expect((await new Browser(harness.issuer).submit(page, 'sign-in', { account: alice.userId, password: alice.password })).status).toBe(
      400,
    );
  });

  it('with a forged cookie signature do not work', async () => {
    const page = await browser.open(authorize('storage:read'));
    const cookie = browser.cookies.get('tmcp_interaction.sig')!;
    browser.cookies.set('tmcp_interaction.sig', { ...cookie, value: 'A'.repeat(27) });
    expect((await signIn(page)).status).toBe(400);
  });
});

describe('the consent page', () => {
  it('lists what is asked in plain words with its risk, and what needs no question apart', async () => {
    const page = await signIn(await browser.open(authorize('wallet:pay wallet:balance storage:read')));
    expect(page.text).toContain('<h1>Allow Demo Shop?</h1>');
    expect(page.text).toContain('Ask you for payments, transfers and gifts from your wallet');
    expect(page.text).toContain('Very sensitive');
    expect(page.text).toContain('You confirm each payment yourself');
    expect(page.text.indexOf('Also, without asking')).toBeLessThan(page.text.indexOf('Read what it stored for you'));
    expect(page.text).toContain('Signed in as <strong>@alice:tween.example</strong>');
    expect(page.text).toContain('127.0.0.1:9876');
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' http://127.0.0.1:9876;");
    expect(page.text).not.toMatch(/<script/i);
  });

  it('gives only what stays ticked, and asks for the rest the next time', async () => {
    const { verifier, challenge } = pkce();
    const all = 'user:read wallet:balance wallet:pay storage:read';
    const page = await signIn(await browser.open(authorize(all, { code_challenge: challenge })));
    const post = (only: string, typed: Record<string, string>, at: Page): Promise<Page> =>
      browser.open(`${at.url}/consent${only}`, {
        method: 'POST',
        body: new URLSearchParams({ csrf: at.forms[0]?.fields['csrf'] ?? '', ...typed }),
      });
    const done = await post('?only=ticked', { decision: 'allow', 'scope.wallet:balance': 'yes', 'scope.wallet:history': 'yes' }, page);
    expect(harness.events.at(-1)).toMatchObject({ type: 'consent.given', scopes: ['wallet:balance'] });
    const tokens = await fetch(new URL('/oauth2/token', harness.issuer), {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: shop.appId,
        redirect_uri: shop.redirectUri,
        code: queryOf(done)['code'] ?? '',
        code_verifier: verifier,
      }),
    });
    const answer = (await tokens.json()) as { scope: string; access_token: string; refresh_token: string };
    expect(answer.scope.split(' ').sort()).toEqual(['storage:read', 'wallet:balance']);
    expect((await harness.identity.verifier.inspect(answer.access_token)).principal.scopes).toEqual(
      new Set(['wallet:balance', 'storage:read']),
    );
    const refreshed = await fetch(new URL('/oauth2/token', harness.issuer), {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', client_id: shop.appId, refresh_token: answer.refresh_token }),
    });
    expect(((await refreshed.json()) as { scope: string }).scope.split(' ').sort()).toEqual(['storage:read', 'wallet:balance']);

    const again = await browser.open(authorize(all));
    expect([...again.text.matchAll(/name="scope\.([^"]+)"/g)].map(([, scope]) => scope)).toEqual(['wallet:pay', 'user:read']);
    expect(again.text.indexOf('You allowed before')).toBeLessThan(again.text.indexOf('See how much money'));
    expect(queryOf(await post('?only=ticked', { decision: 'allow' }, again))['code']).toBeDefined();
    expect(queryOf(await post('', { decision: 'allow' }, await browser.open(authorize(all))))['code']).toBeDefined();
    expect(queryOf(await browser.open(authorize(all)))['code']).toBeDefined();
  });

  it('is shown again, ticks and all, when nothing is ticked or nothing was decided', async () => {
    const page = await signIn(await browser.open(authorize('wallet:pay wallet:balance')));
    const csrf = page.forms[0]?.fields['csrf'] ?? '';
    const post = (fields: Record<string, string>): Promise<Page> =>
      browser.open(`${page.url}/consent?only=ticked`, { method: 'POST', body: new URLSearchParams({ csrf, ...fields }) });
    const nothing = await post({ decision: 'allow' });
    expect([nothing.status, nothing.text.includes('<a href="#scope-0">Tick at least one')]).toEqual([400, true]);
    const undecided = await post({ 'scope.wallet:balance': 'yes' });
    expect([undecided.status, undecided.text.includes('<a href="#allow">Choose Allow or Deny')]).toEqual([400, true]);
    expect(undecided.text.match(/ checked/g)).toHaveLength(1);
    expect(undecided.text).toMatch(/name="scope.wallet:balance" value="yes" checked/);
    expect(await harness.db.query('SELECT * FROM consents')).toEqual([]);
  });

  it('denied goes back with access_denied and records nothing', async () => {
    const page = await signIn(await browser.open(authorize('wallet:pay')));
    expect(queryOf(await browser.submit(page, 'consent', { decision: 'deny' }))).toMatchObject({
      error: 'access_denied',
      state: 'state-1',
    });
    expect(await harness.db.query('SELECT * FROM consents')).toEqual([]);
  });

  it('is skipped the next time, comes back for more scopes, when the meaning changed, and when the app asks for it', async () => {
    await signInAndAllow(browser, authorize('wallet:balance'), alice);
    expect(queryOf(await browser.open(authorize('wallet:balance')))['code']).toBeDefined();
    const more = await browser.open(authorize('wallet:balance wallet:pay'));
    expect(more.text).toContain('Allow Demo Shop?');
    expect(more.text.indexOf('Ask you for payments')).toBeLessThan(more.text.indexOf('See how much money'));
    expect(new URL((await browser.open(authorize('wallet:balance', { prompt: 'consent' }))).url).pathname).toMatch(/^\/interaction\//);
    await harness.db.query("UPDATE consents SET scope_hash = 'of an older text'");
    expect((await browser.open(authorize('wallet:balance'))).text).toContain('Allow Demo Shop?');
  });

  it('is not shown for storage, nor for user:read that the reviewer let pass; other pre-approvals count for nothing', async () => {
    const first = await signIn(await browser.open(authorize('user:read storage:read', {}, host)));
    expect(queryOf(first)['code']).toBeDefined();
    expect((await browser.open(authorize('user:read'))).text).toContain('Allow Demo Shop?');
    const balance = await browser.open(authorize('wallet:balance user:read', {}, backend));
    expect(balance.text).toContain('Allow Demo Backend?');
    const rows = await harness.db.query<{ method: string }>('SELECT DISTINCT method FROM consents');
    expect(rows).toEqual([{ method: 'preapproved' }]);
  });

  it('lets the person change to another account', async () => {
    const page = await signIn(await browser.open(authorize('wallet:pay')));
    const again = await browser.submit(page, 'switch');
    expect(again.text).toContain('<h1>Sign in</h1>');
    const consent = await signIn(again, bob);
    expect(consent.text).toContain('Signed in as <strong>@bob:tween.example</strong>');
  });

  it('gives a new person a new session when the app asks to sign in again', async () => {
    await signInAndAllow(browser, authorize('storage:read'), alice);
    const page = await browser.open(authorize('storage:read', { prompt: 'login' }));
    expect(page.text).toContain('<h1>Sign in</h1>');
    expect(queryOf(await signIn(page, bob))['code']).toBeDefined();
    expect((await browser.open(authorize('wallet:pay'))).text).toContain('Signed in as <strong>@bob:tween.example</strong>');
  });

  it('asks a suspended person to sign in again', async () => {
    await signInAndAllow(browser, authorize('storage:read'), bob);
    await harness.store.users.setStatus(bob.userId, 'suspended');
    expect((await browser.open(authorize('storage:read'))).text).toContain('<h1>Sign in</h1>');
    await harness.store.users.setStatus(bob.userId, 'active');
  });
});

describe('a form post of a browser', () => {
  it('ends on a page that goes on by itself, so that form-action does not bind the redirects of the app', async () => {
    const page = await browser.open(authorize('storage:read'));
    const form = { csrf: page.forms[0]?.fields['csrf'] ?? '', account: alice.userId, password: alice.password };
    // Not by `fetch`, which names its own mode.
    const onward = await harness.identity.handle({
      method: 'POST',
      url: `${new URL(page.url).pathname}/sign-in`,
      headers: {
        cookie: [...browser.cookies].map(([name, { value }]) => `${name}=${value}`).join('; '),
        'content-type': 'application/x-www-form-urlencoded',
        origin: harness.issuer,
        'sec-fetch-site': 'same-origin',
        'sec-fetch-mode': 'navigate',
      },
      body: Buffer.from(new URLSearchParams(form).toString()),
      remoteAddress: '127.0.0.1',
    });
    expect([onward.status, Object.fromEntries(onward.headers)['cache-control']]).toEqual([200, 'no-store']);
    const next = /<meta http-equiv="refresh" content="0; url=([^"]+)">/.exec(onward.body.toString())?.[1] ?? '';
    expect(next).toContain(`${harness.issuer}/oauth2/authorize/`);
    expect(queryOf(await browser.open(next))['code']).toBeDefined();
  });

  it('that was answered with a problem leaves an address that leads back to the page', async () => {
    const page = await browser.open(authorize('storage:read'));
    const wrong = await browser.submit(page, 'sign-in', { account: '', password: '' });
    expect(new URL(wrong.url).pathname).toMatch(/\/sign-in$/);
    const again = await browser.open(wrong.url);
    expect([again.url, again.status]).toEqual([page.url, 200]);
  });
});

describe('the second factor', () => {
  it('can be left, with access_denied', async () => {
    const page = await signIn(await browser.open(authorize('storage:read')), carol);
    expect(page.text).toContain('<p class="name">Demo Shop</p>');
    expect(queryOf(await browser.submit(page, 'cancel'))).toMatchObject({ error: 'access_denied', state: 'state-1' });
  });

  it('is asked after the password, refuses wrong codes, and signs in with the right one', async () => {
    const page = await signIn(await browser.open(authorize('storage:read')), carol);
    expect(page.text).toContain('<label for="code">Six-digit code</label>');
    expect(page.text).toContain('autocomplete="one-time-code"');
    const wrong = await browser.submit(page, 'code', { code: '000000' });
    expect([wrong.status, wrong.text.includes('The code is not right')]).toEqual([400, true]);
    expect((await browser.submit(page, 'code', { code: '12345' })).text).toContain('Enter the six digits of the code');
    expect(queryOf(await browser.submit(wrong, 'code', { code: '123 456' }))['code']).toBeDefined();
    expect(harness.codeTries).toEqual(['000000', '123456']);
  });

  it('cannot be stepped over by going on with the authorisation', async () => {
    const page = await signIn(await browser.open(authorize('storage:read')), carol);
    const uid = page.url.split('/').at(-1)!;
    const skipped = await browser.open(`/oauth2/authorize/${uid}`);
    expect(skipped.text).toContain('<h1>Sign in</h1>');
    const consent = await signIn(await browser.open(authorize('wallet:pay')), carol);
    const forced = await browser.open(`/interaction/${consent.url.split('/').at(-1)}/consent`, {
      method: 'POST',
      body: new URLSearchParams({ ...consent.forms[0]!.fields, decision: 'allow' }),
    });
    expect(forced.text).toContain('Six-digit code');
    expect(await harness.db.query('SELECT * FROM consents')).toEqual([]);
  });

  it('says when its owner has locked it, and leads back to the password', async () => {
    const page = await signIn(await browser.open(authorize('storage:read')), carol);
    for (let turn = 0; turn < 3; turn += 1) await browser.submit(page, 'code', { code: '111111' });
    expect((await browser.submit(page, 'code', { code: '123456' })).text).toContain('There were too many wrong codes');
    expect((await browser.submit(page, 'back')).text).toContain('<h1>Sign in</h1>');
  });

  it('forgets a right password after five minutes', async () => {
    const page = await signIn(await browser.open(authorize('storage:read')), carol);
    harness.clock.advance(301_000);
    expect((await browser.submit(page, 'code', { code: '123456' })).text).toContain('<h1>Sign in</h1>');
    expect(harness.codeTries).toEqual([]);
  });
});
