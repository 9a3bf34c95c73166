import t from 'tap';
import type { KubeObject } from '../src/api/api.ts';
import { environmentOf, type Value, type Values } from '../src/registry/environment.ts';
import { checkObject } from '../src/registry/resolve.ts';
import { SecretValues } from '../src/registry/secret-values.ts';

const secretOf = (text: string) => ({ metadata: {}, data: { key: text } }) as KubeObject;

function setUp() {
  const asked: string[] = [];
  const answers: ((secret: KubeObject | Error | undefined) => Promise<void>)[] = [];
  const timers: (() => void)[] = [];
  let reads = 0;
  const values = new SecretValues({
    read: (name) =>
      new Promise((resolve, reject) => {
        asked.push(name);
        answers.push(async (secret) => {
          if (secret instanceof Error) reject(secret);
          else resolve(secret);
          await new Promise((done) => setImmediate(done));
        });
      }),
    onRead: () => {
      reads++;
    },
    onError: () => {},
    clock: {
      now: () => 0,
      epoch: () => 0,
      after: (_, callback) => {
        timers.push(callback);
        return { cancel: () => {} };
      },
    },
  });
  return { values, asked, answers, timers, reads: () => reads };
}

t.test('a Secret is read once, and held while it is asked for', async (t) => {
  const { values, asked, answers, reads } = setUp();
  t.equal(values.get('s', '1'), undefined);
  values.sweep();
  t.equal(values.get('s', '1'), undefined);
  t.same(asked, ['s']);
  values.sweep();
  values.sweep();
  await answers[0]?.(secretOf('a'));
  t.equal(reads(), 1);
  t.match(values.get('s', '1'), secretOf('a'));
  values.sweep();
  t.match(values.get('s', '1'), secretOf('a'));
  values.sweep();
  values.sweep();
  values.get('s', '1');
  t.equal(asked.length, 2, 'it was forgotten');
});

t.test('another version is read anew; what comes late of the one before is dropped', async (t) => {
  const { values, answers, reads } = setUp();
  values.get('s', '1');
  values.get('s', '2');
  await answers[0]?.(secretOf('old'));
  t.equal(reads(), 0);
  await answers[1]?.(secretOf('new'));
  t.match(values.get('s', '2'), secretOf('new'));
});

t.test('one that cannot be read is asked for again later', async (t) => {
  const { values, asked, answers, timers, reads } = setUp();
  values.get('s', '1');
  await answers[0]?.(new Error('away'));
  values.get('s', '1');
  t.equal(asked.length, 1);
  for (const ring of timers) ring();
  t.equal(reads(), 1);
  values.get('s', '1');
  t.equal(asked.length, 2);
});

function envOf(env: readonly object[], values: Values, spec: object = { source: { inline: 'x' } }) {
  const checked = checkObject({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name: 'a', namespace: 'n' },
    spec: { handler: 'h.js', ...spec, env },
  });
  if (!checked.ok) throw new Error(JSON.stringify(checked.issues));
  return environmentOf(checked.manifest.spec, values);
}

t.test('an environment is whole, or says what it lacks', async (t) => {
  const found: Record<string, Value> = {
    's k': { value: 'secret' },
    'c k': { value: 'plain' },
    'late k': { reason: 'Secret late is being read', absent: false },
  };
  const look = (name: string, key: string): Value =>
    found[`${name} ${key}`] ?? { reason: `there is no ${name}`, absent: true };
  const values = { secret: look, configMap: look };
  const secret = (name: string, optional?: boolean) => ({
    name: 'S',
    valueFrom: { secretKeyRef: { name, key: 'k', ...(optional && { optional }) } },
  });
  const plain = { name: 'A', value: 'a' };
  const config = { name: 'C', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' } } };
  t.same(envOf([plain, secret('s'), config], values), {
    env: [
      ['A', 'a'],
      ['C', 'plain'],
    ],
    secrets: [['S', 'secret']],
  });
  t.match(envOf([secret('none')], values), { reason: 'its variable S: there is no none' });
  t.same(envOf([secret('none', true)], values), { env: [], secrets: [] });
  t.match(envOf([secret('late', true)], values), { reason: /being read/ });
  t.equal(envOf([plain], values), undefined, 'nothing stands elsewhere');
  t.equal(envOf([secret('s')], values, {}), undefined, 'its code is in an image');
  const field = { name: 'F', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };
  t.equal(envOf([field, secret('s')], values), undefined);
});
