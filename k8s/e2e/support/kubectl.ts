/** kubectl as a user types it; the cluster is the one that $KUBECONFIG names. */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Record<string, string>;
    readonly deletionTimestamp?: string;
    readonly generation?: number;
  };
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks of it is the test's affair
  readonly [part: string]: any;
}

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A hang shall fail, not outlast the test. */
const COMMAND_TIMEOUT_MS = 180_000;
const POLL_MS = 100;
/** A safety net: what is waited for comes within seconds. */
const WAIT_MS = 90_000;

export function tryCommand(file: string, args: readonly string[], input = ''): Promise<Result> {
  return new Promise((resolve) => {
    const options = { timeout: COMMAND_TIMEOUT_MS, maxBuffer: 64 * 1_048_576 };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr: stderr || (error?.message ?? '') });
    });
    // A command that ended without reading its input breaks the pipe; its exit code says what there is to say.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

export async function command(file: string, args: readonly string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(file, args, input);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

export const kubectl = (...args: string[]): Promise<string> => command('kubectl', args);

export async function apply(namespace: string, ...objects: object[]): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  await command('kubectl', ['apply', '--namespace', namespace, '-f', '-'], JSON.stringify(list));
}

export async function list(
  namespace: string,
  kind: string,
  selector = '',
): Promise<readonly KubeObject[]> {
  const text = await kubectl('get', kind, '-n', namespace, '-l', selector, '-o', 'json');
  return (JSON.parse(text) as { items: KubeObject[] }).items;
}

export async function get(namespace: string, kind: string, name: string): Promise<KubeObject> {
  return JSON.parse(await kubectl('get', kind, name, '-n', namespace, '-o', 'json')) as KubeObject;
}

/** Pods of a function that have not ended. */
export async function podsOf(namespace: string, name: string): Promise<readonly KubeObject[]> {
  const pods = await list(namespace, 'pods', `simmer.dev/function=${name}`);
  return pods.filter(({ status }) => !['Succeeded', 'Failed'].includes(status.phase));
}

/** Asks until the answer is something. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false | null>,
  waitMs = WAIT_MS,
): Promise<T> {
  const end = Date.now() + waitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false && answer !== null) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${waitMs} ms`);
    await delay(POLL_MS);
  }
}
