/** The dead letters: gathers what there is before it is replayed or deleted. */
import type { Letter } from './evidence.ts';
import { FUNCTIONS } from './plan.ts';

interface Page {
  readonly deadLetters: readonly { readonly reason: string; readonly executionId: string }[];
  readonly next?: string;
}

export class DeadLetters {
  /** All that there ever were, in the order they were first seen. */
  readonly all: Letter[] = [];
  private readonly seen = new Set<string>();
  private readonly base: string;

  constructor(port: number) {
    this.base = `http://127.0.0.1:${port}/v1/dead-letters`;
  }

  async collect(): Promise<void> {
    let cursor = '';
    do {
      const answer = await fetch(`${this.base}?limit=100&cursor=${cursor}`);
      const { deadLetters, next = '' } = (await answer.json()) as Page;
      for (const { reason, executionId } of deadLetters) {
        const key = `${reason} ${executionId}`;
        if (this.seen.has(key)) continue;
        this.seen.add(key);
        this.all.push({ reason, executionId });
      }
      cursor = next;
    } while (cursor !== '');
  }

  async removeAll(): Promise<void> {
    for (const name of FUNCTIONS)
      await fetch(`${this.base}?function=${name}`, { method: 'DELETE' });
  }
}
