/** Loads `.sql` files that lie beside the module that runs them. Read once, at import. */
import { readFileSync } from 'node:fs';

/** The text of the statement in `name`, relative to `base` (`import.meta.url`). Throws at start when it is not there. */
export function loadSql(base: string, name: string): string {
  return readFileSync(new URL(name, base), 'utf8');
}
