/**
 * Paths to handlers, over the raw path: a parameter is one segment, still percent-encoded. Static paths are one look-up; those
 * with parameters are tried by their number of segments. Pure.
 */
export interface Found<T> {
  readonly target: T;
  /** Raw segments of the parameters, in the order of the pattern. */
  readonly parameters: readonly string[];
}

interface Pattern<T> {
  readonly segments: readonly (string | null)[];
  readonly targets: Map<string, T>;
}

export class Router<T> {
  readonly #static = new Map<string, Map<string, T>>();
  readonly #patterns = new Map<number, Pattern<T>[]>();

  /** Adds a route; `path` holds `{name}` segments. Throws when it is there already. */
  add(method: string, path: string, target: T): void {
    const targets = path.includes('{') ? this.#pattern(path) : this.#exact(path);
    if (targets.has(method)) throw new Error(`there are two routes for ${method} ${path}`);
    targets.set(method, target);
  }

  /** The route of a request; the methods that the path has instead; or undefined when there is no such path. */
  find(method: string, path: string): Found<T> | { readonly allowed: readonly string[] } | undefined {
    const exact = this.#static.get(path);
    if (exact !== undefined) return chosen(exact, method, none);
    const segments = path.split('/');
    for (const pattern of this.#patterns.get(segments.length) ?? []) {
      if (pattern.segments.every((segment, index) => (segment === null ? segments[index] !== '' : segment === segments[index]))) {
        return chosen(
          pattern.targets,
          method,
          segments.filter((_, index) => pattern.segments[index] === null),
        );
      }
    }
    return undefined;
  }

  #exact(path: string): Map<string, T> {
    const known = this.#static.get(path);
    if (known !== undefined) return known;
    const made = new Map<string, T>();
    this.#static.set(path, made);
    return made;
  }

  #pattern(path: string): Map<string, T> {
    const segments = path.split('/').map((segment) => (segment.startsWith('{') ? null : segment));
    const list = this.#patterns.get(segments.length) ?? [];
    this.#patterns.set(segments.length, list);
    const known = list.find((pattern) => pattern.segments.every((segment, index) => segment === segments[index]));
    if (known !== undefined) return known.targets;
    const made: Pattern<T> = { segments, targets: new Map() };
    list.push(made);
    // Where two patterns fit, the one that is fixed further to the left is meant.
    const shape = (pattern: Pattern<T>): string => pattern.segments.map((segment) => (segment === null ? 1 : 0)).join('');
    list.sort((a, b) => (shape(a) < shape(b) ? -1 : 1));
    return made.targets;
  }
}

const none: readonly string[] = [];

function chosen<T>(
  targets: ReadonlyMap<string, T>,
  method: string,
  parameters: readonly string[],
): Found<T> | { readonly allowed: readonly string[] } {
  const target = targets.get(method);
  return target === undefined ? { allowed: [...targets.keys()] } : { target, parameters };
}
