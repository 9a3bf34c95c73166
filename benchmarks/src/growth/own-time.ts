/**
 * The scheduler's own time for one invocation: from the request that uWebSockets.js hands over to the answer that it is
 * given, through ingress, admission, queue, dispatch, frames, result and reply, with no socket under it: what uWebSockets.js would
 * read and write is handed over and taken by stand-ins. Entry of a process of its own; prints JSON.
 *
 * All populations live in it side by side and their rounds alternate, so that they share heap, compiled code and weather.
 */
import type { Uws } from '@simmer/control-plane/dist/scheduler/uws.js';
import { STREAM_PATH } from '@simmer/protocol/client-messages';
import { decodeEach, encode, toMessages } from '@simmer/protocol/codec';
import type { Frame } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION } from '@simmer/protocol/limits';
import { envelope, zipf } from '../load/spec.ts';
import { type Assembly, assemble, type FakePod } from './assembly.ts';

/** Requests in one turn of the event loop: an idle server's, and a busy one's. */
export const TURNS = [1, 16] as const;
const INVOCATIONS_A_ROUND = 20_000;
const WARM_UP_ROUNDS = 2;

/** What is printed: microseconds for each invocation, one a round. */
export interface OwnTime {
  readonly turn: number;
  readonly one: readonly number[];
  readonly functions: readonly number[];
  readonly pods: readonly number[];
}
const RESULT_BODY = envelope(256).subarray(9, -1);
const REQUEST_BODY = toArrayBuffer(envelope(256));

type Handlers = Record<string, (...args: unknown[]) => void>;

/** What uWebSockets.js is to the scheduler, without sockets: keeps the handlers, so that they can be called. */
class FakeUws {
  invoke: (res: object, req: object) => void = () => {};
  pods: Handlers = {};
  DISABLED = 0;
  us_socket_local_port(): number {
    return 1;
  }
  App(): object {
    const app = {
      post: (_path: string, handler: (res: object, req: object) => void) => {
        this.invoke = handler;
        return app;
      },
      any: () => app,
      // That of the public port is for clients.
      ws: (path: string, handlers: Handlers) => {
        if (path !== STREAM_PATH) this.pods = handlers;
        return app;
      },
      listen: (_host: string, _port: number, done: (socket: object) => void) => done({}),
    };
    return app;
  }
}

/**
 * What pods' sockets were given to send, in order. Of all sockets together: a list each would be memory that is touched for each
 * pod, and counted as the scheduler's.
 */
class Sent {
  private sockets: FakeSocket[] = [];
  private messages: Uint8Array[] = [];

  add(socket: FakeSocket, message: Uint8Array): void {
    this.sockets.push(socket);
    this.messages.push(message);
  }

  /** The pods' answers to it, as they would arrive. */
  answers(): [FakeSocket, ArrayBuffer][] {
    const answers: [FakeSocket, ArrayBuffer][] = [];
    this.sockets.forEach((socket, i) => {
      const frames: Uint8Array[] = [];
      const take = (frame: Frame | undefined): boolean => {
        const answer = answerTo(frame);
        if (answer !== undefined) frames.push(encode(answer));
        return true;
      };
      decodeEach(this.messages[i] as Uint8Array, take);
      toMessages(frames, (message) => answers.push([socket, toArrayBuffer(message)]));
    });
    this.sockets = [];
    this.messages = [];
    return answers;
  }
}

function answerTo(frame: Frame | undefined): Frame | undefined {
  if (frame?.kind === 'ping') return { kind: 'pong', nonce: frame.nonce };
  if (frame?.kind !== 'invoke') return undefined;
  const { stream } = frame;
  return { kind: 'result', stream, outcome: 'ok', code: '', message: '', body: RESULT_BODY };
}

/** A pod's socket: what it is given to send is read later, outside of what is measured. */
class FakeSocket {
  private readonly data = { socket: null };
  private readonly sent: Sent;
  constructor(sent: Sent) {
    this.sent = sent;
  }
  getUserData(): object {
    return this.data;
  }
  cork(write: () => void): void {
    write();
  }
  send(message: Uint8Array): number {
    this.sent.add(this, message);
    return 1;
  }
  getBufferedAmount(): number {
    return 0;
  }
}

/** A client's response: takes what is written. */
class FakeResponse {
  static answered = 0;
  private onBody: ((chunk: ArrayBuffer, last: boolean) => void) | null = null;
  onAborted(): this {
    return this;
  }
  onData(handler: (chunk: ArrayBuffer, last: boolean) => void): this {
    this.onBody = handler;
    return this;
  }
  deliver(body: ArrayBuffer): void {
    this.onBody?.(body, true);
  }
  cork(write: () => void): this {
    write();
    return this;
  }
  writeStatus(status: string): this {
    throw new Error(`answered ${status}`);
  }
  writeHeader(): this {
    return this;
  }
  end(): this {
    FakeResponse.answered++;
    return this;
  }
}

