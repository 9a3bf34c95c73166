/** What a generator is told to do, as it crosses to its process, and the requests it makes of it. */

export interface LoadSpec {
  readonly port: number;
  /** Of loopback, that its connections come from; by default the system's choice. */
  readonly localAddress?: string;
  readonly method: 'GET' | 'POST';
  /** One request each; which comes next is drawn by `pathZipf`. */
  readonly paths: readonly string[];
  /** Exponent of the Zipf law over `paths`: 0 draws them evenly. */
  readonly pathZipf?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Size of the JSON envelope that is sent. */
  readonly bodyBytes: number;
  /** Answers of the first part are not recorded; they are counted among `sent` and `answered`. */
  readonly warmupMs: number;
  /** Then this long is measured. */
  readonly durationMs: number;
  /** No more than this many requests in all. */
  readonly maxRequests?: number;
  /** How long the last answers are waited for once nothing more is sent. */
  readonly drainMs?: number;
  readonly mode: ClosedLoop | OpenLoop;
}

/** So many connections, each of which sends its next request on the answer to its last. */
export interface ClosedLoop {
  readonly loop: 'closed';
  readonly connections: number;
  /** So many more are opened first and carry nothing. */
  readonly idleConnections?: number;
  /** One WebSocket instead, with as many requests in flight: `paths` is one `:invoke`. */
  readonly websocket?: boolean;
}

/** A request every 1/rate seconds, or at the times that are given, whatever the answers do. */
export interface OpenLoop {
  readonly loop: 'open';
  readonly ratePerS: number;
  /** Milliseconds from the start, rising; then `ratePerS` says nothing. */
  readonly atMs?: readonly number[];
  /** Connections are opened when all are busy, up to this; then what is due waits, and its wait counts. */
  readonly maxConnections: number;
}

export const DEFAULT_MAX_REQUESTS = 10_000_000;
export const DEFAULT_DRAIN_MS = 10_000;
/** A scenario that asks for more has a mistake in it. */
export const MAX_LOAD_MS = 180_000;

/** An `:invoke` envelope of exactly `bytes` bytes: a few fields, and text for the rest. */
export function envelope(bytes: number): Buffer {
  const make = (text: string) =>
    JSON.stringify({ input: { id: 4711, kind: 'greeting', tags: ['a', 'b', 'c'], text } });
  const overhead = make('').length;
  if (bytes < overhead) throw new RangeError(`an envelope has at least ${overhead} bytes`);
  return Buffer.from(make('x'.repeat(bytes - overhead)));
}

/** The whole request as it goes to the socket, one for each path. */
export function requestsOf(spec: LoadSpec): Buffer[] {
  const body = spec.method === 'GET' ? Buffer.alloc(0) : envelope(spec.bodyBytes);
  const lines = Object.entries(spec.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  if (body.length > 0) {
    lines.push(`content-type: application/json\r\ncontent-length: ${body.length}\r\n`);
  }
  return spec.paths.map((path) => {
    const head = `${spec.method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${spec.port}\r\n${lines.join('')}\r\n`;
    return Buffer.concat([Buffer.from(head), body]);
  });
}

/** Draws indices below `count` by a Zipf law; the same sequence in every run. */
export function zipf(count: number, exponent: number): () => number {
  if (count === 1) return () => 0;
  const cumulative: number[] = [];
  let sum = 0;
  for (let i = 1; i <= count; i++) {
    sum += i ** -exponent;
    cumulative.push(sum);
  }
  let seed = 0x9e3779b9;
  return () => {
    // xorshift32: cheap, and reproducible where Math.random is not
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    const wanted = ((seed >>> 0) / 2 ** 32) * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] as number) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
