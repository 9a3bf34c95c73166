/**
 * Takes the roles away, and then each right in them, one at a time; restarts the control plane, and has it do everything that
 * it does. It must say which right it lacks: so none is there for nothing. SIMMER_TEST_RIGHT: a pattern (`get pods`) of those to try.
 */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { fn, invoke, send, WAITS } from './support/call.ts';
import { type Installation, image, install } from './support/installation.ts';
import { apply, get, kubectl, tryCommand, until } from './support/kubectl.ts';

/** A few of them fill the store. */
const CODE_BYTES = 300_000;
const STORE_BYTES = '1MiB';

/** Side by side: most of the time each waits for its pods. */
const INSTALLATIONS = 3;
const installations: Installation[] = [];
t.before(async () => {
  for (let i = 0; i < INSTALLATIONS; i++)
    installations.push(
      await install({ keys: true, env: { SIMMER_CODE_STORE_MAX_BYTES: STORE_BYTES } }),
    );
});
t.teardown(() => Promise.all(installations.map((simmer) => simmer.remove())));

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const ROLES = [
  ['system', 'simmer'],
  ['tenant', 'simmer-functions'],
] as const;

/** A safety net: what is missing is told within seconds; a repeated event, after a minute. */
const LIMIT_MS = 240_000;
const POLL_MS = 200;

/** The rule without one right; the others of its resources stay. */
function without(rule: Rule, resource: string, verb: string): Rule[] {
  const rest = { ...rule, resources: rule.resources.filter((r) => r !== resource) };
  const less = { ...rule, resources: [resource], verbs: rule.verbs.filter((v) => v !== verb) };
  return [rest, less].filter(({ resources, verbs }) => resources.length > 0 && verbs.length > 0);
}

async function replaceRules(namespace: string, role: string, rules: readonly Rule[]) {
  const patch = JSON.stringify([{ op: 'replace', path: '/rules', value: rules }]);
  await kubectl('patch', 'role', role, '-n', namespace, '--type=json', '-p', patch);
}

/** Is ready in a pod, and never in a Job, whose pods have longer names: that is given up, and removed. */
const NEVER_IN_A_JOB = `${WAITS}
if (/-[a-z0-9]{5}$/.test(process.env.HOSTNAME)) await new Promise(() => {});
`;
const STARTUP_TIMEOUT_MS = 6_000;
/** Calls longer than a start on a slow machine: or the second would rightly wait for the first one's slot, and no Job be made. */
const LONG_MS = 12_000;

const now = ['--grace-period=0', '--force', '--wait=false'];

/**
 * A new process, which knows nothing. What an earlier one has made stays, somewhat out of date; or is gone; or the Lease is that
 * of a leader whose pod vanished.
 */
async function restart(simmer: Installation, made: 'stays' | 'goes' | 'lost'): Promise<void> {
  const { system } = simmer;
  if (made === 'goes') await kubectl('delete', 'lease,secret', '--all', '-n', system);
  else {
    // As when a session key is a month old. Not a patch: there is none if the right tried before was that to make one, and
    // then it would be made, not mended.
    await apply(system, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'simmer-keys' },
      stringData: { 'sessions.json': '[]' },
    });
  }
  await kubectl('delete', 'pod', '--all', '-n', system, ...now);
  if (made === 'lost') {
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    // Not a patch: there is none if the right tried before was that to make one.
    await apply(system, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'simmer' },
      spec: { holderIdentity: 'simmer-vanished', renewTime, leaseDurationSeconds: 15 },
    });
  }
}

/** Has it write a function as its callers may. */
async function write(simmer: Installation): Promise<void> {
  const spec = { source: { inline: WAITS } };
  const path = `/v1/functions/${simmer.name('rights-rest')}`;
  const made = {
    ...fn('rights-rest', spec),
    metadata: { name: 'rights-rest', namespace: simmer.tenant },
  };
  await send(simmer, 'POST', '/v1/functions', made);
  await send(simmer, 'PUT', path, { spec: { ...spec, maxReplicas: 3 } });
  await send(simmer, 'DELETE', path);
}

