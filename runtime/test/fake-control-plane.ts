/**
 * A control plane of a few lines for tests: a real WebSocket server that does what the test says, and pods that are real
 * child processes running the bundled runtime.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { decodeEach, encode } from '@simmer/protocol/codec';
import type {
  ControlFrame,
  Frame,
  FrameKind,
  HeaderPairs,
  Hello,
  Invoke,
  Result,
  Specialize,
  Welcome,
} from '@simmer/protocol/frames';
import { SUBPROTOCOL } from '@simmer/protocol/limits';
import { RUNTIME_ENV, RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { type WebSocket, WebSocketServer } from 'ws';

export const RUNTIME = fileURLToPath(new URL('../dist/runtime.cjs', import.meta.url));

/** A safety net, so that a condition that never comes fails the test instead of hanging it. */
const PATIENCE_MS = 20_000;

/** Lets any number of waiters look again when something has come. */
class Bell {
  private readonly waiting = new Set<() => void>();

  ring(): void {
    for (const wake of this.waiting) wake();
  }

  /** Resolves at the next ring; rejects with `missing` when patience, which ends at `deadline`, is over. */
  async next(deadline: number, missing: () => string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const wake = () => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(() => reject(new Error(missing())), deadline - Date.now());
      this.waiting.add(wake);
    });
  }
}

type FrameOf<K extends FrameKind> = Extract<Frame, { kind: K }>;

/** One accepted connection: sends frames, and waits for those that come. */
export class PodConnection {
  readonly ws: WebSocket;
  /** Everything received that no `expect` has taken, in order. */
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  private nextStream = 1;
  private readonly bell = new Bell();
  private isClosed = false;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('message', (data) => {
      decodeEach(data as Buffer, (frame) => {
        if (frame !== undefined) this.frames.push(frame);
        return true;
      });
      this.bell.ring();
    });
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => {
        this.isClosed = true;
        resolve({ code, reason: reason.toString() });
        this.bell.ring();
      });
    });
    ws.on('error', () => {});
  }

  send(frame: ControlFrame): void {
    this.ws.send(encode(frame));
  }

  /** The next frame of this kind that matches; frames of other kinds stay for later. */
  async expect<K extends FrameKind>(
    kind: K,
    match: (frame: FrameOf<K>) => boolean = () => true,
  ): Promise<FrameOf<K>> {
    const isIt = (f: Frame): f is FrameOf<K> => f.kind === kind && match(f as FrameOf<K>);
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const at = this.frames.findIndex(isIt);
      if (at !== -1) return this.frames.splice(at, 1)[0] as FrameOf<K>;
      if (this.isClosed) throw new Error(`closed while waiting for ${kind}`);
      await this.bell.next(
        deadline,
        () => `no ${kind} came; had ${this.frames.map((f) => f.kind)}`,
      );
    }
  }

  /** Takes the hello and answers it. */
  async welcome(options: Partial<Welcome> = {}): Promise<Hello> {
    const hello = await this.expect('hello');
    this.send({
      kind: 'welcome',
      session: 'session-1',
      heartbeatMs: 60_000,
      maxRequestBytes: 10_485_760,
      maxResultBytes: 10_485_760,
      windowBytes: 1_048_576,
      logBytes: 0,
      ...options,
    });
    return hello;
  }

  /** Sends a function's code as `specialize` and `code`, in pieces of this size; returns its digest. */
  specialize(
    source: string | Uint8Array,
    options: Partial<Specialize> = {},
    pieceBytes = 65_536,
  ): string {
    const bytes = Buffer.from(source as string);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    this.send({
      kind: 'specialize',
      session: 'session-2',
      function: 'default/test',
      env: [],
      secrets: [],
      entry: 'handler.js',
      digest,
      limits: [],
      ...options,
    });
    for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
      const piece = bytes.subarray(offset, offset + pieceBytes);
      const end = offset + piece.length === bytes.length;
      this.send({ kind: 'code', digest: options.digest ?? digest, offset, bytes: piece, end });
    }
    return digest;
  }

  /** Sends an `invoke`; returns its stream. */
  invoke(options: Partial<Invoke> = {}): number {
    const stream = options.stream ?? this.nextStream++;
    this.send({
      kind: 'invoke',
      executionId: `exec-${stream}`,
      attempt: 1,
      budgetMs: 30_000,
      form: 'value',
      method: '',
      target: '',
      headers: [['traceparent', `00-${'a'.repeat(31)}${stream % 10}-${'b'.repeat(16)}-01`]],
      body: new Uint8Array(0),
      more: false,
      ...options,
      stream,
    });
    return stream;
  }

  /** An `invoke` of the value form with this envelope. */
  call(envelope: unknown, options: Partial<Invoke> = {}): number {
    return this.invoke({ body: Buffer.from(JSON.stringify(envelope)), ...options });
  }

  /** An `invoke` of the raw form. */
  request(
    method: string,
    target: string,
    body: string | Uint8Array = '',
    headers: HeaderPairs = [],
    options: Partial<Invoke> = {},
  ): number {
    return this.invoke({
      form: 'raw',
      method,
      target,
      headers,
      body: Buffer.from(body),
      ...options,
    });
  }

  result(stream: number): Promise<Result> {
    return this.expect('result', (frame) => frame.stream === stream);
  }

  /** The parsed body of an `ok` result. */
  async output(stream: number): Promise<unknown> {
    const result = await this.result(stream);
    if (result.outcome !== 'ok')
      throw new Error(`${result.outcome} ${result.code} ${result.message}`);
    return JSON.parse(Buffer.from(result.body ?? []).toString());
  }
}

