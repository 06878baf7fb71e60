/** A browser as small as it can be: cookies by path, redirects, and the forms of a page. */
import { createHash, randomBytes } from 'node:crypto';

export interface Page {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly forms: readonly Form[];
}

export interface Form {
  readonly action: string;
  readonly fields: Readonly<Record<string, string>>;
  /** Names and values of its submit buttons. */
  readonly buttons: readonly { readonly name: string; readonly value: string }[];
}

interface Cookie {
  readonly value: string;
  readonly path: string;
}

export class Browser {
  readonly #origin: string;
  readonly cookies = new Map<string, Cookie>();
  readonly setCookies: string[] = [];

  constructor(origin: string) {
    this.#origin = origin;
  }

  /** Opens an address and follows redirects inside the origin; one that leads outside is given back unfollowed. */
  async open(url: string, init: { method?: string; body?: URLSearchParams; headers?: Record<string, string> } = {}): Promise<Page> {
    let address = new URL(url, this.#origin);
    let request = init;
    for (let hops = 0; hops < 10; hops += 1) {
      const cookie = [...this.cookies]
        .filter(([, { path }]) => address.pathname.startsWith(path))
        .map(([name, { value }]) => `${name}=${value}`);
      const response = await fetch(address, {
        method: request.method ?? 'GET',
        redirect: 'manual',
        headers: { accept: 'text/html', ...(cookie.length === 0 ? {} : { cookie: cookie.join('; ') }), ...request.headers },
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      this.#keep(response.headers.getSetCookie());
      const location = response.headers.get('location');
      if (location === null) return pageOf(address.href, response, await response.text());
      const next = new URL(location, address);
      if (next.origin !== this.#origin) return pageOf(next.href, response, '');
      address = next;
      request = {};
    }
    throw new Error('too many redirects');
  }

  /** Sends the page's form whose action ends in `step`, with what was typed and the button pressed. */
  submit(page: Page, step: string, typed: Record<string, string> = {}, headers: Record<string, string> = {}): Promise<Page> {
    const form = page.forms.find(({ action }) => action.endsWith(`/${step}`));
    if (form === undefined) throw new Error(`no form ${step} on ${page.url}: ${page.text.slice(0, 2_000)}`);
    return this.open(form.action, { method: 'POST', body: new URLSearchParams({ ...form.fields, ...typed }), headers });
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) {
      this.setCookies.push(line);
      const [pair = '', ...attributes] = line.split(/; */);
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(pair.indexOf('=') + 1);
      const path = attributes.find((attribute) => attribute.startsWith('path='))?.slice(5) ?? '/';
      if (value === '' || attributes.some((attribute) => attribute.startsWith('expires=Thu, 01 Jan 1970'))) this.cookies.delete(name);
      else this.cookies.set(name, { value, path });
    }
  }
}

function pageOf(url: string, response: Response, text: string): Page {
  const forms = [...text.matchAll(/<form method="post" action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/g)].map(([, action = '', inner = '']) => {
    const fields: Record<string, string> = {};
    for (const [tag] of inner.matchAll(/<input [^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(tag)?.[1];
      if (name !== undefined) fields[name] = unescape(/value="([^"]*)"/.exec(tag)?.[1] ?? '');
    }
    const buttons = [...inner.matchAll(/<button [^>]*name="([^"]*)" value="([^"]*)"/g)].map(([, name = '', value = '']) => ({
      name,
      value,
    }));
    return { action: unescape(action), fields, buttons };
  });
  return { url, status: response.status, headers: response.headers, text, forms };
}

function unescape(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
}

export function pkce(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

export interface AuthorizeRequest {
  readonly clientId: string;
  readonly redirectUri: string;
  readonly scope: string;
  readonly challenge: string;
  readonly extra?: Record<string, string>;
}

/** `/oauth2/authorize?…`; a member of `extra` that is empty is left out of the query. */
export function authorizeUrl(request: AuthorizeRequest): string {
  const params = new URLSearchParams({
    response_type: 'code',
    client_id: request.clientId,
    redirect_uri: request.redirectUri,
    scope: request.scope,
    state: 'state-1',
    code_challenge: request.challenge,
    code_challenge_method: 'S256',
  });
  for (const [name, value] of Object.entries(request.extra ?? {})) {
    if (value === '') params.delete(name);
    else params.set(name, value);
  }
  return `/oauth2/authorize?${params}`;
}

/** Walks the pages as a person who allows what is asked; gives the address the browser is sent to at the end. */
export async function signInAndAllow(browser: Browser, url: string, user: { userId: string; password: string }): Promise<URL> {
  let page = await browser.open(url);
  for (let steps = 0; steps < 5; steps += 1) {
    if (page.forms.some(({ action }) => action.endsWith('/sign-in')))
      page = await browser.submit(page, 'sign-in', { account: user.userId, password: user.password });
    else if (page.forms.some(({ action }) => action.endsWith('/consent')))
      page = await browser.submit(page, 'consent', { decision: 'allow' });
    else break;
  }
  return new URL(page.url);
}
