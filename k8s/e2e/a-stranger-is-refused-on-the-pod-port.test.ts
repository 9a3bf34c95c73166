/**
 * Says hello on the installed pod port as whoever it is not. The pods it speaks for run no runtime, so that their tokens are
 * still good and it can be the pod itself first. That a token expires after an hour is tested with a clock of the test's own:
 * control-plane/test/scheduler.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { decodeEach, encode } from '@simmer/protocol/codec';
import { CLOSE, type CloseReason, type Frame } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '@simmer/protocol/limits';
import { POD_TLS_NAME, RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import WebSocket from 'ws';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, get, type KubeObject, kubectl, list, podsOf, until } from './support/kubectl.ts';

const NOW = ['--grace-period=0', '--force', '--wait=false'];

/** Nobody says hello for it: this test does. */
const MUTE = {
  source: { inline: WAITS },
  minReplicas: 2,
  maxReplicas: 2,
  startupTimeoutMs: 600_000,
  template: { command: ['node', '-e', 'setTimeout(() => {}, 1e9)'] },
};

let simmer: Installation;
const forwards = new Set<ChildProcess>();
t.before(async () => {
  simmer = await install();
  await apply(
    simmer.tenant,
    fn('mute', MUTE),
    fn('other', MUTE),
    fn('real', { source: { inline: WAITS }, minReplicas: 1, maxReplicas: 1 }),
  );
});
t.teardown(async () => {
  for (const forward of forwards) forward.kill();
  await simmer?.remove();
});

/**
 * The Service of the pod port, on a port of this machine, for one connection: once the server has closed one, kubectl may take
 * that for the loss of the pod, and end.
 */
async function forwarded(): Promise<{ readonly port: number; end(): void }> {
  const args = ['port-forward', '-n', simmer.system, 'svc/simmer-pods', ':8082'];
  const child = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  forwards.add(child);
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      const found = /127\.0\.0\.1:(\d+)/.exec(data.toString())?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.on('close', () => {
      forwards.delete(child);
      reject(new Error('kubectl port-forward ended'));
    });
  });
  return { port, end: () => child.kill() };
}

interface Identity {
  readonly uid: string;
  readonly credential: string;
  readonly key: string;
}

/** What the pod alone can know, from its specification and its Secret. */
async function identityOf(pod: KubeObject | undefined, functionName: string): Promise<Identity> {
  const env = pod?.['spec'].containers[0].env as { name: string; value?: string }[];
  const secret = await get(simmer.tenant, 'secret', `simmer-pool-${functionName}`);
  return {
    uid: pod?.metadata.uid ?? '',
    credential: env.find(({ name }) => name === RUNTIME_ENV.token)?.value ?? '',
    key: Buffer.from(secret['data'].key, 'base64').toString(),
  };
}

async function running(functionName: string, count: number): Promise<readonly KubeObject[]> {
  return await until(`${count} pods of ${functionName}`, async () => {
    const pods = await podsOf(simmer.tenant, functionName);
    return pods.length === count && pods.every(({ status }) => status.phase === 'Running') && pods;
  });
}

/** The close code that a hello gets; 0 and the session where it is welcomed. */
async function hello({ uid, credential, key }: Identity, bootId: string = randomUUID()) {
  const proof = createHmac('sha256', key)
    .update(`simmer.proof\0${credential}\0${uid}\0${bootId}`)
    .digest('base64url');
  const keys = await get(simmer.system, 'secret', 'simmer-keys');
  const ca = Buffer.from(keys['data']['ca.crt'], 'base64').toString();
  const options = { ca, servername: POD_TLS_NAME };
  const forward = await forwarded();
  const socket = new WebSocket(`wss://127.0.0.1:${forward.port}`, SUBPROTOCOL, options);
  socket.on('open', () => {
    const runtime = { runtime: 'stranger', runtimeVersion: '1', capacity: 1, inFlight: 0 };
    const version = PROTOCOL_VERSION;
    socket.send(encode({ kind: 'hello', version, credential, uid, proof, bootId, ...runtime }));
  });
  return await new Promise<{ code: number; session: string }>((resolve, reject) => {
    socket.on('close', forward.end);
    socket.on('error', reject);
    socket.on('close', (code) => resolve({ code, session: '' }));
    socket.on('message', (data: Buffer) => {
      decodeEach(new Uint8Array(data), (frame: Frame | undefined) => {
        if (frame?.kind === 'welcome') resolve({ code: 0, session: frame.session });
        return true;
      });
      socket.close();
    });
  });
}

t.test('each stranger is refused, and harms nobody', async (t) => {
  const { system, tenant } = simmer;
  const [first, second] = await running('mute', 2);
  const [foreign] = await running('other', 2);
  const [real] = await running('real', 1);
  const [elsewhere] = await list(system, 'pods');
  const pod = await identityOf(first, 'mute');
  const sibling = await identityOf(second, 'mute');
  const other = await identityOf(foreign, 'other');
  const served = await identityOf(real, 'real');
  const answered = await until('the real one', async () => {
    const answer = await invoke(simmer, 'real', { ms: 0 });
    return answer.status === 200 && answer;
  });
  const refused = async (
    what: string,
    close: CloseReason,
    identity: Identity,
    bootId?: string,
  ): Promise<void> => {
    t.equal((await hello(identity, bootId)).code, CLOSE[close].code, what);
  };

  await refused('a forged token', 'unauthorized', { ...pod, credential: 'forged' });
  await refused('without the key of its pool', 'unauthorized', { ...pod, key: '' });
  await refused('with the key of another pool', 'unauthorized', { ...pod, key: other.key });
  await refused('for another pod of its pool', 'forbidden', { ...pod, uid: sibling.uid });
  await refused("for another function's pod", 'forbidden', { ...pod, uid: other.uid });
  const far = { ...pod, uid: elsewhere?.metadata.uid ?? '' };
  await refused('for a pod of another namespace', 'unidentified', far);

  const boot = randomUUID();
  const { code, session } = await hello(pod, boot);
  t.equal(code, 0, 'the pod itself is welcome');
  await refused('a token that is spent', 'unauthorized', pod);
  await refused('the spent token of a pod that serves', 'unauthorized', served);
  const proved = { ...pod, credential: session };
  t.equal((await hello(proved, boot)).code, 0, 'its session is good');
  await refused('a session of another process', 'forbidden', proved);
  await refused('the session of another pod', 'forbidden', { ...proved, uid: sibling.uid }, boot);
  await refused(
    "a session for another function's",
    'forbidden',
    { ...proved, uid: other.uid },
    boot,
  );
  await refused('a session changed by a letter', 'forbidden', {
    ...proved,
    credential: `${session.slice(0, -2)}${session.at(-2) === 'A' ? 'B' : 'A'}${session.at(-1)}`,
  });

  await kubectl('delete', 'pod', first?.metadata.name ?? '', '-n', tenant, ...NOW);
  await until('it is replaced', async () => {
    const pods = await podsOf(tenant, 'mute');
    return pods.length === 2 && !pods.some(({ metadata }) => metadata.uid === pod.uid);
  });
  await refused('the session of a deleted pod', 'unidentified', proved, boot);

  await kubectl('delete', 'pod', '--all', '-n', system, ...NOW);
  await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
  await until('it serves again', async () => {
    const answer = await invoke(simmer, 'real', { ms: 0 }).catch(() => undefined);
    return answer?.body.output === answered.body.output;
  });
  await refused('the unspent token of another boot', 'unauthorized', other);
  t.equal((await invoke(simmer, 'real', { ms: 0 })).body.output, answered.body.output);
});
