import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendPod } from '@simmer/protocol/backend';
import t from 'tap';
import { LastWords, logPodLine } from '../../src/control/backends/pod-log.ts';
import { LineSplitter, MAX_LINE_CHARS } from '../../src/control/backends/pod-output.ts';
import { ProcessBackend } from '../../src/control/backends/process.ts';
import { createLog, type LogSink } from '../../src/control/log.ts';
import { backendContract, listen, requestFor } from './backend-contract.ts';
import { manifestOf, memoryLog, until } from './fakes.ts';

const POD = fileURLToPath(new URL('fixtures/pod.mjs', import.meta.url));
const baseDir = mkdtempSync(join(tmpdir(), 'simmer-pods-'));
t.teardown(() => rmSync(baseDir, { recursive: true }));

function make() {
  const lines: { pod: BackendPod; stream: string; line: string }[] = [];
  const backend = new ProcessBackend({
    command: { file: process.execPath, args: [POD] },
    environment: { PATH: process.env['PATH'] ?? '', TZ: 'UTC' },
    onLine: (pod, stream, line) => void lines.push({ pod, stream, line }),
  });
  const textsOf = (podId: string) => lines.filter((l) => l.pod.podId === podId).map((l) => l.line);
  return { backend, lines, textsOf };
}

/** A process that has ended and that nobody has waited for yet is not alive. */
const isAlive = (pid: number) => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
};

backendContract(t, () => {
  const { backend, textsOf } = make();
  return {
    backend,
    baseDir,
    up: (podId) => until(`${podId} is up`, () => textsOf(podId).includes('up')),
    unlaunchable: (request) => ({ ...request, baseDir: join(baseDir, 'gone') }),
  };
});

t.test('a child knows who it is, and nothing else of ours', async (t) => {
  process.env['SIMMER_TEST_SECRET'] = 'x';
  t.teardown(() => {
    delete process.env['SIMMER_TEST_SECRET'];
  });
  const { backend, lines } = make();
  t.teardown(() => backend.close());
  const spec = manifestOf('f', {
    handler: 'src/handler.mjs',
    concurrency: 7,
    graceMs: 1_234,
    env: [
      { name: 'GREETING', value: 'hello' },
      { name: 'TZ', value: 'Europe/Rome' },
    ],
  }).spec;
  const request = requestFor('tells-environment', baseDir, { spec });
  await backend.launch(request);
  await until('it tells', () => lines.length > 0);
  t.strictSame(JSON.parse(lines[0]?.line ?? ''), {
    cwd: baseDir,
    env: {
      PATH: process.env['PATH'],
      TZ: 'Europe/Rome',
      GREETING: 'hello',
      SIMMER_ADDRESS: 'ws://127.0.0.1:1',
      SIMMER_POD_UID: request.podId,
      SIMMER_TOKEN: 'credential',
      SIMMER_FUNCTION: 'default/tells-environment',
      SIMMER_HANDLER: join(baseDir, 'src/handler.mjs'),
      SIMMER_CAPACITY: '7',
      SIMMER_GRACE_MS: '1234',
      SIMMER_SCRATCH: join(tmpdir(), `simmer-pod-${request.podId}`),
      SIMMER_EXIT_WITH_STDIN: '1',
    },
  });
});

t.test('what a child prints comes line by line, long lines cut, the last one kept', async (t) => {
  const { backend, lines, textsOf } = make();
  t.teardown(() => backend.close());
  const { exited } = listen(backend);
  const request = requestFor('tells-lines', baseDir);
  await backend.launch(request);
  await exited(request.podId);
  const out = lines.filter((l) => l.stream === 'stdout').map((l) => l.line);
  const [one, two, long, ...rest] = out;
  t.strictSame([one, two], ['one', 'two']);
  t.match(long, /^unfinished äx+… \(cut\)$/);
  t.equal(long?.length, MAX_LINE_CHARS + '… (cut)'.length);
  t.strictSame(rest, ['after', 'last']);
  t.ok(textsOf(request.podId).includes('to stderr'));
});

