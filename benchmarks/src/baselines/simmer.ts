/** Simmer itself: the built server of a checkout, with functions of the benchmark's own, all default settings but those named. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, eventually, start } from '../child.ts';
import { freePort } from '../ports.ts';
import { type HandlerName, handlerFile, type Running, type TargetOptions } from './target.ts';

/** The checkout that this file was built in. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const READY_LIMIT_MS = 60_000;

export interface FunctionSetup {
  readonly name: string;
  readonly handler: HandlerName;
  /** Fields of the manifest's spec beside the handler. */
  readonly spec: Readonly<Record<string, unknown>>;
}

/** A manifest as it stands. */
export interface ManifestSetup {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly [field: string]: unknown;
}

export interface SimmerServer {
  readonly child: Child;
  readonly port: number;
  readonly managementPort: number;
  /** Process ids of a function's pods, with their states as GET /v1/pools tells them. */
  pods(functionName: string): Promise<PodInfo[]>;
  stop(): Promise<void>;
}

export interface PodInfo {
  readonly pid: number;
  readonly state: string;
}

/** How the echo function is set in every scenario: as examples/echo is. */
export function echoFunction(pods: number, name = 'bench'): FunctionSetup {
  return {
    name,
    handler: 'echo',
    spec: {
      concurrency: 100,
      minReplicas: pods,
      maxReplicas: Math.max(1, pods),
      queue: { maxLength: 1_000 },
    },
  };
}

/** Starts the server of `root` and waits until it is ready. */
export async function startServer(
  functions: readonly FunctionSetup[],
  options: {
    root?: string;
    flags?: readonly string[];
    waitReady?: boolean;
    manifests?: readonly ManifestSetup[];
  } = {},
): Promise<SimmerServer> {
  const dir = mkdtempSync(join(tmpdir(), 'simmer-bench-'));
  for (const f of functions) {
    const manifest = {
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name: f.name },
      spec: { handler: `${f.handler}.mjs`, ...f.spec },
    };
    // A handler lies within the folder of its manifest; the compiled one stands by itself.
    copyFileSync(handlerFile(f.handler), join(dir, `${f.handler}.mjs`));
    // JSON is YAML.
    writeFileSync(join(dir, `${f.name}.yaml`), JSON.stringify(manifest));
  }
  for (const manifest of options.manifests ?? []) {
    const { name, namespace } = manifest.metadata;
    writeFileSync(
      join(dir, `${manifest.kind}.${namespace}.${name}.yaml`),
      JSON.stringify(manifest),
    );
  }
  const [port, managementPort, podPort] = [await freePort(), await freePort(), await freePort()];
  const child = await start(process.execPath, [
    join(options.root ?? ROOT, 'control-plane/dist/main.js'),
    ...['--functions', dir, '--host', '127.0.0.1', '--port', String(port)],
    ...['--management-port', String(managementPort), '--pod-port', String(podPort)],
    ...(options.flags ?? []),
  ]);
  const server: SimmerServer = {
    child,
    port,
    managementPort,
    async pods(name) {
      const response = await fetch(`http://127.0.0.1:${port}/v1/pools/${name}`);
      if (!response.ok) return [];
      const { pods } = (await response.json()) as { pods?: { label: string; state: string }[] };
      return (pods ?? [])
        .map((pod) => ({ pid: Number(pod.label), state: pod.state }))
        .filter((pod) => pod.pid > 0);
    },
    async stop() {
      await child.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  if (options.waitReady === false) return server;
  try {
    await eventually(
      'the server is ready',
      async () => {
        if (child.process.exitCode !== null) throw new Error(`server ended: ${child.output()}`);
        return (await isReady(managementPort)) || undefined;
      },
      READY_LIMIT_MS,
    );
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Pods of each function that have been through this phase of their start; NaN where nothing is told of it. */
export async function coldStartsOf(
  server: SimmerServer,
  phase: 'launch' | 'ready',
  names: readonly string[],
): Promise<number[]> {
  const response = await fetch(`http://127.0.0.1:${server.managementPort}/metrics`);
  const text = await response.text();
  return names.map((name) => {
    const line = new RegExp(
      `^simmer_cold_start_seconds_count\\{(?=[^}]*function="default/${name}")(?=[^}]*phase="${phase}")[^}]*\\} (\\d+)`,
      'm',
    );
    return Number(line.exec(text)?.[1] ?? Number.NaN);
  });
}

async function isReady(managementPort: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${managementPort}/readyz`)).ok;
  } catch {
    return false;
  }
}

export function invokePath(name: string): string {
  return `/v1/functions/${name}:invoke`;
}

/** As one of the targets of a comparison. */
export async function startSimmer(options: TargetOptions, root = ROOT): Promise<Running> {
  const server = await startServer([{ ...echoFunction(options.pods), handler: options.handler }], {
    root,
  });
  return {
    name: 'simmer',
    port: server.port,
    path: invokePath('bench'),
    stop: () => server.stop(),
  };
}
