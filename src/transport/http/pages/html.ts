/** HTML as values: every interpolated text is escaped, only `Html` passes as it is. */

/** Markup that is safe to put into a page. */
export class Html {
  readonly #markup: string;

  constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }
}

type Part = string | number | Html | undefined | false | readonly Html[];

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Characters that turn the direction of what follows: in the name of an app they would turn our own words around it. */
const turning = /[\u202a-\u202e\u2066-\u2069]/g;

/** Builds markup; texts and numbers are escaped, `undefined` and `false` leave nothing. Attribute values must be quoted in the template. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  let out = strings[0] ?? '';
  parts.forEach((part, index) => {
    out += `${rendered(part)}${strings[index + 1] ?? ''}`;
  });
  return new Html(out);
}

function rendered(part: Part): string {
  if (part === undefined || part === false) return '';
  if (part instanceof Html) return part.toString();
  if (typeof part === 'string' || typeof part === 'number')
    return String(part)
      .replace(turning, '')
      .replace(/[&<>"']/g, (char) => entities[char] ?? char);
  return part.map(String).join('');
}
