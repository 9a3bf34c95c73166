import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { decode, encode } from '../src/codec.ts';
import type { Frame } from '../src/frames.ts';
import { CLOSE, KIND, LOG_LEVELS, OUTCOMES } from '../src/frames.ts';
import * as limits from '../src/limits.ts';
import { RUNTIME_ENV } from '../src/runtime-environment.ts';
import { FRAMES, KINDS, plain } from './support/frames.ts';

const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

/** Section by its heading, which says the kind's number: `### hello (1)`. */
function section(heading: string): string {
  const start = page.indexOf(`\n### ${heading}\n`);
  if (start === -1) return '';
  const rest = page.slice(start + 5);
  return rest.slice(0, rest.search(/\n##/));
}

/** First column of the section's table of fields. */
function fields(text: string): string[] {
  return [...text.matchAll(/^\| (\w+) \| (?:uint|bool|token|text|string|bytes|pairs)/gm)].map(
    (row) => row[1] as string,
  );
}

t.test('each kind has a section with its number and its fields in order', async (t) => {
  for (const kind of KINDS) {
    const text = section(`${kind} (${KIND[kind]})`);
    t.ok(text, `${kind} has a section`);
    const [sample] = fc.sample(FRAMES[kind] as fc.Arbitrary<Frame>, { numRuns: 1, seed: 7 });
    t.same(fields(text), Object.keys(sample as object).slice(1), `fields of ${kind}`);
  }
});

t.test('the bytes on the page are what the codec makes and reads', async (t) => {
  const examples = [...page.matchAll(/```json\n(.*)\n```\n\n```hex\n([0-9a-f\n]+)\n```/g)];
  t.equal(examples.length, 5);
  for (const [, json, hex] of examples) {
    const said = JSON.parse(json as string) as Record<string, unknown>;
    const body = said['body'];
    const frame = {
      ...said,
      ...(typeof body === 'string' && { body: new TextEncoder().encode(body) }),
    } as unknown as Frame;
    const bytes = Buffer.from((hex as string).replaceAll('\n', ''), 'hex');
    t.equal(Buffer.from(encode(frame)).toString('hex'), bytes.toString('hex'), frame.kind);
    t.same(plain(decode(bytes)), plain(frame), `${frame.kind} read`);
  }
});

t.test('the close codes, and which are fatal', async (t) => {
  for (const { code, fatal, reason } of Object.values(CLOSE)) {
    t.ok(page.includes(`| ${code} | ${fatal ? 'yes' : 'no'} | ${reason} |`), `${code} ${reason}`);
  }
  t.equal(page.match(/^\| 4\d\d\d \|/gm)?.length, Object.keys(CLOSE).length);
});

t.test('the limits', async (t) => {
  for (const [name, value] of Object.entries(limits)) {
    if (name === 'SUBPROTOCOL' || name === 'PROTOCOL_VERSION') continue;
    const row = page.split('\n').find((line) => line.includes(`(\`${name}\`)`)) ?? '';
    t.ok(row.includes(`| ${(value as number).toLocaleString('en-US')}`), `${name}: ${row}`);
  }
  t.ok(page.startsWith(`# The pod protocol, \`${limits.SUBPROTOCOL}\``));
});

t.test('the enumerations, by their numbers', async (t) => {
  t.ok(page.includes(OUTCOMES.map((outcome, i) => `${i} ${outcome}`).join(', ')));
  t.ok(page.includes(LOG_LEVELS.map((level, i) => `${i} ${level}`).join(', ')));
});

t.test('the environment of a pod', async (t) => {
  const names = [...page.matchAll(/^\| `(SIMMER_\w+)` \|/gm)].map((row) => row[1]);
  t.same(names, Object.values(RUNTIME_ENV));
});
