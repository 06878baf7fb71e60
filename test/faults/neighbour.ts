/** The doors under `/dev/` answer a node's own machine alone; the harness comes in through its relay. */
import { request } from 'node:http';

/** Posts as somebody on the node's own machine would; `fetch` does not let anybody choose the Host. */
export function askAsNeighbour<T>(url: string, body: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', host: '127.0.0.1' };
    const asked = request(url, { method: 'POST', headers, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.once('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as T);
        else reject(new Error(`${url} answered ${response.statusCode}: ${text}`));
      });
    });
    asked.once('timeout', () => asked.destroy(new Error(`${url} did not answer`)));
    asked.once('error', reject);
    asked.end(JSON.stringify(body));
  });
}
