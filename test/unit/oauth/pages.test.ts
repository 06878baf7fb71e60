/** The pages as texts: escaping, and colours that can be read. */
import { describe, expect, it } from 'vitest';
import { consentPage } from '../../../src/transport/http/pages/consent-page.ts';
import { html } from '../../../src/transport/http/pages/html.ts';
import { onwardPage } from '../../../src/transport/http/pages/onward-page.ts';
import { styles } from '../../../src/transport/http/pages/styles.ts';
import { contentSecurityPolicy } from '../../../src/transport/http/oauth/page-response.ts';
import { allScopes, mayAsk, passesUnasked, scopeCard, scopeHash } from '../../../src/transport/http/oauth/scopes.ts';
import { userIdOf } from '../../../src/transport/http/oauth/sign-in.ts';

describe('html', () => {
  it('escapes texts and numbers and lets only markup through', () => {
    const attack = `"><script>alert('1')</script>&`;
    expect(html`<p title="${attack}">${attack}</p>`.toString()).toBe(
      '<p title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;">&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;</p>',
    );
    expect(html`${html`<b>${1}</b>`}${[html`<i></i>`, html`<u></u>`]}${undefined}${false}`.toString()).toBe('<b>1</b><i></i><u></u>');
  });

  it('shows an app that calls itself markup as text', () => {
    const page = consentPage({
      app: { name: '<img src=x onerror=alert(1)>', developer: '<b>', classification: 'beta' },
      userId: '@a<b>:x',
      action: '/interaction/u',
      csrf: 'c',
      asked: [scopeCard('wallet:pay')],
      ticked: [],
      allowed: [],
      unasked: [],
      returnHost: 'x"y',
      problems: [],
    });
    expect(page).not.toMatch(/<img|<b>/);
    expect(page).toContain('x&quot;y');
  });

  it('drops characters that would turn the words around a text', () => {
    const turning = ['\u202a', '\u202b', '\u202c', '\u202d', '\u202e', '\u2066', '\u2067', '\u2068', '\u2069'];
    expect(html`<p>${`a${turning.join('x')}b`} \u05d0</p>`.toString()).toBe(`<p>a${'x'.repeat(8)}b \u05d0</p>`);
  });
});

describe('the consent page', () => {
  const scopes = ['user:read', 'wallet:balance', 'wallet:pay', 'user:read:extended'];
  const view = {
    app: { name: 'Shop', developer: '', classification: 'community' },
    userId: '@a:x',
    action: '/interaction/u',
    csrf: 'c',
    asked: scopes.map(scopeCard),
    ticked: ['wallet:pay'],
    allowed: [],
    unasked: [],
    returnHost: 'x',
    problems: [],
  };

  it('puts the gravest first and ticks what it is told to', () => {
    const boxes = [...consentPage(view).matchAll(/name="scope\.([^"]+)" value="yes"( checked)?/g)].map(([, scope, ticked]) => [
      scope,
      ticked !== undefined,
    ]);
    expect(boxes).toEqual([
      ['wallet:pay', true],
      ['wallet:balance', false],
      ['user:read:extended', false],
      ['user:read', false],
    ]);
  });

  it('gives each box a label, and a note where there is one', () => {
    const page = consentPage(view);
    for (const [, id] of page.matchAll(/<input type="checkbox" id="([^"]+)"/g)) expect(page).toContain(`<label for="${id}">`);
    expect(page).toMatch(/id="scope-0"[^>]* aria-describedby="scope-0-note"/);
    expect(page).toContain('id="scope-0-note">You confirm each payment');
  });

  it('has a first submit button that decides nothing', () => {
    const [first = ''] = /<button[^>]*>/.exec(consentPage(view)) ?? [];
    expect(first).toContain('type="submit"');
    expect(first).not.toContain('name=');
    expect(first).toContain(' hidden');
  });

  it('has no boxes when everything was allowed before', () => {
    const page = consentPage({ ...view, asked: [], allowed: scopes.map(scopeCard) });
    expect(page).not.toMatch(/checkbox|formaction|fieldset/);
    expect(page).toContain('See how much money is in your wallet');
  });
});

