/** What a scenario measures: Simmer, or something simpler that does the same work. */
import { fileURLToPath } from 'node:url';

export const TARGETS = ['simmer', 'relay', 'nginx', 'push'] as const;
export type TargetName = (typeof TARGETS)[number];
export type BaselineName = Exclude<TargetName, 'simmer'>;

export const TARGET_LABELS: Readonly<Record<TargetName, string>> = {
  simmer: 'Simmer',
  nginx: '(a) nginx + Node http',
  relay: '(b) bare relay',
  push: '(c) HTTP push',
};

export type HandlerName = 'echo' | 'sleep10' | 'sleep100' | 'sleep-input' | 'exit' | 'broken';

/** A target that runs. */
export interface Running {
  readonly name: TargetName;
  readonly port: number;
  /** What a request is sent to. */
  readonly path: string;
  /** That every request carries. */
  readonly headers?: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

export interface TargetOptions {
  readonly pods: number;
  readonly handler: HandlerName;
}

/** The compiled handler module. */
export function handlerFile(handler: HandlerName): string {
  return fileURLToPath(new URL(`../functions/${handler}.js`, import.meta.url));
}

export type Handler = (input: unknown) => Promise<unknown>;

/** Runs the handler on an envelope, as Simmer's runtime does: parse, call, serialize. */
export async function runHandler(handler: Handler, body: Buffer): Promise<string> {
  const { input } = JSON.parse(body.toString()) as { input: unknown };
  return JSON.stringify(await handler(input));
}
