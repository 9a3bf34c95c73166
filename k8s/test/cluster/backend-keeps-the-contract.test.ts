import t from 'tap';
import { backendContract } from '../../../control-plane/test/control/backend-contract.ts';
import { Api, NO_CLUSTER, ownNamespace, until } from './cluster.ts';
import { kubectl, makeBackend, nodeSpec } from './pods.ts';

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  const api = Api.load();
  const namespace = await ownNamespace(t, api);
  backendContract(t, (t) => ({
    backend: makeBackend(t, api, namespace).backend,
    baseDir: '',
    more: (name) => ({ functionKey: `${namespace}/${name}`, spec: nodeSpec() }),
    up: (podId) =>
      until(`${podId} is up`, async () =>
        (await kubectl('logs', '-n', namespace, podId).catch(() => '')).includes('up'),
      ).then(() => {}),
    // A kubelet that waits out a grace hears of no shorter one.
    struckOff: /SIGKILL|it was ended/,
    unlaunchable: (request) => ({ ...request, functionKey: 'not-served/f' }),
  }));
}
