/** The kinds of the Kubernetes API that Simmer touches, and the light types it reads them with. */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** What the API server fills in is optional: an object that is being created has none of it. */
export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  /** RFC 3339 */
  creationTimestamp?: string;
  /** RFC 3339. It was told to go; finalizers or a grace period still keep it. */
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  managedFields?: unknown;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [rest: string]: unknown;
}

export interface Resource {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

const core = (plural: string, kind: string): Resource => ({
  group: '',
  version: 'v1',
  plural,
  kind,
});

export const SIMMER_GROUP = 'simmer.dev';
export const SIMMER_VERSION = 'v1alpha1';

export const PODS = core('pods', 'Pod');
export const SECRETS = core('secrets', 'Secret');
export const CONFIG_MAPS = core('configmaps', 'ConfigMap');
export const SERVICES = core('services', 'Service');
export const SERVICE_ACCOUNTS = core('serviceaccounts', 'ServiceAccount');
export const NAMESPACES = core('namespaces', 'Namespace');
export const NODES = core('nodes', 'Node');
export const RESOURCE_QUOTAS = core('resourcequotas', 'ResourceQuota');
export const JOBS: Resource = { group: 'batch', version: 'v1', plural: 'jobs', kind: 'Job' };
export const EVENTS: Resource = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
};
export const LEASES: Resource = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
};
export const ENDPOINT_SLICES: Resource = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
  kind: 'EndpointSlice',
};
export const CUSTOM_RESOURCE_DEFINITIONS: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
};
export const FUNCTIONS: Resource = {
  group: SIMMER_GROUP,
  version: SIMMER_VERSION,
  plural: 'functions',
  kind: 'Function',
};
export const WARM_POOLS: Resource = {
  group: SIMMER_GROUP,
  version: SIMMER_VERSION,
  plural: 'warmpools',
  kind: 'WarmPool',
};

/** `v1`, `batch/v1` */
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** As RBAC and kubectl write it: `pods`, `functions.simmer.dev`. */
export function qualifiedName(resource: Resource): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** The URL's path. `namespace` '' for what belongs to none, or for all namespaces; no `name`: the collection. */
export function pathOf(resource: Resource, namespace: string, name?: string): string {
  const root = resource.group === '' ? '/api' : `/apis/${resource.group}`;
  const scope = namespace === '' ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  const tail = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}/${resource.version}${scope}/${resource.plural}${tail}`;
}
