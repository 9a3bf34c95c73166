/** Calls as a client makes them. */
import type { Installation } from './installation.ts';
import { apply, until } from './kubectl.ts';

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: an envelope or a problem document
  readonly body: any;
}

/** A call that hangs fails by this. */
const CALL_TIMEOUT_MS = 60_000;

/** Invokes a function of the installation's tenant; rejects where the connection is cut. */
export async function invoke(
  { address, name, credentials }: Pick<Installation, 'address' | 'name' | 'credentials'>,
  functionName: string,
  input: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${address}/v1/functions/${name(functionName)}:invoke`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(await credentials()), ...headers },
    body: JSON.stringify({ input }),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  return { status: response.status, body: await response.json() };
}

/** Any request of the API; rejects where the connection is cut. */
export async function send(
  { address, credentials }: Pick<Installation, 'address' | 'credentials'>,
  method: string,
  path: string,
  body?: object | string,
  headers: Record<string, string> = {},
): Promise<Answer & { readonly headers: Headers }> {
  const response = await fetch(`${address}${path}`, {
    method,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(await credentials()),
      ...headers,
    },
    ...(body && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  const text = await response.text();
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
  const parsed = text === '' ? undefined : isJson ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body: parsed };
}

/** A function that waits `input.ms` and tells which pod it ran on. */
export const WAITS = `
import { setTimeout } from 'node:timers/promises';
export default async ({ ms }) => {
  await setTimeout(ms);
  return process.env.HOSTNAME;
};
`;

export const fn = (name: string, spec: object): object => ({
  apiVersion: 'simmer.dev/v1alpha1',
  kind: 'Function',
  metadata: { name },
  spec,
});

/** Applies a function to the installation's tenant, and waits until the control plane has heard of it. */
export async function applyFunction(
  { address, tenant, name, credentials }: Installation,
  functionName: string,
  spec: object,
): Promise<void> {
  await apply(tenant, fn(functionName, spec));
  await until(`${functionName} is known`, async () => {
    const headers = await credentials();
    const { ok } = await fetch(`${address}/v1/pools/${name(functionName)}`, { headers });
    return ok;
  });
}