t.test('a child whose spawner dies is told of as exited, and the next launch works', async (t) => {
  const { backend } = make();
  t.teardown(() => backend.close());
  const { exited, of } = listen(backend);
  const first = requestFor('polite', baseDir);
  await backend.launch(first);
  const [started] = of(first.podId);
  process.kill(backend.spawnerPid as number, 'SIGKILL');
  t.match(await exited(first.podId), { reason: 'the spawner process ended' });
  const pid = Number(started?.type === 'started' && started.label);
  await until('its standard input closed, and it ended', () => !isAlive(pid));
  const second = requestFor('polite', baseDir);
  await backend.launch(second);
  t.equal(of(second.podId).length, 1);
});

t.test('signals to the whole group do not end the spawner', async (t) => {
  const { backend } = make();
  t.teardown(() => backend.close());
  const { of } = listen(backend);
  await backend.launch(requestFor('polite', baseDir));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.kill(backend.spawnerPid as number, signal);
  }
  const request = requestFor('ticks', baseDir);
  await backend.launch(request);
  t.equal(of(request.podId).length, 1);
});

t.test('an environment that no process can be given is a refused launch', async (t) => {
  const { backend } = make();
  t.teardown(() => backend.close());
  const spec = manifestOf('f', { env: [{ name: 'A', value: 'nul\0' }] }).spec;
  const launch = backend.launch(requestFor('polite', baseDir, { spec }));
  await t.rejects(launch, { code: 'launch_failed', message: /null bytes/ });
});

t.test('a line of the runtime keeps its fields, any other becomes a message', async (t) => {
  const { log, lines, sink } = memoryLog();
  const pod = { podId: 'p1', functionKey: 'default/f' };
  const own =
    '{"time":"now","level":"warn","function":"default/f","executionId":"e","message":"hm"}';
  logPodLine(log, sink, pod, 'stdout', own);
  logPodLine(log, sink, pod, 'stdout', 'plain');
  logPodLine(log, sink, pod, 'stderr', '{"level":"loud","message":"no level of ours"}');
  logPodLine(log, sink, pod, 'stderr', '{not json}');
  t.match(lines, [
    { time: 'now', level: 'warn', message: 'hm', executionId: 'e', podId: 'p1' },
    { level: 'info', message: 'plain', podId: 'p1', function: 'default/f', stream: 'stdout' },
    { level: 'warn', message: '{"level":"loud","message":"no level of ours"}', stream: 'stderr' },
    { level: 'warn', message: '{not json}' },
  ]);
  const written: string[] = [];
  const memory: LogSink = { write: (line) => void written.push(line) };
  logPodLine(createLog('error', memory), memory, pod, 'stdout', own);
  t.strictSame(written, [], 'below the level');
});

t.test('last words are the line that says why', async (t) => {
  const words = (...lines: string[]) => {
    const last = new LastWords();
    for (const line of lines) last.note(line);
    return last.suffix;
  };
  t.equal(words(), '');
  t.equal(
    words(
      '/x.js:1',
      "throw new Error('a')",
      '^',
      'Error: a',
      '    at x (y:1:2) {',
      "  code: 'E'",
      '}',
      'Node.js v22.1.0',
    ),
    ': Error: a',
  );
  t.equal(words('{"level":"error","message":"bad token"}'), ': bad token');
  t.equal(words('x'.repeat(900)).length, 502);
});

t.test('lines come whole however the bytes are cut', async (t) => {
  const text = Buffer.from('eins\nzwäi\r\n\n€uro\n');
  for (let size = 1; size <= text.length; size++) {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (let i = 0; i < text.length; i += size) splitter.push(text.subarray(i, i + size));
    splitter.flush();
    t.strictSame(lines, ['eins', 'zwäi', '€uro']);
  }
});
