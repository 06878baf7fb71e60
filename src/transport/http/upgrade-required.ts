/** A plain GET on the live binding's path: it says what is missing (RFC 9110, section 15.5.22). */
import { errorBody } from './error-body.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { PlainRoute } from './gateway.ts';

export const upgradeRequired: PlainRoute = {
  handle(exchange) {
    const error = new TmcpError('INVALID_REQUEST', 'This address takes WebSocket connections');
    exchange.json(426, errorBody(error, exchange.requestId, toIso(exchange.now())), { headers: [['Upgrade', 'websocket']] });
  },
};
