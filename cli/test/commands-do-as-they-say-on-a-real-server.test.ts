import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Simmer } from '../../control-plane/test/server/simmer.ts';
import { cli, type Surroundings } from './cli.ts';

const simmer = await Simmer.start(t, [
  { name: 'fn', spec: { minReplicas: 1, maxReplicas: 4, retry: { baseDelayMs: 1 } } },
  { name: 'closed', spec: { overflow: 0, queue: { maxLength: 0 } } },
]);
const folder = mkdtempSync(join(tmpdir(), 'simmer-cli-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const env = { SIMMER_URL: `http://127.0.0.1:${simmer.port}` };
const run = (args: readonly string[], more: Surroundings = {}) =>
  cli(args, { ...more, env: { ...env, ...more.env } });

t.test('invoke takes its input from where it is told', async (t) => {
  const file = join(folder, 'input.json');
  writeFileSync(file, '{"echo": "of the file"}');
  for (const [args, stdin, echo] of [
    [['--data', '{"echo": 12345678901234567890}'], undefined, '12345678901234567000'],
    [['--file', file], undefined, '"of the file"'],
    [['-'], '{"echo": "of standard input"}', '"of standard input"'],
  ] as const) {
    const { code, out } = await run(
      ['invoke', 'fn', ...args],
      stdin === undefined ? {} : { stdin },
    );
    t.equal(code, 0, args[0]);
    t.match(out, `"echo": ${echo}`);
  }
  t.match((await run(['invoke', 'fn'])).json, { pid: Number }, 'without input');
  const whole = await run(['--json', 'invoke', 'fn.default', '-d', '{"echo": 1}', '-t', '20000']);
  t.match(whole.json, { status: 'succeeded', output: { echo: 1 } });
});

t.test('an asynchronous call is followed to its end', async (t) => {
  const gate = simmer.gate();
  const enqueued = await run(['invoke', 'fn', '--async', '-d', JSON.stringify({ wait: gate })]);
  const id = enqueued.out.trim();
  t.match(id, /^[a-z0-9]{12}-\d+$/);
  const ended = run(['executions', 'get', id, '--wait']);
  t.match((await run(['executions', '--json', '--function', 'fn'])).json, {
    executions: [{ executionId: id }],
  });
  simmer.open(gate);
  const { code, out } = await ended;
  t.equal(code, 0);
  t.match(out, /status: +succeeded/);
  t.match(out, /ATTEMPT +STARTED +TOOK/);
  t.match(out, /"pid":/, 'its output');
  const listed = await run(['executions', '--status', 'succeeded']);
  t.match(listed.out, new RegExp(`^ID +FUNCTION[^]*\\n${id} +fn +succeeded`));
  t.match((await run(['executions', '--mode', 'async'])).out, id);
  t.notMatch((await run(['executions', '--mode', 'sync'])).out, id);

  const failed = await run(['invoke', 'fn', '--async', '--wait', '-d', '{"error": "no"}']);
  t.equal(failed.code, 1);
  t.match(failed.err, /^simmer: execution \S+ \w+: function_error: Error: no\n$/);

  const never = simmer.gate();
  const running = await run(['invoke', 'fn', '--async', '-d', JSON.stringify({ wait: never })]);
  const cancelled = await run(['executions', 'cancel', running.out.trim()]);
  t.match(cancelled, { code: 0, out: / cancelled\n$/ });
});

t.test('what is there is shown', async (t) => {
  t.match((await run(['functions'])).out, /^NAME +READY[\s\S]*\nfn +\d/);
  t.match((await run(['functions', 'get', 'fn'])).json, { urlName: 'fn', spec: {} });
  t.match((await run(['pools'])).out, /^NAME +KIND[\s\S]*\nfn +Function +1-4 /);
  t.match((await run(['pools', 'get', 'fn'])).out, /^name: +fn\n[\s\S]*\nPOD +LABEL/);
  t.match((await run(['--json', 'pools', 'get', 'fn'])).json, { name: 'fn', pods: Array });
});

t.test('a dead letter is shown, run again, and forgotten', async (t) => {
  const args = ['invoke', 'fn', '--async', '--max-retries', '0', '-d', '{"error": "lost"}'];
  const id = (await run(args)).out.trim();
  t.equal((await run(['executions', 'get', id, '--wait'])).code, 1);
  const listed = await run(['dead-letters', '--function', 'fn']);
  t.match(listed.out, new RegExp(`\\n${id} +fn +execution +1 +\\d+s +function_error +Error: lost`));
  t.match((await run(['dead-letters', 'get', id])).json, { id, input: { error: 'lost' } });
  const again = (await run(['dead-letters', 'replay', id])).out.trim();
  t.match(again, /^[a-z0-9]{12}-\d+$/);
  t.equal((await run(['executions', 'get', again, '--wait'])).code, 1);
  t.match(await run(['dead-letters', 'delete', again]), { code: 0, out: '1 deleted\n' });
  t.match(await run(['dead-letters', 'delete', again]), { code: 3 });
  t.match(await run(['dead-letters', 'delete', '--function', 'fn']), { out: /^\d+ deleted\n$/ });
  t.match((await run(['dead-letters', '--json', '--function', 'fn'])).json, { deadLetters: [] });
});

t.test('a function is applied, called, and deleted', async (t) => {
  const file = join(folder, 'hello.yaml');
  const manifest = (code: string) =>
    `apiVersion: simmer.dev/v1alpha1\nkind: Function\nmetadata:\n  name: hello\nspec:\n  minReplicas: 1\n  source:\n    inline: "${code}"\n`;
  writeFileSync(file, manifest('export default (input) => { console.log(input); return 1; };'));
  t.match(await run(['functions', 'apply', file]), { code: 0, out: 'hello serves\n' });
  t.match(await run(['invoke', 'hello']), { code: 0, out: '1\n' });
  const id = (await run(['invoke', 'hello', '--async', '-d', '"printed"'])).out.trim();
  await run(['executions', 'get', id, '--wait']);
  t.match((await run(['executions', 'logs', id])).out, /1 +info +printed\n/);
  writeFileSync(file, manifest('exprot default 1'));
  t.match(await run(['functions', 'apply', file]), { code: 2, err: /function_not_ready: / });
  t.match(await run(['functions', 'delete', 'hello']), { code: 0, out: 'hello deleted\n' });
  t.match(await run(['invoke', 'hello']), { code: 3 });
  writeFileSync(file, 'metadata: {}');
  t.match(await run(['functions', 'apply', file]), { code: 2, err: /no metadata.name/ });
});

t.test('the exit code tells what happened', async (t) => {
  const nobody = { env: { SIMMER_URL: 'http://127.0.0.1:9' } };
  for (const [code, args, error, more] of [
    [1, ['invoke', 'fn', '-d', '{"error": "no"}'], /^simmer: function_error: Error: no\n$/],
    [2, ['invoke', 'fn', '-d', '{'], /the input is not JSON/],
    [2, ['invoke', 'fn', '-d', '1', '-'], /give one of/],
    [2, ['invoke', 'fn', 'x'], /--data, --file or -/],
    [2, ['invoke', 'fn', '--wait'], /go with --async/],
    [2, ['invoke', 'fn', '--timeout', 'soon'], /whole number/],
    [2, ['nonsense'], /unknown command/],
    [2, ['--url', 'localhost', 'pools'], /no http or https URL/],
    [2, ['executions', '--status', 'odd'], /invalid_query/],
    [2, ['executions', '--mode', 'odd'], /invalid_query/],
    [2, ['dead-letters', 'replay'], /--function/],
    [3, ['invoke', 'none'], /function_not_found/],
    [3, ['invoke', 'fn', '--file', '/none'], /ENOENT/],
    [3, ['executions', 'get', 'none'], /execution_not_found/],
    [5, ['invoke', 'closed'], /queue_full: .* Try again in \d+ s\.\n$/],
    [6, ['invoke', 'fn', '-t', '100', '-d', '{"wait": "/never"}'], /^simmer: timeout: /],
    [7, ['pools'], /no answer from http:\/\/127\.0\.0\.1:9: /, nobody],
  ] as const) {
    const ended = await run(args, more ?? {});
    t.equal(ended.code, code, `${args.join(' ')}: ${ended.err}`);
    t.match(ended.err, error);
    t.equal(ended.out, '', 'errors are not output');
  }
  const problem = await run(['--json', 'invoke', 'none']);
  t.match(problem.json, { code: 'function_not_found', status: 404 });
  t.match(await run(['--help']), { code: 0, out: /invoke/ });
  t.match(await run(['--version']), { code: 0, out: /^\d+\.\d+\.\d+\n$/ });
});

t.test('a shell completes commands, options and names', async (t) => {
  const complete = async (...words: string[]) =>
    (await run(['complete', '--', ...words])).out.split('\n').filter(Boolean);
  t.same(await complete('ex'), ['executions']);
  t.same(await complete('executions', 'c'), ['cancel']);
  t.same(await complete('invoke', 'f'), ['fn']);
  t.same(await complete('invoke', 'fn', ''), []);
  t.same(await complete('invoke', 'fn', '--da'), ['--data']);
  const hidden = await complete('comp');
  t.same(hidden, ['completion'], 'what the shell asks is not offered');

  // As bash does when the tab key is pressed.
  const { out } = await run(['completion', 'bash']);
  const script = `simmer() { ./simmer "$@"; }\n${out}
    COMP_WORDS=(simmer invoke f) COMP_CWORD=2; _simmer; echo "$\{COMPREPLY[@]}"
    COMP_WORDS=(simmer pools "") COMP_CWORD=2; _simmer; echo "$\{COMPREPLY[@]}"`;
  const { execFileSync } = await import('node:child_process');
  const printed = execFileSync('bash', ['-c', script], {
    cwd: new URL('../..', import.meta.url),
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  t.equal(printed, 'fn\nlist get help\n');
  t.match((await run(['completion', 'zsh'])).out, /^#compdef simmer/);
  t.match(await run(['completion', 'fish']), { code: 2, err: /Allowed choices/ });
});
