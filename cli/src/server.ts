/** Requests to a control plane's public port. */
import type { Problem } from '@simmer/protocol/errors';
import { EXIT, exitCodeOf, Failure } from './failure.ts';

export interface Settings {
  /** Of the public port, without a slash at its end. */
  readonly url: string;
  /** An API key or a JWT; '' for none. */
  readonly key: string;
}

export interface Request {
  readonly method?: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

export class Server {
  private readonly settings: Settings;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** Where a function is called by any HTTP request. */
  urlOf(name: string): string {
    return `${this.settings.url}/fn/${name}`;
  }

  /** The answer's JSON; undefined where it has no body. @throws Failure where it is no success. */
  async call(path: string, request: Request = {}): Promise<unknown> {
    const { method = 'GET', query = {}, headers = {}, body, signal } = request;
    const url = new URL(this.settings.url + path);
    for (const [name, value] of given(query)) url.searchParams.set(name, value);
    const { key } = this.settings;
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method,
        headers: {
          ...(key !== '' && { authorization: `Bearer ${key}` }),
          ...Object.fromEntries(given(headers)),
        },
        ...(body !== undefined && { body: body as string }),
        ...(signal && { signal }),
      });
      text = await response.text();
    } catch (error) {
      const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
      const why = cause?.message || cause?.code || message;
      throw new Failure(EXIT.unreachable, `no answer from ${url.origin}: ${why}`);
    }
    const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
    if (response.ok) return text === '' ? undefined : isJson ? JSON.parse(text) : text;
    if (!isJson) {
      const detail = `${url.origin} answered ${response.status} ${response.statusText}`;
      throw new Failure(exitCodeOf(response.status), detail);
    }
    const problem = JSON.parse(text) as Problem;
    const again = response.headers.get('retry-after');
    const hint = again === null ? '' : ` Try again in ${again} s.`;
    const message = `${problem.code}: ${problem.detail}${hint}`;
    throw new Failure(exitCodeOf(response.status), message, problem);
  }
}

function given(values: Readonly<Record<string, string | undefined>>): [string, string][] {
  return Object.entries(values).filter((pair): pair is [string, string] => pair[1] !== undefined);
}
