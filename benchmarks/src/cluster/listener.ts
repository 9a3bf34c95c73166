/**
 * What bare pods connect to: a pod of its own that listens, and tells over a NodePort who has come. The one who waits is
 * this process, so that all times are of one clock; a call to Simmer takes the same way.
 */
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { image } from '../../../k8s/e2e/support/installation.ts';
import { apply, get, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { eventually } from './context.ts';
import { post } from './http.ts';

const NODE = process.env['SIMMER_TEST_NODE'] ?? '127.0.0.1';
const TCP_PORT = 9_000;
const HTTP_PORT = 9_001;
const NAME = 'bench-listener';

/**
 * `/NAME` is answered when as many connections as the body asks for have named themselves so, with the second word of
 * the last one's.
 */
const PROGRAM = `
const came = new Map();
const waiting = new Map();
const look = (name, word) => {
  const w = waiting.get(name);
  if (w === undefined || (came.get(name) ?? 0) < w.count) return;
  waiting.delete(name);
  came.delete(name);
  w.answer.end(word);
};
require('net').createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (data) => {
    const [name, startedAt] = String(data).split(' ');
    came.set(name, (came.get(name) ?? 0) + 1);
    look(name, startedAt);
  });
}).listen(${TCP_PORT});
require('http').createServer((request, answer) => {
  let text = '';
  request.on('data', (piece) => { text += piece; });
  request.on('end', () => {
    const name = request.url.slice(1);
    waiting.set(name, { count: Number(text), answer });
    look(name, '0');
  });
}).listen(${HTTP_PORT});
process.on('SIGTERM', () => process.exit(0));
`;

export interface Listener {
  /**
   * Resolves when so many connections have come under the name; call it first. With the time since the epoch at which
   * the last one's process started, by the clock of its node.
   */
  came(name: string, count?: number): Promise<number>;
  /** A container that connects and ends, or stays. */
  container(name: string, stays?: boolean): object;
}

/** It goes with the namespace. */
export async function startListener({ tenant }: Installation): Promise<Listener> {
  const labels = { app: NAME };
  await apply(
    tenant,
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: NAME, labels },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 1,
        containers: [
          { name: 'listener', image: image('runtime'), command: ['node', '-e', PROGRAM] },
        ],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: NAME },
      spec: { type: 'NodePort', selector: labels, ports: [{ port: HTTP_PORT }] },
    },
  );
  await kubectl('wait', '-n', tenant, '--for=condition=Ready', `pod/${NAME}`, '--timeout=60s');
  const pod = await get(tenant, 'pod', NAME);
  const service = await get(tenant, 'service', NAME);
  const address = `http://${NODE}:${service['spec'].ports[0].nodePort}`;
  const ip = pod['status'].podIP as string;
  const listener: Listener = {
    came: async (name, count = 1) => {
      const { body } = await post(address, `/${name}`, count);
      return body as number;
    },
    container: (name, stays = false) => ({
      name: 'bare',
      image: image('runtime'),
      command: [
        'node',
        '-e',
        `const s = require('net').connect(${TCP_PORT}, '${ip}'); s.write('${name} ' + performance.timeOrigin);${stays ? "process.on('SIGTERM', () => process.exit(0));" : 's.end();'}`,
      ],
    }),
  };
  await eventually('the listener answers', () =>
    post(address, '/probe', 0).then(
      () => true as const,
      () => undefined,
    ),
  );
  return listener;
}
