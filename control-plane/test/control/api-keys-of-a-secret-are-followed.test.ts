import { addApiKey, newApiKeyFile, textOfApiKeyFile } from '@simmer/protocol/api-keys';
import t, { type Test } from 'tap';
import type { PepperedKey } from '../../src/control/access/api-key-files.ts';
import { ApiKeySecret } from '../../src/control/access/api-key-secret.ts';
import { createLog } from '../../src/control/log.ts';
import { eventually } from '../server/simmer.ts';

/** A Secret as its API gives it; `text` undefined: there is none. */
function setUp(t: Test) {
  const stored = { version: 1, text: undefined as string | undefined, away: false };
  const lines: string[] = [];
  const seen: PepperedKey[][] = [];
  const secret = new ApiKeySecret({
    secret: {
      async ensure() {
        if (stored.text !== undefined) return false;
        stored.text = textOfApiKeyFile(addApiKey(newApiKeyFile(), { scopes: ['read'] }).file);
        return true;
      },
      async read() {
        if (stored.away) throw new Error('the API server is away');
        const { text, version } = stored;
        if (text === undefined) return undefined;
        return { version: String(version), files: [{ name: 'api-keys.json', text }] };
      },
    },
    name: 'keys',
    log: createLog('info', { write: (line) => lines.push(line) }),
    onKeys: (keys) => seen.push([...keys]),
    pollMs: 5,
  });
  t.teardown(() => secret.close());
  const write = (text: string) => {
    stored.text = text;
    stored.version++;
  };
  return { stored, lines, seen, secret, write };
}

const one = () => addApiKey(newApiKeyFile(), { scopes: ['invoke'] });

t.test('the leader makes it, says where the first key is, and follows it', async (t) => {
  const { lines, seen, secret, write } = setUp(t);
  secret.watch();
  await secret.lead();
  t.equal(seen.at(-1)?.length, 1);
  t.match(JSON.parse(lines[0] as string), { secret: 'keys', firstKey: 'keys-first-key' });
  const { file, entry } = one();
  write(textOfApiKeyFile(file));
  await eventually('the change is seen', () => seen.at(-1)?.[0]?.id === entry.id);
});

t.test('one that stands by takes what is there, and makes none', async (t) => {
  const { stored, seen, secret, write } = setUp(t);
  secret.watch();
  write(textOfApiKeyFile(one().file));
  await eventually('it is seen', () => seen.length === 1);
  t.ok(stored.text);
});

t.test('a Secret that is deleted takes its keys with it, until there is one again', async (t) => {
  const { stored, lines, seen, secret, write } = setUp(t);
  secret.watch();
  await secret.lead();
  const was = stored.text as string;
  stored.text = undefined;
  await eventually('none holds', () => seen.at(-1)?.length === 0);
  t.equal(seen.length, 2, 'told once');
  t.match(JSON.parse(lines.at(-1) as string), { level: 'warn', secret: 'keys' });
  write(was);
  await eventually('they hold again', () => seen.at(-1)?.length === 1);
});

t.test('what is wrong, or away, changes nothing, and is told once', async (t) => {
  const { stored, lines, seen, secret, write } = setUp(t);
  write(textOfApiKeyFile(one().file));
  await secret.lead();
  secret.watch();
  write('{"pepper": 7}');
  const refused = () => lines.filter((line) => line.includes('API keys refused'));
  await eventually('it is told', () => refused().length === 1);
  t.match(refused()[0], 'api-keys.json: pepper must be text');
  stored.away = true;
  await eventually('that is told, too', () => refused().length === 2);
  t.equal(seen.length, 1);
  stored.away = false;
  write(textOfApiKeyFile(one().file));
  await eventually('and then it holds', () => seen.length === 2);
  t.equal(refused().filter((line) => line.includes('is away')).length, 1);
  await t.rejects(
    new ApiKeySecret({
      secret: { ensure: async () => false, read: () => Promise.reject(new Error('no')) },
      ...{ name: 'k', log: createLog('info', { write: () => {} }), onKeys: () => {} },
    }).lead(),
    /no/,
  );
});