describe('the page that goes on', () => {
  it('goes at once, has a link for who is not taken, and escapes the address', () => {
    const page = onwardPage('https://x.example/a?b="1"&c');
    expect(page).toContain('<meta http-equiv="refresh" content="0; url=https://x.example/a?b=&quot;1&quot;&amp;c">');
    expect(page).toContain('<a href="https://x.example/a?b=&quot;1&quot;&amp;c">');
    expect(page).not.toMatch(/<script/);
  });
});

describe('colours', () => {
  const scheme = (css: string): Record<string, string> =>
    Object.fromEntries([...css.matchAll(/--([a-z-]+): (#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value]));
  const [light = '', dark = ''] = styles.split('@media (prefers-color-scheme: dark)');
  const luminance = (hex: string): number => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
      const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string): number => {
    const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const pairs: [string, string, number][] = [
    ['text', 'surface', 7],
    ['text', 'page', 7],
    ['quiet', 'surface', 4.5],
    ['quiet', 'page', 4.5],
    ['accent', 'surface', 4.5],
    ['on-accent', 'accent', 4.5],
    ['on-accent', 'accent-strong', 4.5],
    ['accent', 'tint', 4.5],
    ['accent-strong', 'tint', 4.5],
    ['text', 'tint', 4.5],
    ['bad', 'surface', 4.5],
    ['bad', 'bad-tint', 4.5],
    ['text', 'bad-tint', 4.5],
    ['warn', 'warn-tint', 4.5],
    ['good', 'good-tint', 4.5],
    ['field', 'surface', 3],
    ['accent', 'page', 3],
  ];

  it.each([
    ['light', scheme(light)],
    ['dark', { ...scheme(light), ...scheme(dark.split('}')[0] ?? '') }],
  ] as const)('of the %s scheme meet WCAG AA', (_name, colours) => {
    for (const [front, back, least] of pairs) {
      expect(contrast(colours[front] ?? '', colours[back] ?? ''), `${front} on ${back}`).toBeGreaterThanOrEqual(least);
    }
  });
});

describe('the policy of a page', () => {
  it('names the origin the code goes to and nothing else of the address', () => {
    expect(contentSecurityPolicy('https://app.example:8443/cb?x=1;script-src *')).toContain(
      "form-action 'self' https://app.example:8443; base-uri",
    );
    expect(contentSecurityPolicy(undefined)).toContain("form-action 'self'; base-uri");
  });
});

describe('scopes', () => {
  const app = {
    scopes: ['user:read', 'wallet:pay', 'wallet:admin', 'made:up'],
    classification: 'community' as const,
    preapprovedScopes: ['user:read', 'wallet:pay'],
  };

  it('may be asked for only when known, registered and of the class of the app', () => {
    expect(['user:read', 'wallet:pay'].every((scope) => mayAsk(app, scope))).toBe(true);
    expect(['wallet:balance', 'wallet:admin', 'made:up', 'openid', 'constructor'].some((scope) => mayAsk(app, scope))).toBe(false);
    expect(mayAsk({ ...app, classification: 'official' }, 'wallet:admin')).toBe(true);
  });

  it('pass unasked only when they are of the lowest risk', () => {
    expect(['storage:read', 'storage:write', 'user:read'].every((scope) => passesUnasked(app, scope))).toBe(true);
    expect(passesUnasked({ preapprovedScopes: [] }, 'user:read')).toBe(false);
    const everything = { preapprovedScopes: allScopes };
    expect(allScopes.filter((scope) => passesUnasked(everything, scope)).every((scope) => scopeCard(scope).sensitivity === 'low')).toBe(
      true,
    );
  });

  it('each have a hash of their own', () => {
    expect(new Set(allScopes.map(scopeHash)).size).toBe(allScopes.length);
  });
});

describe('a typed user name', () => {
  it.each([
    ['alice', '@alice:x.example'],
    ['@alice', '@alice:x.example'],
    [' Alice ', '@alice:x.example'],
    ['@alice:x.example', '@alice:x.example'],
    ['alice:x.example', '@alice:x.example'],
    ['@bob:other.example', '@bob:other.example'],
  ])('%j means %s', (typed, userId) => {
    expect(userIdOf(typed, 'x.example')).toBe(userId);
  });

  it('is cut where no account can be as long', () => {
    expect(userIdOf('a'.repeat(1_000), 'x').length).toBeLessThan(300);
  });
});
