/** What the tests of the Kubernetes backend share. */
import { type FunctionSpec, resolveManifest } from '@simmer/protocol/manifest';
import type { Launch, TemplateSettings } from '../src/backend/pod-template.ts';

export function specOf(spec: object = {}): FunctionSpec {
  const resolved = resolveManifest({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name: 'f' },
    spec: { handler: 'handler.js', ...spec },
  });
  if (!resolved.ok) throw new Error(JSON.stringify(resolved.issues));
  return resolved.manifest.spec as FunctionSpec;
}

export const SETTINGS: TemplateSettings = {
  runtimeImage: 'registry.example/runtime:1',
  caPem: '-----CA-----',
  fallbackAddress: 'wss://simmer-pods.simmer-system:8082',
  maxTimeoutMs: 60_000,
  maxLifetimeMs: 600_000,
  jobTtlSeconds: 60,
};

export function launchOf(spec: object = {}, more: Partial<Launch> = {}): Launch {
  return {
    podId: 'f-boot-1',
    kind: 'pool',
    functionKey: 'team-a/f',
    spec: specOf(spec),
    revision: 'r1',
    credential: 'token',
    address: 'wss://10.0.0.1:8082',
    functionUid: 'uid-of-f',
    launchedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
    ...more,
  };
}

/** A clock that the test moves. */
export function fakeClock() {
  let now = 0;
  let due: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    epoch: () => now,
    after(ms: number, callback: () => void) {
      const timer = { at: now + ms, callback };
      due.push(timer);
      return {
        cancel: () => {
          due = due.filter((t) => t !== timer);
        },
      };
    },
    advance(ms: number) {
      const end = now + ms;
      for (;;) {
        const next = due.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        due = due.filter((t) => t !== next);
        now = next.at;
        next.callback();
      }
      now = end;
    },
  };
}
