import fc from 'fast-check';
import t from 'tap';
import { functionKey, isName, keyOfUrlName, urlNameOfKey } from '../src/names.ts';

t.test('names are DNS labels of at most 40 characters', async (t) => {
  const good = ['a', '0', 'a-b', 'x--y', 'a'.repeat(40), `a${'-'.repeat(38)}9`];
  const bad = ['', '-a', 'a-', 'A', 'a.b', 'a/b', '..', 'a\0', 'a b', 'é', 'a'.repeat(41), 'a\n'];
  for (const name of good) t.ok(isName(name), JSON.stringify(name));
  for (const name of bad) t.notOk(isName(name), JSON.stringify(name));
});

t.test('what stands in a URL names one key, and the key gives it back', async (t) => {
  const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/).filter(isName);
  fc.assert(
    fc.property(name, name, (namespace, name) => {
      const key = functionKey(namespace, name);
      return keyOfUrlName(urlNameOfKey(key)) === key;
    }),
    { seed: 6 },
  );
  t.equal(keyOfUrlName('echo'), 'default/echo');
  t.equal(keyOfUrlName('echo.team-a'), 'team-a/echo');
  t.equal(urlNameOfKey('default/echo'), 'echo');
  t.equal(urlNameOfKey('team-a/echo'), 'echo.team-a');
});

t.test('what is no name gives no key', async (t) => {
  for (const text of [
    '',
    '.',
    '..',
    'a.',
    '.a',
    'a.b.c',
    'a/b',
    'a%00',
    'x'.repeat(300),
    '__proto__',
  ]) {
    t.equal(keyOfUrlName(text), undefined, JSON.stringify(text));
  }
});
