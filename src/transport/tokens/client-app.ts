/** Which mini-app an OAuth client id stands for. A hybrid app has a second, confidential client: its id with `_backend`. */
import type { AppDirectory, AppRecord } from '../../actors/ports.ts';

export const backendSuffix = '_backend';

/** The app behind `clientId`, whatever its status. An app whose own id ends in the suffix is found first. */
export async function appOfClient<A extends AppRecord>(
  find: (appId: string) => Promise<A | undefined>,
  clientId: string,
): Promise<A | undefined> {
  const app = await find(clientId);
  if (app !== undefined || !clientId.endsWith(backendSuffix)) return app;
  const base = await find(clientId.slice(0, -backendSuffix.length));
  return base?.clientType === 'hybrid' ? base : undefined;
}

/** The client ids an app goes by. */
export function clientIdsOf(app: Pick<AppRecord, 'appId' | 'clientType'>): string[] {
  return app.clientType === 'hybrid' ? [app.appId, `${app.appId}${backendSuffix}`] : [app.appId];
}

/** `appOfClient` over a directory. */
export function appOfClientIn(apps: AppDirectory, clientId: string): Promise<AppRecord | undefined> {
  return appOfClient((appId) => apps.find(appId), clientId);
}