/** The server. */
export class FakeControlPlane {
  readonly connections: PodConnection[] = [];
  readonly port: number;
  readonly scheme: 'ws' | 'wss';
  private readonly server: WebSocketServer;
  private taken = 0;
  private stopped = false;
  private readonly bell = new Bell();

  private constructor(server: WebSocketServer, port: number, scheme: 'ws' | 'wss') {
    this.server = server;
    this.port = port;
    this.scheme = scheme;
    server.on('connection', (ws) => {
      this.connections.push(new PodConnection(ws));
      this.bell.ring();
    });
  }

  static async start(port = 0): Promise<FakeControlPlane> {
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    await once(server, 'listening');
    return new FakeControlPlane(server, (server.address() as AddressInfo).port, 'ws');
  }

  /** One whose port speaks TLS. */
  static async startTls(tls: { cert: string; key: string }): Promise<FakeControlPlane> {
    const https = createServer(tls);
    const server = new WebSocketServer({
      server: https,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    server.on('close', () => https.close());
    return new FakeControlPlane(server, (https.address() as AddressInfo).port, 'wss');
  }

  get address(): string {
    return `${this.scheme}://127.0.0.1:${this.port}`;
  }

  /** The next connection, in order of arrival. */
  async accept(): Promise<PodConnection> {
    const deadline = Date.now() + PATIENCE_MS;
    while (this.taken >= this.connections.length) {
      await this.bell.next(deadline, () => 'no pod dialled');
    }
    return this.connections[this.taken++] as PodConnection;
  }

  /** A welcomed connection whose pod is ready. */
  async ready(options: Partial<Welcome> = {}): Promise<PodConnection> {
    const pod = await this.accept();
    await pod.welcome(options);
    await pod.expect('ready');
    return pod;
  }

  /** Ends every connection and accepts no more. */
  async stop(): Promise<void> {
    for (const { ws } of this.connections) ws.terminate();
    if (this.stopped) return;
    this.stopped = true;
    this.server.close();
    await once(this.server, 'close');
  }
}

/** A pod's process. */
export class PodProcess {
  readonly child: ChildProcess;
  /** Lines of standard output so far. */
  readonly lines: string[] = [];
  stderr = '';
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private readonly bell = new Bell();

  constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(line);
      this.bell.ring();
    });
    child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.exited = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** The next line that matches, with those before it dropped. */
  async line(match: (line: string) => boolean): Promise<string> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const at = this.lines.findIndex(match);
      if (at !== -1) return this.lines.splice(0, at + 1).at(-1) as string;
      await this.bell.next(deadline, () => `no such line in ${JSON.stringify(this.lines)}`);
    }
  }

  /** The next line as the log entry with this message. */
  async entry(message: string): Promise<Record<string, unknown>> {
    const isIt = (line: string) => line.startsWith('{') && JSON.parse(line).message === message;
    return JSON.parse(await this.line(isIt));
  }
}

