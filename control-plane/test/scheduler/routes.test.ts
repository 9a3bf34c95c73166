import { OPERATIONS } from '@simmer/protocol/operations';
import t from 'tap';
import { routeOf } from '../../src/scheduler/routes.ts';
import { ANYONE, type Caller, may } from '../../src/shared/caller.ts';

t.test('every operation is found by its method and path', async (t) => {
  for (const operation of OPERATIONS) {
    if (operation.path.includes('...}')) continue;
    const path = operation.path.replace(/\{\w+\}/, 'some-1.thing');
    const parameter = operation.path.includes('{') ? 'some-1.thing' : '';
    t.same(routeOf(operation.method, path), { kind: 'found', operation, parameter });
  }
});

t.test('another method is told which there are, another path that there is none', async (t) => {
  t.match(routeOf('PATCH', '/v1/executions/a-1'), { kind: 'wrong-method', allow: 'GET, DELETE' });
  t.match(routeOf('GET', '/v1/functions/echo:invoke'), { kind: 'wrong-method', allow: 'POST' });
  for (const path of ['/', '/v1', '/v1/', '/v1/functions/', '/v1/pools/a/b', '/v1/pools/a:b']) {
    t.same(routeOf('GET', path), { kind: 'not-found' }, path);
  }
});

t.test('a caller may what its scopes and patterns say', async (t) => {
  const caller = (functions: string[]): Caller => ({ id: 'c', scopes: ['invoke'], functions });
  t.ok(may(ANYONE, ['write'], 'default/a'));
  t.notOk(may(caller(['*']), ['read', 'write'], 'default/a'), 'scope');
  t.ok(may(caller([]), ['invoke'], ''), 'what belongs to no function');
  t.ok(may(caller([]), [], ''), 'what needs no scope');
  for (const [pattern, key, expected] of [
    ['default/a', 'default/a', true],
    ['default/a', 'default/ab', false],
    ['default/*', 'default/ab', true],
    ['default/*', 'other/default/', false],
    ['*/report-*', 'team/report-1', true],
    ['*/report-*', 'team/reports', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*b*c', 'abcbc', true],
    ['*b*c', 'abcb', false],
  ] as const) {
    t.equal(may(caller([pattern]), ['invoke'], key), expected, `${pattern} ${key}`);
  }
});