/** Has it keep code, drop what no function names any more, and read it again after a restart. */
async function upload(simmer: Installation): Promise<void> {
  const path = `/v1/functions/${simmer.name('rights-code')}`;
  await send(simmer, 'PUT', path, { spec: { source: { inline: WAITS } } });
  // The last one is there already.
  for (const text of 'abcdeff') {
    const body = `${WAITS}//${text.repeat(CODE_BYTES)}`;
    await send(simmer, 'PUT', `${path}/code?wait=5`, body, {
      'content-type': 'text/javascript',
    });
  }
}

/** What a control plane does within seconds; any of it may fail, because a right is missing. */
async function exerciseOnce(simmer: Installation, named: () => boolean): Promise<void> {
  const { tenant } = simmer;
  const few = { source: { inline: WAITS }, minReplicas: 1, maxReplicas: 1 };
  const secret = { apiVersion: 'v1', kind: 'Secret' };
  const stringData = { key: 'of a function that is gone' };
  await apply(
    tenant,
    // It is made that of the new function.
    { ...secret, metadata: { name: 'simmer-pool-rights' }, stringData },
    fn('rights', {
      ...few,
      source: { inline: NEVER_IN_A_JOB },
      startupTimeoutMs: STARTUP_TIMEOUT_MS,
    }),
    fn('rights-image', { ...few, image: image('no-such-image') }),
    fn('rights-claims', { source: { inline: WAITS } }),
    fn('rights-crash', { ...few, source: { inline: "throw new Error('no');" } }),
    {
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'WarmPool',
      metadata: { name: 'rights' },
      spec: { minReplicas: 1 },
    },
  );
  const call = (ms: number) =>
    invoke(simmer, 'rights', { ms }, { 'x-timeout-ms': `${ms + 3_000}` }).catch(() => undefined);
  await until('it is called, or a right is missing', async () => {
    if (named()) return true;
    return (await call(0))?.status === 200 || (await told(simmer)) !== '';
  });
  // It has no pod of its own: that of the WarmPool becomes its.
  if (!named()) await invoke(simmer, 'rights-claims', { ms: 0 }).catch(() => undefined);
  if (!named()) await write(simmer);
  if (!named()) await upload(simmer);
  // The second is a miss, and gets a Job: it would wait for a call of the usual length.
  if (!named()) await Promise.all([call(LONG_MS), call(LONG_MS)]);
  await kubectl('delete', 'functions.simmer.dev/rights', 'wp/rights', '-n', tenant, '--wait=false');
}

/** All of it until what is missing was `named`: on a busy machine some of it, as a Job that is given up, may not come about at once. */
async function exercise(simmer: Installation, named: () => boolean, end: number): Promise<void> {
  while (!named() && Date.now() < end) {
    await exerciseOnce(simmer, named).catch(() => undefined);
    if (!named()) await delay(POLL_MS);
  }
}

/** What it says of missing rights. */
async function told(simmer: Installation): Promise<string> {
  const selector = ['-n', simmer.system, '-l', 'app.kubernetes.io/name=simmer', '--tail=-1'];
  const { stdout } = await tryCommand('kubectl', ['logs', ...selector]);
  const before = await tryCommand('kubectl', ['logs', ...selector, '--previous']);
  const lines = `${stdout}\n${before.stdout}`.split('\n');
  return lines.filter((line) => line.includes('no permission to')).join('\n');
}

async function isNamed(simmer: Installation, verb: string, resource: string): Promise<boolean> {
  const phrase = new RegExp(`verb \\\\?"${verb}\\\\?", resource \\\\?"${resource}\\\\?"`);
  const end = Date.now() + LIMIT_MS;
  let named = false;
  const exercised = exercise(simmer, () => named, end);
  while (!named && Date.now() < end) {
    named = phrase.test(await told(simmer));
    if (!named) await delay(POLL_MS);
  }
  await exercised;
  return named;
}

async function clear(simmer: Installation): Promise<void> {
  const { tenant } = simmer;
  const kinds = ['functions.simmer.dev', 'warmpools.simmer.dev'];
  await kubectl('delete', kinds.join(','), '--all', '-n', tenant, '--wait=false');
  for (const kind of kinds) {
    const left = await kubectl('get', kind, '-n', tenant, '-o', 'name');
    for (const object of left.split('\n').filter(Boolean)) {
      const none = ['--type=merge', '-p', '{"metadata":{"finalizers":null}}'];
      await tryCommand('kubectl', ['patch', object, '-n', tenant, ...none]);
    }
  }
  await kubectl('delete', 'pods,jobs,secrets', '--all', '-n', tenant, ...now);
}

