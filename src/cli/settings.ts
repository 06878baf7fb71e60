/** What every command gets from `main.ts`. */
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';

export interface Settings {
  readonly config: Config;
  readonly log: Logger;
}
