/**
 * Runs each `sh` block of docs/kubernetes-quickstart.md, in order. A `text` block after one is what it must print; `…` in
 * it stands for anything, and runs of spaces for each other. Left out where Simmer is installed already: it would be removed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { kubectl, tryCommand, until } from './support/kubectl.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = `${ROOT}/docs/kubernetes-quickstart.md`;
/** What the page says that it forwards. */
const FORWARDED = 'http://localhost:8080/v1/functions';

interface Step {
  readonly command: string;
  readonly expected: string | undefined;
}

function steps(): Step[] {
  const blocks = [...readFileSync(PAGE, 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, language, content = ''], i) => {
    if (language !== 'sh') return [];
    const next = blocks[i + 1];
    return [
      { command: content.trim(), expected: next?.[1] === 'text' ? next[2]?.trim() : undefined },
    ];
  });
}

function matches(expected: string, printed: string): boolean {
  const pattern = expected
    .split(/(…| +)/)
    .map((part) => {
      if (part === '…') return '[^]*';
      return /^ +$/.test(part) ? ' +' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    })
    .join('');
  const lines = printed.replace(/ +$/gm, '').trim();
  return new RegExp(`^${pattern}$`).test(lines);
}

let forward: ChildProcess | undefined;
t.teardown(() => forward?.kill());

t.test('every command of the page works', async (t) => {
  const installed = await kubectl('get', 'namespace', 'simmer-system', '--ignore-not-found');
  if (installed !== '') {
    t.comment('Simmer is installed on this cluster: the quickstart is not run');
    return t.match(installed, 'simmer-system');
  }
  for (const { command, expected } of steps()) {
    if (command.includes('port-forward')) {
      forward = spawn('/bin/sh', ['-c', `exec ${command}`], { cwd: ROOT, stdio: 'ignore' });
      await until('the port is forwarded', async () => {
        const answer = await fetch(FORWARDED).catch(() => undefined);
        return answer !== undefined;
      });
      continue;
    }
    const { code, stdout, stderr } = await tryCommand('/bin/sh', [
      '-c',
      `cd '${ROOT}' && ${command}`,
    ]);
    t.equal(code, 0, `${command}: ${stderr}`);
    if (expected !== undefined) {
      const printed = stdout.trim() === '' ? stderr : stdout;
      t.ok(matches(expected, printed), `${command}: ${printed}`);
    }
  }
});
