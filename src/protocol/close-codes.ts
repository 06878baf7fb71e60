/**
 * WebSocket close codes of the live binding and what a client does at each (live binding, section 3).
 * Imports nothing: it ships inside the SDK.
 */

export const closeCodes = {
  frameTooLarge: 1009,
  draining: 1012,
  overloaded: 1013,
  protocolViolation: 4400,
  tokenInvalid: 4401,
  accessRevoked: 4403,
  notOpenedInTime: 4408,
  replaced: 4409,
  flooding: 4429,
  internalFailure: 4500,
} as const;

export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes];

/** What the client does after the close. */
export type AfterClose = 'resume' | 'refresh-token' | 'wait' | 'stop';

/** The client's reaction to a close code; unknown codes follow their range: 4000–4399 reconnect, 4400–4499 do not. */
export function afterClose(code: number): AfterClose {
  switch (code) {
    case closeCodes.tokenInvalid:
      return 'refresh-token';
    case closeCodes.notOpenedInTime:
      return 'resume';
    case closeCodes.flooding:
      return 'wait';
    default:
      return code >= 4400 && code < 4500 ? 'stop' : 'resume';
  }
}
