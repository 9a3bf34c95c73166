/** The label by which the Services find the leader. */
import { type Api, isReason, PODS } from '../api/api.ts';

export const LEADER_LABEL = 'simmer.dev/leader';

/**
 * Puts it on the pod, then takes it from all others: for a moment two are found, never none.
 * The pod may not exist: a control plane outside the cluster has none.
 */
export async function takeLabel(api: Api, namespace: string, pod: string): Promise<void> {
  await setLabel(api, namespace, pod, 'true');
  const labelSelector = `${LEADER_LABEL}=true`;
  for (const { metadata } of (await api.list(PODS, namespace, { labelSelector })).items) {
    if (metadata.name !== undefined && metadata.name !== pod) {
      await setLabel(api, namespace, metadata.name, null);
    }
  }
}

async function setLabel(
  api: Api,
  namespace: string,
  pod: string,
  value: string | null,
): Promise<void> {
  const change = { metadata: { labels: { [LEADER_LABEL]: value } } };
  await api.patch(PODS, namespace, pod, change).catch((error) => {
    if (!isReason(error, 'NotFound')) throw error;
  });
}
