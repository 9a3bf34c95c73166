import t from 'tap';
import type { KubeObject } from '../src/api/api.ts';
import { scalerOf, withScaler } from '../src/registry/resolve.ts';

const object = (managedFields?: unknown): KubeObject => ({
  metadata: { name: 'f', ...(managedFields !== undefined && { managedFields }) },
  spec: { minReplicas: 3 },
});
const minimum = { 'f:spec': { 'f:minReplicas': {} } };

t.test('an autoscaler, or kubectl scale', async (t) => {
  const entries = [
    { manager: 'kubectl-client-side-apply', operation: 'Update', fieldsV1: { 'f:spec': {} } },
    { manager: 'simmer-status', subresource: 'status', fieldsV1: { 'f:status': {} } },
    { manager: 'kube-controller-manager', subresource: 'scale', fieldsV1: minimum },
  ];
  t.equal(scalerOf(withScaler(object(entries))), 'kube-controller-manager');
});

t.test('nobody, where the manifest says it', async (t) => {
  const applied = { manager: 'kubectl', operation: 'Apply', fieldsV1: minimum };
  t.equal(scalerOf(withScaler(object([applied]))), undefined);
  t.equal(scalerOf(withScaler(object())), undefined);
  t.equal(scalerOf(withScaler(object('nonsense'))), undefined);
});