class FakeRequest {
  target = '';
  getParameter(): string {
    return this.target;
  }
  getHeader(name: string): string {
    return name === 'content-length' ? '256' : '';
  }
  getCaseSensitiveMethod(): string {
    return 'POST';
  }
}

class Population {
  private readonly uws: FakeUws;
  private readonly assembly: Assembly;
  private readonly targets: Buffer[];
  private readonly draw: () => number;
  private readonly request = new FakeRequest();
  private readonly sent = new Sent();

  static async create(functions: number, idlePods: number): Promise<Population> {
    const uws = new FakeUws();
    const assembly = await assemble(uws as unknown as Uws, functions, idlePods);
    return new Population(uws, assembly);
  }

  private constructor(uws: FakeUws, assembly: Assembly) {
    this.uws = uws;
    this.assembly = assembly;
    this.targets = assembly.functions.map((name) => Buffer.from(`${name}:invoke`));
    this.draw = zipf(assembly.functions.length, 1);
    for (const pod of assembly.pods) this.connect(pod);
  }

  private connect(pod: FakePod): void {
    const socket = new FakeSocket(this.sent);
    this.uws.pods['open']?.(socket);
    this.message(
      socket,
      encode({
        kind: 'hello',
        version: PROTOCOL_VERSION,
        credential: pod.credential,
        uid: pod.podId,
        proof: '',
        bootId: pod.podId,
        runtime: 'bench',
        runtimeVersion: '1',
        capacity: 100,
        inFlight: 0,
      }),
    );
    this.message(socket, encode({ kind: 'ready', digest: '' }));
  }

  private message(socket: FakeSocket, frame: Uint8Array): void {
    this.uws.pods['message']?.(socket, toArrayBuffer(frame), true);
  }

  /** Microseconds for each invocation, over `turns` turns of `size` invocations. */
  async run(turns: number, size: number): Promise<number> {
    let spentMs = 0;
    const before = FakeResponse.answered;
    for (let turn = 0; turn < turns; turn++) {
      // Strings of their own, as uWebSockets.js makes them of what it has read.
      const targets = Array.from({ length: size }, () => this.target(this.draw()));
      const responses = targets.map(() => new FakeResponse());

      let flushed = aroundFlush();
      let from = performance.now();
      for (let i = 0; i < size; i++) {
        this.request.target = targets[i] as string;
        const response = responses[i] as FakeResponse;
        this.uws.invoke(response, this.request);
        response.deliver(REQUEST_BODY);
      }
      spentMs += performance.now() - from;
      spentMs += await flushed();

      const messages = this.sent.answers();
      flushed = aroundFlush();
      from = performance.now();
      for (const [socket, message] of messages) {
        this.uws.pods['message']?.(socket, message, true);
      }
      this.assembly.core.wheel.advance(performance.now());
      spentMs += performance.now() - from;
      spentMs += await flushed();
    }
    const answered = FakeResponse.answered - before;
    if (answered !== turns * size) throw new Error(`${answered} of ${turns * size} were answered`);
    return (spentMs * 1000) / answered;
  }

  private target(index: number): string {
    return (this.targets[index] as Buffer).toString('latin1');
  }
}

/**
 * Times the turn's writes: they run in an immediate of the scheduler's own, between two of ours. Called before
 * anything is handed over; what it returns, after.
 */
function aroundFlush(): () => Promise<number> {
  let from = 0;
  setImmediate(() => {
    from = performance.now();
  });
  return () =>
    new Promise((resolve) => {
      setImmediate(() => resolve(performance.now() - from));
    });
}

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

const [functions = '1000', pods = '2000', rounds = '15'] = process.argv.slice(2);
const one = await Population.create(1, 0);
const manyFunctions = await Population.create(Number(functions), 0);
const manyPods = await Population.create(1, Number(pods) - 1);
const found: OwnTime[] = [];
for (const turn of TURNS) {
  const times = { turn, one: [] as number[], functions: [] as number[], pods: [] as number[] };
  for (let round = 0; round < WARM_UP_ROUNDS + Number(rounds); round++) {
    for (const [list, population] of [
      [times.one, one],
      [times.functions, manyFunctions],
      [times.pods, manyPods],
    ] as const) {
      const us = await population.run(INVOCATIONS_A_ROUND / turn, turn);
      if (round >= WARM_UP_ROUNDS) list.push(us);
    }
  }
  found.push(times);
}
process.stdout.write(`${JSON.stringify({ found })}\n`);
process.exit(0);
