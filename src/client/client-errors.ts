/** What the SDK rejects with beside `TmcpError`. A `TmcpError` is an answer; these say that there was none, or that nothing was asked. */

/** The connection went away before the answer, and the call is not safe to repeat: whether it took effect is not known. */
export class ConnectionLostError extends Error {
  constructor(method: string, why = 'the connection was lost before it was answered') {
    super(`${method}: ${why}`);
    this.name = 'ConnectionLostError';
  }
}

/** No answer came in time. As after a lost connection, whether the call took effect is not known. */
export class CallTimeoutError extends ConnectionLostError {
  constructor(method: string, timeoutMs: number) {
    super(method, `no answer came within ${timeoutMs} ms`);
    this.name = 'CallTimeoutError';
  }
}

/** The offline queue is at its bound; the write was not taken. Try again when some of it was pushed. */
export class QueueFullError extends Error {
  constructor(ops: number, bytes: number) {
    super(`the offline queue is full: ${ops} writes, ${bytes} bytes wait to be pushed`);
    this.name = 'QueueFullError';
  }
}