t.test('without a role binding the error names what is missing', async (t) => {
  const [simmer] = installations as [Installation];
  for (const [where, role] of ROLES) {
    const binding = await get(simmer[where], 'rolebinding', role);
    await kubectl('delete', 'rolebinding', role, '-n', simmer[where]);
    await restart(simmer, 'goes');
    const line = await until(`${role} is missed`, async () => (await told(simmer)) || undefined);
    t.match(line, `in namespace ${simmer[where]}`);
    t.match(line, /verb \\?"(get|create|list)\\?", resource \\?"/);
    const { apiVersion, kind, roleRef, subjects } = binding as Record<string, unknown>;
    await apply(simmer[where], {
      ...{ apiVersion, kind, roleRef, subjects },
      metadata: { name: role },
    });
  }
  await restart(simmer, 'goes');
});

/** The API server's authorizer hears of a changed role a moment later: a process that starts before that misses nothing. */
async function taken(simmer: Installation, right: Right): Promise<void> {
  const [, subresource] = right.resource.split('/');
  const [name] = right.rule.resourceNames ?? [];
  const [resource = ''] = fullName(right).split('/');
  const asked = [
    ...['auth', 'can-i', right.verb, name === undefined ? resource : `${resource}/${name}`],
    ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
    ...['-n', simmer[right.where], '--as', `system:serviceaccount:${simmer.system}:simmer`],
  ];
  await until(`${right.verb} ${right.resource} is taken away`, async () => {
    const { stdout } = await tryCommand('kubectl', asked);
    return stdout.trim() === 'no';
  });
}

interface Right {
  readonly where: 'system' | 'tenant';
  readonly role: string;
  readonly rules: readonly Rule[];
  readonly rule: Rule;
  readonly resource: string;
  readonly verb: string;
}

/** Every right of both roles, as they are installed. */
async function rights(simmer: Installation): Promise<Right[]> {
  const all: Right[] = [];
  for (const [where, role] of ROLES) {
    const rules = (await get(simmer[where], 'role', role))['rules'] as Rule[];
    for (const rule of rules) {
      for (const resource of rule.resources) {
        for (const verb of rule.verbs) all.push({ where, role, rules, rule, resource, verb });
      }
    }
  }
  return all;
}

/** As errors name the resource. */
function fullName({ rule, resource }: Right): string {
  const [group] = rule.apiGroups;
  const [plural, sub] = resource.split('/');
  return `${group ? `${plural}.${group}` : plural}${sub ? `/${sub}` : ''}`;
}

t.test('each right of both roles is missed by name when it is taken away', async (t) => {
  const some = process.env['SIMMER_TEST_RIGHT'];
  const todo = (await rights(installations[0] as Installation)).filter(
    (right) => some === undefined || `${right.verb} ${right.resource}`.match(some),
  );
  t.ok(todo.length > 0);
  const worker = async (simmer: Installation) => {
    for (;;) {
      const right = todo.shift();
      if (right === undefined) return;
      const { where, role, rules, rule, resource, verb } = right;
      const less = rules.flatMap((r) => (r === rule ? without(r, resource, verb) : [r]));
      await replaceRules(simmer[where], role, less);
      await taken(simmer, right);
      const name = fullName(right);
      const rare = { 'create system': 'goes', 'get system': 'lost' } as const;
      await restart(simmer, rare[`${verb} ${where}` as keyof typeof rare] ?? 'stays');
      t.ok(await isNamed(simmer, verb, name), `${verb} ${name} in the ${where} namespace`);
      await replaceRules(simmer[where], role, rules);
      await clear(simmer);
    }
  };
  await Promise.all(installations.map(worker));
});

t.test('with all rights back it serves, and misses none', async (t) => {
  const [simmer] = installations as [Installation];
  const { system, tenant } = simmer;
  await restart(simmer, 'goes');
  await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
  await apply(tenant, fn('after', { source: { inline: WAITS } }));
  await until('it serves', async () => {
    const answer = await invoke(simmer, 'after', { ms: 0 }).catch(() => undefined);
    return answer?.status === 200;
  });
  t.equal(await told(simmer), '');
});
