/**
 * An echo on the WebSocket layer that ships.
 *
 * Ours as shipped: the library binary that `src/transport/uws.ts` loads, the options `src/transport/live/live.ts` gives it (taken from
 * the server that mounts them, not copied), and the door that answers the handshake. Not ours: the handlers behind it, which send
 * every message back as it came, and `maxPayloadLength`, raised to the largest message of the table. So the table speaks of framing,
 * control frames, fragments, UTF-8 and closing as the library does them under our options, and not of what TMCP makes of a message.
 */
import { vi } from 'vitest';
import { listen } from '../../../src/transport/listen.ts';
import { livePath } from '../../../src/transport/live/live.ts';
import { uws, type WebSocketBehavior } from '../../../src/transport/uws.ts';
import { startLiveServer } from '../../support/live-server.ts';

/** 16 MiB: cases 9.1.6 and 9.2.6. */
export const largestMessage = 16 * 1024 * 1024;

export interface EchoServer extends AsyncDisposable {
  readonly port: number;
  readonly path: string;
}

/** Starts it on a free port. */
export async function startEchoServer(): Promise<EchoServer> {
  const { shipped, live } = await shippedBehaviour();
  const app = uws.App();
  app.ws(livePath, {
    ...shipped,
    maxPayloadLength: largestMessage,
    open: () => {},
    message: (ws, message, isBinary) => void ws.send(message, isBinary, false),
    drain: () => {},
    ping: () => {},
    pong: () => {},
    close: () => {},
  });
  const port = await listen(app, '127.0.0.1', 0);
  return {
    port,
    path: livePath,
    async [Symbol.asyncDispose]() {
      app.close();
      await live[Symbol.asyncDispose]();
    },
  };
}

/** What the server gave the library for `/v1/live`, and the server, whose door goes on answering. */
async function shippedBehaviour(): Promise<{ shipped: WebSocketBehavior<unknown>; live: AsyncDisposable }> {
  const { App } = uws;
  let shipped: WebSocketBehavior<unknown> | undefined;
  const factory = vi.spyOn(uws, 'App').mockImplementation((...options) => {
    const app = App(...options);
    const mount = app.ws.bind(app);
    app.ws = (pattern, behaviour) => {
      if (pattern === livePath) shipped = behaviour as WebSocketBehavior<unknown>;
      return mount(pattern, behaviour);
    };
    return app;
  });
  try {
    const live = await startLiveServer();
    if (shipped === undefined) throw new Error(`the server mounted nothing on ${livePath}`);
    return { shipped, live };
  } finally {
    factory.mockRestore();
  }
}
