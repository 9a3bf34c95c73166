/** What holds for writes to every registry (protocol/src/registry.ts). Each registry's test file runs it. */
import { type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import type {
  Accepts,
  FunctionDocument,
  FunctionWrite,
  Registry,
  RegistrySnapshot,
  Written,
} from '@simmer/protocol/registry';
import type { Test } from 'tap';
import { until } from './fakes.ts';

export interface WriteSubject {
  readonly registry: Pick<Registry, 'put' | 'remove' | 'current' | 'lookAgain'>;
  /** What its `bundles` has, from now on. */
  readonly bundles: Map<string, Uint8Array>;
  readonly namespace: string;
  /** What the registry told last. */
  last(): RegistrySnapshot;
}

const yes: Accepts = () => true;

export function writeOf(
  namespace: string,
  name: string,
  spec: Record<string, unknown>,
  more: Partial<Pick<FunctionWrite, 'mayReplace' | 'accepts'>> = {},
): FunctionWrite {
  const document: FunctionDocument = {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name, namespace, labels: { team: 'a' } },
    spec,
  };
  const resolved = resolveManifest(document);
  if (!resolved.ok) throw new Error(JSON.stringify(resolved.issues));
  const manifest = resolved.manifest as FunctionManifest;
  return { document, manifest, mayReplace: true, accepts: yes, ...more };
}

const code = (text: string, more: object = {}) => ({ source: { inline: text }, ...more });

export async function registryWriteContract(t: Test, setUp: (t: Test) => Promise<WriteSubject>) {
  const start = async (t: Test) => {
    const subject = await setUp(t);
    const { registry, namespace, last } = subject;
    const put = (name: string, spec: object, more: Partial<FunctionWrite> = {}) =>
      registry.put(writeOf(namespace, name, { ...spec }, more));
    const taken = (written: Written) =>
      until('the listener has heard', () => written.taken() !== false);
    const find = (name: string) => last().functions.find((f) => f.key === `${namespace}/${name}`);
    return { ...subject, put, taken, find };
  };

  await t.test('what is put is stored, told and replaced, whole', async (t) => {
    const { put, taken, find } = await start(t);
    // Of what a file's format might make something else.
    const inline = 'export default () => "é: \'x\'";\n# no\ttab \n\n  - a: &b *c\n';
    const first = await put('a', code(inline, { maxReplicas: 3 }));
    t.equal(first.created, true);
    await taken(first);
    t.equal(first.taken(), true);
    t.match(find('a')?.manifest, {
      metadata: { labels: { team: 'a' } },
      spec: { maxReplicas: 3, concurrency: 1, source: { inline } },
    });
    const { revision } = find('a') ?? {};
    const second = await put('a', code('export default 2'));
    t.equal(second.created, false);
    await taken(second);
    t.not(find('a')?.revision, revision);
    t.not(find('a')?.manifest.spec.maxReplicas, 3, 'what the new one does not say is gone');
    const same = await put('a', code('export default 2'));
    await taken(same);
    t.equal(same.created, false);
  });

  await t.test('what exists is not made again, nor written over against a condition', async (t) => {
    const { put, taken, find, registry, namespace } = await start(t);
    const seen: (FunctionManifest | undefined)[] = [];
    const no: Accepts = (current) => {
      seen.push(current);
      return false;
    };
    await t.rejects(put('a', code('1'), { accepts: no }), { code: 'precondition_failed' });
    await taken(await put('a', code('1')));
    const before = find('a');
    await t.rejects(put('a', code('2'), { mayReplace: false }), { code: 'function_exists' });
    await t.rejects(put('a', code('2'), { accepts: no }), { code: 'precondition_failed' });
    await t.rejects(registry.remove(`${namespace}/a`, no), { code: 'precondition_failed' });
    t.equal(find('a'), before);
    t.equal(seen[0], undefined);
    t.strictSame(seen.slice(1), [before?.manifest, before?.manifest]);
  });

  await t.test('what is removed is told to be gone, once', async (t) => {
    const { put, taken, find, registry, namespace } = await start(t);
    await taken(await put('a', code('1')));
    await taken(await put('b', code('1')));
    t.equal(await registry.remove(`${namespace}/a`, yes), true);
    await until('it is gone', () => find('a') === undefined);
    t.ok(find('b'));
    t.equal(await registry.remove(`${namespace}/nobody`, yes), false);
  });

  await t.test('what is stored can be read, in force or not', async (t) => {
    const { put, taken, registry, namespace } = await start(t);
    const key = `${namespace}/a`;
    t.equal(await registry.current(key), undefined);
    await taken(await put('a', code('1', { maxReplicas: 3 })));
    const current = await registry.current(key);
    t.match(current, {
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name: 'a', namespace, labels: { team: 'a' } },
      spec: code('1', { maxReplicas: 3 }),
    });
    await registry.remove(key, yes);
    await until('it is gone', async () => (await registry.current(key)) === undefined);
  });

  await t.test('code may come after the manifest that names it', async (t) => {
    const { put, find, registry, namespace, bundles } = await start(t);
    const [before, later] = ['a', 'b'].map((digit) => `sha256:${digit.repeat(64)}`) as [
      string,
      string,
    ];
    bundles.set(before, Buffer.from('before'));
    const first = await put('a', { source: { bundle: before }, handler: 'a.mjs' });
    await until('it is taken', () => first.taken() === true);
    t.match(find('a')?.source, { entry: 'a.mjs', digest: 'a'.repeat(64) });

    const second = await put('a', { source: { bundle: later }, handler: 'a.mjs' });
    await until('it is looked at', () => second.taken() !== false);
    t.match(second.taken(), [
      { field: 'spec.source.bundle', reason: /not in the store of code: upload/ },
    ]);
    t.equal(find('a')?.source?.digest, 'a'.repeat(64), 'what it was goes on');
    t.match(await registry.current(`${namespace}/a`), { spec: { source: { bundle: later } } });

    bundles.set(later, Buffer.from('later'));
    const again = await registry.lookAgain(`${namespace}/a`);
    await until('it is taken', () => again.taken() === true);
    t.match(find('a')?.source, { digest: 'b'.repeat(64), bytes: bundles.get(later) });
  });

  await t.test('of writers at the same time the last one wins, whole', async (t) => {
    const { put, find } = await start(t);
    const specs = Array.from({ length: 8 }, (_, i) => code(`${i}`, { maxReplicas: i + 2 }));
    const all = await Promise.all(specs.map((spec) => put('a', spec)));
    t.equal(all.filter(({ created }) => created).length, 1);
    await until('all are taken', () => all.every((written) => written.taken() === true));
    const { spec } = find('a')?.manifest ?? {};
    t.equal(spec?.source?.inline, String((spec?.maxReplicas ?? 0) - 2));
  });
}
