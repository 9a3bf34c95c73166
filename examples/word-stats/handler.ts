/**
 * word-stats: counts the words of a text.
 *
 *   curl localhost:8080/fn/word-stats -H 'content-type: text/plain' -d 'the quick fox and the lazy dog'
 *   curl localhost:8080/v1/functions/word-stats:invoke -d '{"input": {"text": "to be or not to be", "top": 2}}'
 *
 * Shows: TypeScript that needs no build (its types are stripped: no enums, no namespaces), input that is checked and
 * refused with `ctx.badInput`, and a handler that serves text sent raw as well as a JSON envelope.
 */

/** What this handler uses of the context that every invocation gets. */
interface Context {
  badInput(message: string): Error;
}

export interface WordStats {
  words: number;
  unique: number;
  top: { word: string; count: number }[];
}

const DEFAULT_TOP = 3;
/** Letters and digits of any script, with apostrophes and hyphens within a word. */
const WORD = /[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu;

export function wordStats(text: string, top: number): WordStats {
  const counts = new Map<string, number>();
  let words = 0;
  for (const [match] of text.matchAll(WORD)) {
    const word = match.toLowerCase();
    counts.set(word, (counts.get(word) ?? 0) + 1);
    words++;
  }
  const ranked = [...counts]
    .map(([word, count]) => ({ word, count }))
    .sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1));
  return { words, unique: counts.size, top: ranked.slice(0, top) };
}

export default async (input: unknown, ctx: Context): Promise<WordStats> => {
  if (typeof input === 'string') return wordStats(input, DEFAULT_TOP);
  const { text, top = DEFAULT_TOP } = (input ?? {}) as { text?: unknown; top?: unknown };
  if (typeof text !== 'string') throw ctx.badInput('send text, or {"text": "...", "top": 3}');
  if (typeof top !== 'number' || !Number.isInteger(top) || top < 1 || top > 100) {
    throw ctx.badInput('"top" must be a whole number from 1 to 100');
  }
  return wordStats(text, top);
};