export interface PodOptions {
  /** Name of the handler's file; its extension says what it is. */
  readonly file?: string;
  readonly capacity?: number;
  readonly graceMs?: number;
  readonly exitWithStdin?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Further files beside the handler. */
  readonly files?: Readonly<Record<string, string>>;
}

/** What a test uses: one control plane, and pods that end with it. */
export class Stage {
  readonly plane: FakeControlPlane;
  private readonly folder = mkdtempSync(join(tmpdir(), 'simmer-runtime-'));
  private readonly pods: PodProcess[] = [];

  private constructor(plane: FakeControlPlane) {
    this.plane = plane;
  }

  static async open(t: { teardown(fn: () => Promise<void>): void }): Promise<Stage> {
    const stage = new Stage(await FakeControlPlane.start());
    t.teardown(() => stage.close());
    return stage;
  }

  /** Starts a pod with this source as its handler. */
  start(source: string, options: PodOptions = {}): PodProcess {
    const folder = mkdtempSync(join(this.folder, 'f-'));
    const handler = join(folder, options.file ?? 'handler.mjs');
    for (const [name, text] of Object.entries({ ...options.files, [handler]: source })) {
      const path = name === handler ? name : join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    return this.spawn({
      [RUNTIME_ENV.address]: this.plane.address,
      [RUNTIME_ENV.podUid]: 'pod-1',
      [RUNTIME_ENV.token]: 'token-1',
      [RUNTIME_ENV.function]: 'default/test',
      [RUNTIME_ENV.handler]: handler,
      [RUNTIME_ENV.capacity]: String(options.capacity ?? 10),
      [RUNTIME_ENV.graceMs]: String(options.graceMs ?? 5_000),
      ...(options.exitWithStdin === true ? { [RUNTIME_ENV.exitWithStdin]: '1' } : {}),
      ...options.env,
    });
  }

  /** Starts a pod that waits for its code. */
  startEmpty(env: Readonly<Record<string, string>> = {}, folder = this.folder): PodProcess {
    return this.spawn(
      {
        [RUNTIME_ENV.address]: this.plane.address,
        [RUNTIME_ENV.podUid]: 'pod-1',
        [RUNTIME_ENV.token]: 'token-1',
        [RUNTIME_ENV.function]: 'default/test',
        ...env,
      },
      folder,
    );
  }

  /** Starts the runtime with just this environment. */
  spawn(env: Readonly<Record<string, string>>, folder = process.cwd()): PodProcess {
    const child = spawn(process.execPath, [...RUNTIME_NODE_FLAGS, RUNTIME], {
      cwd: folder,
      env: { ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const pod = new PodProcess(child);
    this.pods.push(pod);
    return pod;
  }

  /** A pod and its connection, once it is ready. */
  async ready(
    source: string,
    options: PodOptions & { readonly welcome?: Partial<Welcome> } = {},
  ): Promise<{ pod: PodProcess; link: PodConnection }> {
    const pod = this.start(source, options);
    return { pod, link: await this.plane.ready(options.welcome) };
  }

  async close(): Promise<void> {
    for (const { child } of this.pods) child.kill('SIGKILL');
    await Promise.all(this.pods.map((pod) => pod.exited));
    await this.plane.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
