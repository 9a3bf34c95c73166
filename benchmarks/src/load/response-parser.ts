/**
 * The least of HTTP/1.1 that a load generator needs: finds where one response ends and the next begins, and reads its
 * status, its `retry-after` and, of a failure, its body. Bodies of successes are counted and thrown away.
 *
 *     head ──content-length──▶ fixed ──────────────────────────┐
 *      │ └────chunked────────▶ size ─▶ data ─▶ size ... trailer ┤
 *      ▲───────────────────────────── answer ◀─────────────────┘
 *
 * A response without either length runs to the end of the connection: `end()` completes it.
 */
export interface Answer {
  status: number;
  /** The `code` of a problem+json body; empty for a success and where there is none. */
  code: string;
  /** Seconds; -1 without the header. */
  retryAfterS: number;
  bodyBytes: number;
  /** The server closes the connection after this response. */
  close: boolean;
}

type State =
  | { at: 'head' }
  | { at: 'fixed'; left: number }
  | { at: 'size' }
  | { at: 'data'; left: number }
  | { at: 'trailer' }
  | { at: 'toEnd' };

const MAX_HEAD_BYTES = 65_536;
/** Enough of a failure's body to find its code. */
const KEPT_BODY_BYTES = 4_096;
const HEAD_END = Buffer.from('\r\n\r\n');
const HEAD: State = { at: 'head' };
const NOTHING = Buffer.alloc(0);

/** The peer sent what is no HTTP response. */
export class ResponseError extends Error {}

export class ResponseParser {
  private state: State = HEAD;
  /** Bytes of an unfinished head or chunk-size line; copied, for the reader reuses its buffer. */
  private pending: Buffer = NOTHING;
  private kept: Buffer[] = [];
  private keptBytes = 0;
  private readonly answer: Answer = fresh();
  private readonly onAnswer: (answer: Answer) => void;

  /** The Answer given to `onAnswer` is reused for the next one. */
  constructor(onAnswer: (answer: Answer) => void) {
    this.onAnswer = onAnswer;
  }

  /** @throws {ResponseError} */
  push(chunk: Buffer): void {
    let data = chunk;
    if (this.pending.length > 0) {
      data = Buffer.concat([this.pending, chunk]);
      this.pending = NOTHING;
    }
    let p = 0;
    while (p < data.length) {
      const state = this.state;
      switch (state.at) {
        case 'head': {
          const end = data.indexOf(HEAD_END, p);
          if (end === -1) {
            this.keep(data, p);
            return;
          }
          this.readHead(data.toString('latin1', p, end));
          p = end + HEAD_END.length;
          break;
        }
        case 'fixed':
        case 'data': {
          const n = Math.min(state.left, data.length - p);
          this.body(data, p, n);
          p += n;
          state.left -= n;
          if (state.left > 0) break;
          if (state.at === 'fixed') this.complete();
          else this.state = { at: 'size' };
          break;
        }
        case 'size': {
          const end = data.indexOf('\r\n', p, 'latin1');
          if (end === -1) {
            this.keep(data, p);
            return;
          }
          const line = data.toString('latin1', p, end);
          p = end + 2;
          if (line === '') break; // the line break after a chunk's data
          const size = Number.parseInt(line, 16);
          if (!(size >= 0)) throw new ResponseError(`chunk size ${JSON.stringify(line)}`);
          this.state = size === 0 ? { at: 'trailer' } : { at: 'data', left: size };
          break;
        }
        case 'trailer': {
          const end = data.indexOf('\r\n', p, 'latin1');
          if (end === -1) {
            this.keep(data, p);
            return;
          }
          if (end === p) this.complete();
          p = end + 2;
          break;
        }
        case 'toEnd':
          this.body(data, p, data.length - p);
          p = data.length;
          break;
      }
    }
  }

  /** The connection ended. False when it cut a response short. */
  end(): boolean {
    if (this.state.at === 'toEnd') {
      this.complete();
      return true;
    }
    return this.state.at === 'head' && this.pending.length === 0;
  }

  private keep(data: Buffer, from: number): void {
    if (data.length - from > MAX_HEAD_BYTES) throw new ResponseError('head too long');
    this.pending = Buffer.from(data.subarray(from));
  }

  private readHead(head: string): void {
    const status = Number(head.slice(9, 12));
    if (!head.startsWith('HTTP/1.') || !(status >= 100 && status <= 599)) {
      throw new ResponseError(`status line ${JSON.stringify(head.slice(0, 40))}`);
    }
    if (status < 200) return; // interim: the real one follows
    const lower = head.toLowerCase();
    const a = this.answer;
    a.status = status;
    a.code = '';
    a.bodyBytes = 0;
    a.close = header(lower, 'connection') === 'close';
    const retryAfter = status < 400 ? undefined : header(lower, 'retry-after');
    a.retryAfterS = retryAfter === undefined ? -1 : Number(retryAfter);
    const length = header(lower, 'content-length');
    if (status === 204 || status === 304 || length === '0') this.complete();
    else if (length !== undefined) this.state = { at: 'fixed', left: Number(length) };
    else if (header(lower, 'transfer-encoding') === 'chunked') this.state = { at: 'size' };
    else {
      this.state = { at: 'toEnd' };
      a.close = true;
    }
  }

  private body(data: Buffer, at: number, n: number): void {
    this.answer.bodyBytes += n;
    if (this.answer.status < 400 || this.keptBytes >= KEPT_BODY_BYTES) return;
    this.kept.push(Buffer.from(data.subarray(at, at + n)));
    this.keptBytes += n;
  }

  private complete(): void {
    this.state = HEAD;
    if (this.keptBytes > 0) {
      const code = /"code"\s*:\s*"([a-z_]+)"/.exec(Buffer.concat(this.kept).toString());
      this.answer.code = code?.[1] ?? '';
      this.kept = [];
      this.keptBytes = 0;
    }
    this.onAnswer(this.answer);
  }
}

function fresh(): Answer {
  return { status: 0, code: '', retryAfterS: -1, bodyBytes: 0, close: false };
}

/** `head` in lower case, beginning with the status line. */
function header(head: string, name: string): string | undefined {
  const at = head.indexOf(`\r\n${name}:`);
  if (at === -1) return undefined;
  const from = at + name.length + 3;
  const end = head.indexOf('\r\n', from);
  return (end === -1 ? head.slice(from) : head.slice(from, end)).trim();
}
