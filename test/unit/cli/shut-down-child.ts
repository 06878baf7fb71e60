/** A process that stops when it is told to end its work, for shut-down.test.ts; it says over its channel what happens to it. */
import { onStopSignal, requestStop, takeSignals } from '../../../src/cli/shut-down.ts';
import { createLogger } from '../../../src/log.ts';

const say = (word: string): void => void process.send?.(word);
let end: () => void = () => {};
const ended = new Promise<void>((resolve) => {
  end = resolve;
});

takeSignals();
process.on('message', (word) => {
  if (word === 'run') {
    onStopSignal({
      stop() {
        say('stopping');
        return ended;
      },
      boundMs: 60_000,
      log: createLogger({ logLevel: 'silent' }),
    });
    say('running');
  }
  if (word === 'request') {
    requestStop();
    say('requested');
  }
  if (word === 'end') end();
  if (word === 'hello') say('here');
});
say('here');
