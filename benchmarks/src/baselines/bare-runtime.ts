/** The runtime as a process of its own, started by nobody of ours, against a peer that only speaks what it must. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { decodeEach, encode } from '@simmer/protocol/codec';
import type { Frame } from '@simmer/protocol/frames';
import { SUBPROTOCOL } from '@simmer/protocol/limits';
import { RUNTIME_ENV, RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { type WebSocket, WebSocketServer } from 'ws';
import { ROOT } from './simmer.ts';
import { type HandlerName, handlerFile } from './target.ts';

export interface BareRuntime {
  /** Milliseconds from spawn to its `ready`. */
  readonly readyMs: number;
  /** Sends it one invocation; resolves with its result, or when it is gone. */
  invoke(): Promise<void>;
  kill(): void;
  /** Resolves when it is gone, whoever ended it. */
  readonly gone: Promise<void>;
}

/** Spawns it and waits for its `ready`. @throws when it exits before. */
export async function startBareRuntime(handler: HandlerName): Promise<BareRuntime> {
  const peer = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: () => SUBPROTOCOL,
  });
  await once(peer, 'listening');
  let answered = () => {};
  const ready = new Promise<[number, WebSocket]>((resolve) => {
    peer.on('connection', (ws) => {
      const take = (frame: Frame | undefined): boolean => {
        if (frame?.kind === 'ready') resolve([performance.now(), ws]);
        if (frame?.kind === 'hello') ws.send(WELCOME);
        if (frame?.kind === 'result') answered();
        return true;
      };
      ws.on('message', (data: Buffer) => decodeEach(data, take));
    });
  });
  const from = performance.now();
  const child = spawn(
    process.execPath,
    [...RUNTIME_NODE_FLAGS, join(ROOT, 'runtime/dist/runtime.cjs')],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      env: {
        [RUNTIME_ENV.address]: `ws://127.0.0.1:${(peer.address() as AddressInfo).port}`,
        [RUNTIME_ENV.podUid]: 'pod',
        [RUNTIME_ENV.token]: 'token',
        [RUNTIME_ENV.function]: 'default/bare',
        [RUNTIME_ENV.handler]: handlerFile(handler),
        [RUNTIME_ENV.exitWithStdin]: '1',
      },
    },
  );
  const gone = once(child, 'exit').then(([code]) => {
    for (const ws of peer.clients) ws.terminate();
    peer.close();
    return code as number | null;
  });
  const early = gone.then((code) => {
    throw new Error(`the runtime exited with ${code} before it was ready`);
  });
  early.catch(() => {});
  const [at, ws] = await Promise.race([ready, early]);
  const ended = gone.then(() => undefined);
  return {
    readyMs: at - from,
    invoke() {
      ws.send(INVOKE);
      const result = new Promise<void>((resolve) => {
        answered = resolve;
      });
      return Promise.race([result, ended]);
    },
    kill: () => child.kill('SIGKILL'),
    gone: ended,
  };
}

const WELCOME = encode({
  kind: 'welcome',
  session: 'session',
  heartbeatMs: 2_000,
  maxRequestBytes: 1_048_576,
  maxResultBytes: 1_048_576,
  windowBytes: 262_144,
  logBytes: 0,
});

const INVOKE = encode({
  kind: 'invoke',
  stream: 1,
  executionId: 'execution',
  attempt: 1,
  budgetMs: 10_000,
  form: 'value',
  method: '',
  target: '',
  headers: [],
  body: new TextEncoder().encode('{}'),
  more: false,
});
