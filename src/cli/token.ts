/** `tmcp token`: asks the dev door of a running server, so that it can mint nothing where there is no such door. */
import { StartError } from './explain.ts';
import type { Settings } from './settings.ts';

export interface TokenOptions {
  readonly user: string;
  readonly app: string;
  readonly scope: string;
  readonly count: number;
  readonly spread: boolean;
  readonly expiresIn: number;
}

/** Prints `count` tokens, one a line. Errors: one sentence when no `tmcp dev` answers. */
export async function runToken({ config }: Settings, options: TokenOptions): Promise<void> {
  const origin = config.publicUrl ?? `http://127.0.0.1:${config.port}`;
  const scopes = options.scope.split(/\s+/).filter((scope) => scope !== '');
  for (let n = 1; n <= options.count; n++) {
    const user = options.spread ? options.user.replace(':', `-${n}:`) : options.user;
    if (options.spread) await door(origin, 'users', { user_id: user, balance: 1000 });
    const { access_token } = await door<{ access_token: string }>(origin, 'token', {
      user_id: user,
      app_id: options.app,
      scopes,
      expires_in: options.expiresIn,
    });
    process.stdout.write(`${access_token}\n`);
  }
}

async function door<T>(origin: string, name: string, body: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`${origin}/dev/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  } catch {
    throw new StartError(`No server answers at ${origin}: start \`tmcp dev\` first, with the same TMCP_PORT.`);
  }
  const answer = (await response.json().catch(() => ({}))) as T & { error?: { code: string; message: string } };
  const noDoor = response.status === 404 && (answer.error?.code ?? 'NOT_FOUND') === 'NOT_FOUND';
  if (noDoor) throw new StartError(`The server at ${origin} has no dev doors: tokens are printed only by \`tmcp dev\`.`);
  if (!response.ok)
    throw new StartError(
      `${answer.error?.code ?? response.status}: ${answer.error?.message ?? 'refused'} (${origin}/dev/fixtures lists users, apps and scopes)`,
    );
  return answer;
}
