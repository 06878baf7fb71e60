/** `/metrics` on a listener of its own: it asks for no credentials, so it is bound to loopback unless an operator says otherwise. */
import { uws } from '../uws.ts';
import { listen } from '../listen.ts';

export interface MetricsServerOptions {
  readonly host: string;
  readonly port: number;
  /** The text of a scrape. */
  text(): Promise<string>;
  readonly contentType: string;
  onError(error: unknown): void;
}

/** Starts it. Errors: rejects when the port is taken. */
export async function startMetricsServer(options: MetricsServerOptions): Promise<{ readonly port: number; close(): void }> {
  const app = uws.App();
  app.get('/metrics', (res) => {
    let aborted = false;
    res.onAborted(() => {
      aborted = true;
    });
    options.text().then(
      (text) => {
        if (!aborted) res.cork(() => res.writeHeader('Content-Type', options.contentType).end(text));
      },
      (error: unknown) => {
        options.onError(error);
        if (!aborted) res.cork(() => res.writeStatus('500 Internal Server Error').end());
      },
    );
  });
  app.any('/*', (res) => void res.writeStatus('404 Not Found').end());
  const port = await listen(app, options.host, options.port);
  return { port, close: () => void app.close() };
}
