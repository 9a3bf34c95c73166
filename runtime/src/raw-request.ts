/** The HTTP request of a raw call, as a default-export handler sees it in `ctx.request`. */
import type { HeaderPairs } from '@simmer/protocol/frames';

export class RawRequest {
  readonly method: string;
  /** Path below the function, with the query, as the client sent it. */
  readonly target: string;
  readonly #pairs: HeaderPairs;

  constructor(method: string, target: string, pairs: HeaderPairs) {
    this.method = method;
    this.target = target;
    this.#pairs = pairs;
  }

  /** Without the query; not decoded. */
  get path(): string {
    const mark = this.target.indexOf('?');
    return mark === -1 ? this.target : this.target.slice(0, mark);
  }

  get query(): URLSearchParams {
    const mark = this.target.indexOf('?');
    return new URLSearchParams(mark === -1 ? '' : this.target.slice(mark + 1));
  }

  /** By lower-case name; several of one name are joined as HTTP says (`; ` for cookies, `, ` else). */
  get headers(): Readonly<Record<string, string>> {
    const headers: Record<string, string> = Object.create(null);
    for (const [name, value] of this.#pairs) {
      const before = headers[name];
      headers[name] =
        before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
    }
    return headers;
  }
}

/** The first header of that name, or undefined. */
export function firstHeader(pairs: HeaderPairs, name: string): string | undefined {
  for (const [key, value] of pairs) if (key === name) return value;
  return undefined;
}
