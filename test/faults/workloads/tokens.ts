/**
 * Refresh tokens, redeemed one after the other, and now and then twice at the same time on two nodes: each gives one child at most (I11), and
 * a child that was answered works.
 */
import { signIn } from '../../../scripts/lib/sign-in.ts';
import type { Device, Person } from '../device.ts';
import { appId } from '../device.ts';
import { pause } from '../time.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

const redirectUri = 'http://127.0.0.1:8081/callback';
const raceShare = 0.05;
const lateUseMs = 30_000;

type Answer =
  | { readonly kind: 'child'; readonly token: string }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

interface Family {
  readonly person: Person;
  /** The newest token that was answered; undefined: the family is over. */
  token: string | undefined;
  /** An answer was lost: until then (`performance.now()`) a late second use may still end the family. */
  doubtfulUntil: number;
}

export async function tokensWorkload(stage: Stage, people: number, pauseMs: number): Promise<Workload> {
  const { world } = stage;
  const families = await Promise.all(
    Array.from({ length: people }, async (_, index): Promise<Family> => {
      const person = await stage.town.person(`${stage.prefix}holder${index}`, { password: true });
      return { person, token: undefined, doubtfulUntil: 0 };
    }),
  );
  const counts = { rotations: 0, races: 0, families: 0, twice: 0, dead: 0 };
  const notes: string[] = [];
  const crew = new Crew();
  let turn = 0;
  const anyNode = (): string => world.nodes[turn++ % world.nodes.length]?.origin ?? world.origin;

  async function redeem(token: string, origin: string): Promise<Answer> {
    try {
      const response = await fetch(`${origin}/oauth2/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', client_id: appId, refresh_token: token }),
        signal: AbortSignal.timeout(8_000),
      });
      const body = (await response.json().catch(() => ({}))) as { refresh_token?: string; error?: unknown };
      if (response.ok && body.refresh_token !== undefined) return { kind: 'child', token: body.refresh_token };
      if (response.status === 400 && body.error === 'invalid_grant') return { kind: 'refused', why: `${origin} ${JSON.stringify(body)}` };
      return { kind: 'unknown', why: `${response.status} ${JSON.stringify(body)}` };
    } catch (error) {
      return { kind: 'unknown', why: String(error) };
    }
  }

  async function rotate(family: Family): Promise<void> {
    if (family.token === undefined) {
      const { user } = family.person;
      const signedIn = await signIn({
        issuer: world.origin,
        clientId: appId,
        redirectUri,
        scope: 'storage:read wallet:balance',
        user: { userId: user.user_id, password: user.password, now: Date.now },
      }).catch(() => undefined);
      family.token = signedIn?.tokens.refresh_token;
      family.doubtfulUntil = 0;
      if (family.token === undefined) await pause(500);
      else counts.families++;
      return;
    }
    const { token } = family;
    const race = Math.random() < raceShare;
    const places = race ? [anyNode(), anyNode()] : [Math.random() < 0.5 ? world.origin : anyNode()];
    const answers = await Promise.all(places.map((place) => redeem(token, place)));
    const children = answers.filter((answer) => answer.kind === 'child');
    if (race) counts.races++;
    counts.rotations += children.length;
    if (children.length > 1 || (children.length === 1 && used.has(token))) {
      counts.twice++;
      notes.push(`a refresh token of ${family.person.user.user_id} was redeemed twice`);
    }
    if (children.length > 0) used.add(token);
    if (race) {
      // A second use ends the family, as it should.
      family.token = undefined;
    } else if (children[0] !== undefined) {
      family.token = children[0].token;
    } else if (answers[0]?.kind === 'refused') {
      if (performance.now() > family.doubtfulUntil) {
        counts.dead++;
        notes.push(`a refresh token of ${family.person.user.user_id} that was answered and never used was refused by ${answers[0].why}`);
      }
      family.token = undefined;
    } else {
      family.doubtfulUntil = performance.now() + lateUseMs;
      await pause(200);
    }
    await pause(pauseMs);
  }
  const used = new Set<string>();

  return {
    name: 'refresh tokens',
    invariants: 'I1 I11',
    devices: [] satisfies Device[],
    start() {
      for (const family of families) crew.run(() => rotate(family));
    },
    stop: () => crew.stop(),
    async verify(): Promise<Verdict> {
      return {
        violations: { redeemed_twice: counts.twice, answered_and_dead: counts.dead },
        done: { rotations: counts.rotations, races: counts.races, families: counts.families },
        notes,
      };
    },
  };
}
