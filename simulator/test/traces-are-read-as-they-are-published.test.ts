import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { SimulatedFunction } from '../src/load/load.ts';
import { readTrace2019, readTrace2021 } from '../src/load/traces.ts';

const MINUTE_MS = 60_000;
const OPTIONS = { functions: 100, coldStartMs: 350 };
const SAMPLE = fileURLToPath(new URL('../data/azure-2021-sample.csv', import.meta.url));

function callsOf(f: SimulatedFunction | undefined): { at: number; serviceMs: number }[] {
  const calls = f?.calls();
  const list: { at: number; serviceMs: number }[] = [];
  for (calls?.next(); calls !== undefined && calls.at < Number.POSITIVE_INFINITY; calls.next()) {
    list.push({ at: calls.at, serviceMs: calls.serviceMs });
  }
  return list;
}

/** Files of the 2019 trace's form; `counts`: calls by minute of each function, by its hash. */
function invocations(counts: Readonly<Record<string, Readonly<Record<number, number>>>>): string {
  const minutes = Array.from({ length: 1_440 }, (_, i) => i + 1);
  const lines = Object.entries(counts).map(([hash, at]) =>
    ['owner', 'app', hash, 'http', ...minutes.map((minute) => at[minute] ?? 0)].join(','),
  );
  return `${[['HashOwner', 'HashApp', 'HashFunction', 'Trigger', ...minutes].join(','), ...lines].join('\n')}\n`;
}

function folderOf(t: Test, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-trace-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

t.test(
  'the 2019 trace: calls of each minute, over days, with durations and memory of the files beside it',
  async (t) => {
    const folder = folderOf(t, {
      'invocations_per_function_md.anon.d03.csv': invocations({
        a: { 1: 2, 1440: 1 },
        b: { 10: 1 },
      }),
      'invocations_per_function_md.anon.d04.csv': invocations({ a: { 1: 1 }, c: { 5: 3 } }),
      'function_durations_percentiles.anon.d03.csv':
        'HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum\nowner,app,a,100,1,1,1\n',
      'function_durations_percentiles.anon.d04.csv':
        'HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum\nowner,app,a,400,2,1,1\n',
      'app_memory_percentiles.anon.d03.csv':
        'HashOwner,HashApp,SampleCount,AverageAllocatedMb\nowner,app,10,256\n',
    });
    const load = await readTrace2019(folder, OPTIONS);
    t.equal(load.durationMs, 2 * 1_440 * MINUTE_MS);
    const [a, b, c] = load.functions;
    t.same(
      callsOf(a).map(({ at }) => at / MINUTE_MS),
      [0.25, 0.75, 1_439.5, 1_440.5],
    );
    t.equal(callsOf(a)[0]?.serviceMs, 300, 'the mean of both days, by how many there were');
    t.equal(a?.memoryMib, 256);
    t.same(
      callsOf(b).map(({ at }) => at / MINUTE_MS),
      [9.5],
    );
    t.equal(callsOf(c).length, 3);
    t.equal((await readTrace2019(folder, { ...OPTIONS, functions: 1 })).functions.length, 1);
  },
);

t.test(
  'the 2021 trace: each call from its end and its duration, by function, in order',
  async (t) => {
    const folder = folderOf(t, {
      'trace.csv': 'app,func,end_timestamp,duration\nx,f,10,4\nx,g,8,1\ny,f,9,0.5\nx,f,7.5,2.5\r\n',
    });
    const load = await readTrace2021(join(folder, 'trace.csv'), OPTIONS);
    t.equal(load.functions.length, 3, 'functions of two apps may have one name');
    t.same(callsOf(load.functions[0]), [
      { at: 5_000, serviceMs: 2_500 },
      { at: 6_000, serviceMs: 4_000 },
    ]);
    t.equal(load.durationMs, 10_000);
  },
);

t.test('the sample of the 2021 trace is read whole', async (t) => {
  const load = await readTrace2021(SAMPLE, OPTIONS);
  t.equal(load.functions.length, 31);
  t.equal(
    load.functions.reduce((sum, f) => sum + callsOf(f).length, 0),
    199,
  );
  t.ok(load.durationMs > 15 * MINUTE_MS && load.durationMs < 25 * MINUTE_MS);
});

t.test('what is not of that form is refused with the place', async (t) => {
  const folder = folderOf(t, {
    'bad.csv': 'app,func,end_timestamp,duration\nx,f,1,1\nx,f,soon,1\n',
    'short.csv': 'app,func,end_timestamp,duration\nx,f,1\n',
    'other.csv': 'a,b,c,d\n1,2,3,4\n',
  });
  const read = (name: string) => readTrace2021(join(folder, name), OPTIONS);
  await t.rejects(read('bad.csv'), /bad\.csv:3: end_timestamp and duration/);
  await t.rejects(read('short.csv'), /short\.csv:2: 3 columns, 4 in the first line/);
  await t.rejects(read('other.csv'), /no column app/);
  await t.rejects(readTrace2019(folder, OPTIONS), /no invocations_per_function_md/);
});
