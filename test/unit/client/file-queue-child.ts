/** A process that opens a queue, says so, appends writes and says each that is kept, until it is killed. Arguments: path, how many. */
import { FileQueue } from '../../../src/client/node.ts';

const [path = '', count = '0'] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
try {
  const queue = await FileQueue.open(path);
  say('open');
  for (let n = 0; n < Number(count); n++) {
    const counter = await queue.nextCounter();
    await queue.append({ op_id: `device:${counter}`, key: `k${n}`, kind: 'set', value: 'v'.repeat(n % 300), client_timestamp: 1 });
    say(`${counter}`);
  }
  // Nothing else keeps the process.
  setInterval(() => {}, 1_000);
} catch (error) {
  say(`refused ${(error as Error).message}`);
}
