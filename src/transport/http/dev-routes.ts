/** The doors of `tmcp dev` as routes: JSON in, JSON out, for this machine only. Anybody else is told that there is nothing. */
import { decodeFrame, UndecodableFrame } from '../../protocol/codec.ts';
import { asTmcpError, TmcpError } from '../../protocol/errors.ts';
import type { GatewayOptions } from './gateway.ts';

/** `METHOD name` to what answers `METHOD /dev/name`. */
export type DevDoors = ReadonlyMap<string, (body: unknown) => Promise<unknown>>;

const bodyBytes = 64 * 1024;

/** The routes of `doors`. */
export function devRoutes(doors: DevDoors): GatewayOptions['routes'] {
  return [...doors].map(([name, door]) => {
    const [method, path] = name.split(' ') as [string, string];
    return {
      method,
      path: `/dev/${path}`,
      route: {
        bodyBytes,
        async handle(exchange, body) {
          if (!exchange.local) {
            exchange.fail(new TmcpError('NOT_FOUND'));
            return;
          }
          try {
            exchange.json(200, (await door(body === undefined ? undefined : decodeFrame('json', body))) ?? {});
          } catch (error) {
            exchange.fail(
              error instanceof UndecodableFrame ? new TmcpError('INVALID_REQUEST', 'The body is not JSON') : asTmcpError(error),
            );
          }
        },
      },
    };
  });
}
