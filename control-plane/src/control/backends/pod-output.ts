/**
 * What a child process prints, line by line, within a budget of bytes.
 *
 * Invariants:
 *  1. A pod is read at most BYTES_PER_SECOND (plus one read) in any second; over it both its pipes are paused until the
 *     second is over. The pipe then fills and the child's own writes block: a flood costs only the pod that floods.
 *  2. Nothing of a line beyond MAX_LINE_CHARS is kept, however long it goes on.
 */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** About 2,000 lines; what the log costs then is bounded by pods, not by what they print. */
export const BYTES_PER_SECOND = 262_144;
const WINDOW_MS = 1_000;
export const MAX_LINE_CHARS = 16_384;
const CUT_MARK = '… (cut)';
/** A grandchild may hold the pipe for ever: the dead process's last words come at once or not at all. */
const LAST_WORDS_MS = 50;

export type StreamName = 'stdout' | 'stderr';

/** Splits text into lines and cuts long ones. Pure but for its buffer. */
export class LineSplitter {
  private partial = '';
  private cutting = false;
  private readonly decoder = new StringDecoder('utf8');
  private readonly onLine: (line: string) => void;

  constructor(onLine: (line: string) => void) {
    this.onLine = onLine;
  }

  push(chunk: Buffer): void {
    const pieces = this.decoder.write(chunk).split('\n');
    const last = pieces.pop() as string;
    for (const piece of pieces) {
      this.append(piece);
      this.flush();
    }
    this.append(last);
  }

  /** Ends the line that has begun, if any. */
  flush(): void {
    const line = this.partial.endsWith('\r') ? this.partial.slice(0, -1) : this.partial;
    if (line !== '') this.onLine(this.cutting ? line + CUT_MARK : line);
    this.partial = '';
    this.cutting = false;
  }

  private append(text: string): void {
    if (this.cutting) return; // 2
    this.partial += text;
    if (this.partial.length <= MAX_LINE_CHARS) return;
    this.partial = this.partial.slice(0, MAX_LINE_CHARS);
    this.cutting = true;
  }
}

export class PodOutput {
  private readonly streams: Readable[];
  private readonly splitters: LineSplitter[];
  private windowEnds = 0;
  private left = BYTES_PER_SECOND;
  private paused: NodeJS.Timeout | undefined;
  private finishing = false;

  constructor(
    stdout: Readable,
    stderr: Readable,
    onLine: (stream: StreamName, line: string) => void,
  ) {
    this.streams = [stdout, stderr];
    this.splitters = (['stdout', 'stderr'] as const).map(
      (name) => new LineSplitter((line) => onLine(name, line)),
    );
    this.streams.forEach((stream, i) => {
      stream.on('data', (chunk: Buffer) => this.onData(this.splitters[i] as LineSplitter, chunk));
      stream.on('error', () => {});
    });
  }

  /** The process is gone: reads what is left in its pipes, then lets go of them. */
  async finish(): Promise<void> {
    this.finishing = true;
    clearTimeout(this.paused);
    this.left = BYTES_PER_SECOND;
    for (const stream of this.streams) stream.resume();
    await Promise.race([
      Promise.all(this.streams.map(ended)),
      new Promise((resolve) => {
        setTimeout(resolve, LAST_WORDS_MS);
      }),
    ]);
    for (const splitter of this.splitters) splitter.flush();
    for (const stream of this.streams) stream.destroy();
  }

  private onData(splitter: LineSplitter, chunk: Buffer): void {
    splitter.push(chunk);
    const now = performance.now();
    if (now >= this.windowEnds && !this.finishing) {
      this.windowEnds = now + WINDOW_MS;
      this.left = BYTES_PER_SECOND;
    }
    this.left -= chunk.length;
    if (this.left > 0) return;
    // 1. After the end, what is over the budget is a grandchild's.
    if (this.finishing) for (const stream of this.streams) stream.destroy();
    else this.pause(this.windowEnds - now);
  }

  private pause(ms: number): void {
    if (this.paused) return;
    for (const stream of this.streams) stream.pause();
    this.paused = setTimeout(() => {
      this.paused = undefined;
      for (const stream of this.streams) stream.resume();
    }, ms);
  }
}

function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once('end', resolve);
    stream.once('close', resolve);
  });
}
