/**
 * What only events tell: a Job whose pod is refused (a quota, an admission plugin), a pod whose volumes or sandbox cannot
 * be had. Their status says nothing of it. Asked for only while something waits without a reason.
 */
import { type Api, EVENTS, type KubeLog, type KubeObject } from '../api/api.ts';
import { refusedPod, type Stuck } from './pod-view.ts';

/** What is asked for: kind of the object, reason of the event, and what it means. */
const QUESTIONS: readonly {
  readonly kind: 'Job' | 'Pod';
  readonly reason: string;
  readonly meaning: (note: string) => Stuck;
}[] = [
  { kind: 'Job', reason: 'FailedCreate', meaning: refusedPod },
  {
    kind: 'Pod',
    reason: 'FailedMount',
    meaning: (message) => ({ code: 'MountFailed', message, hopeless: false }),
  },
  {
    kind: 'Pod',
    reason: 'FailedCreatePodSandBox',
    meaning: (message) => ({ code: 'SandboxFailed', message, hopeless: false }),
  },
];

/** By UID of the object. Never throws: without an answer there is no trouble to tell of. */
export async function findTroubles(
  api: Api,
  namespace: string,
  kinds: ReadonlySet<'Job' | 'Pod'>,
  log: KubeLog,
): Promise<ReadonlyMap<string, Stuck>> {
  const found = new Map<string, Stuck>();
  const asked = QUESTIONS.filter((q) => kinds.has(q.kind));
  await Promise.all(
    asked.map(async ({ kind, reason, meaning }) => {
      try {
        const fieldSelector = `regarding.kind=${kind},reason=${reason}`;
        const { items } = await api.list(EVENTS, namespace, { fieldSelector });
        for (const event of items) {
          const uid = (event['regarding'] as { uid?: string } | undefined)?.uid;
          if (uid !== undefined) found.set(uid, meaning(noteOf(event)));
        }
      } catch (error) {
        log.warn({ namespace }, `cannot look why pods do not start: ${(error as Error).message}`);
      }
    }),
  );
  return found;
}

/** `Error creating: ` is the Job controller's own. */
function noteOf(event: KubeObject): string {
  return String(event['note'] ?? '').replace(/^Error creating: /, '');
}
