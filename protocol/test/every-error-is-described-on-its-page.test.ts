import { readFileSync } from 'node:fs';
import t from 'tap';
import type { ErrorCode } from '../src/errors.ts';
import { ERRORS, isErrorCode, problem, SimmerError } from '../src/errors.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const sections = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
);

t.test('docs/errors.md has a section for each code, and no other', async (t) => {
  t.same([...sections.keys()], Object.keys(ERRORS));
  for (const [code, { status, title, help }] of Object.entries(ERRORS)) {
    const section = sections.get(code) ?? '';
    t.ok(section.includes(`${status} · ${title}`) && section.includes(help), code);
    t.ok(page.includes(`[\`${code}\`](#${code}) | ${status} |`), `${code} stands in the table`);
  }
});

t.test('every definition can be answered and understood', async (t) => {
  for (const [code, { status, title, help }] of Object.entries(ERRORS)) {
    t.match(code, /^[a-z]+(_[a-z]+)*$/);
    t.ok(status >= 400 && status <= 599, `${code}: status`);
    t.ok(title.length > 0 && !title.endsWith('.'), `${code}: title`);
    t.match(help, /\.$/, `${code}: help`);
  }
});

t.test('a problem document points at its section', async (t) => {
  const code: ErrorCode = 'queue_full';
  t.same(problem(code, 'too many', { executionId: 'x', attempts: 1 }), {
    type: '/docs/errors#queue_full',
    title: ERRORS.queue_full.title,
    status: 429,
    code,
    detail: 'too many',
    executionId: 'x',
    attempts: 1,
  });
  t.ok(sections.has(problem(code, '').type.split('#')[1] as string));
});

t.test('only codes of the registry are error codes', async (t) => {
  t.ok(isErrorCode('timeout'));
  for (const code of ['', 'toString', '__proto__', 'constructor', 'TIMEOUT']) {
    t.notOk(isErrorCode(code), code);
  }
  t.match(new SimmerError('timeout', 'late'), {
    name: 'SimmerError',
    code: 'timeout',
    message: 'late',
  });
});
