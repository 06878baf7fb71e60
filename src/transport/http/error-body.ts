/** The error envelope of the HTTP binding (protocol section 29.1), with the members some codes show outside `details`. */
import { errorTable, type TmcpError } from '../../protocol/errors.ts';

type Members = Readonly<Record<string, unknown>>;

/** The body of a refusal. An `INTERNAL_ERROR` says nothing but its code. */
export function errorBody(error: TmcpError, requestId: string, timestamp: string): Members {
  const { code } = error;
  const internal = code === 'INTERNAL_ERROR';
  const details: Members | undefined = internal ? undefined : error.details;
  const envelope = {
    code,
    message: internal ? errorTable.INTERNAL_ERROR.message : error.message,
    ...(details === undefined ? {} : { details }),
    timestamp,
    request_id: requestId,
    ...(error.retryAfter === undefined ? {} : { retry_after: error.retryAfter }),
  };
  if (details === undefined) return { error: envelope };
  switch (code) {
    // Protocol 15.1: the challenge is the answer, the error stands beside it.
    case 'MFA_REQUIRED':
      return { ...details, error: envelope };
    // Protocol 15.2.
    case 'INVALID_MFA_CREDENTIALS': {
      const { attempts_remaining: left, retry_allowed: allowed = left !== 0 } = details;
      return {
        status: 'failed',
        retry_allowed: allowed,
        error: { ...envelope, ...(left === undefined ? {} : { attempts_remaining: left }) },
      };
    }
    case 'MFA_LOCKED':
      return { error: { ...envelope, ...pick(details, ['locked_until']) } };
    // Protocol 28.3.
    case 'RATE_LIMIT_EXCEEDED':
      return { error: { ...envelope, ...pick(details, ['limit', 'window']) } };
    default:
      return { error: envelope };
  }
}

function pick(from: Members, names: readonly string[]): Members {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}
