/** `/v1/dead-letters`: list, look, replay, delete. Answered on the scheduler's thread, which has them in memory. */
import { keyOfUrlName, urlNameOfKey } from '@simmer/protocol/names';
import type { Operation } from '@simmer/protocol/operations';
import { may } from '../../shared/caller.ts';
import { clip } from '../../shared/clip.ts';
import type { ExecutionRequestPorts } from '../executions/executions-api.ts';
import { EXECUTION_ID, JSON_TYPE, time, wholeNumber } from '../executions/view.ts';
import type { DeadLetters, Replayed } from './dead-letters.ts';
import { envelopeParts } from './envelope-parts.ts';
import { type DeadLetter, letterBytes } from './letter.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
const CURSOR = /^[0-9]{1,15}$/;
const LETTER_SUFFIX = /-callback$/;

export class DeadLettersApi {
  private readonly letters: DeadLetters;
  private readonly bootId: string;

  constructor(letters: DeadLetters, bootId: string) {
    this.letters = letters;
    this.bootId = bootId;
  }

  /** `id`: '' for all of a function. Never rejects. */
  async answer(ports: ExecutionRequestPorts, operation: Operation, id: string, query: string) {
    try {
      const params = new URLSearchParams(query);
      const replays = operation.method === 'POST';
      if (id === '') {
        if (operation.method === 'GET') await this.list(ports, operation, params);
        else if (replays) await this.replayAll(ports, operation, params);
        else await this.removeAll(ports, operation, params);
        return;
      }
      const letter = await this.find(ports, operation, id);
      if (letter === undefined) return;
      if (operation.method === 'GET') await show(ports, letter);
      else if (replays) answerReplay(ports, await this.letters.replay(letter));
      else {
        await this.letters.remove(id);
        ports.reply.answer(ports.requestId, '', 204, '', '');
      }
    } catch (error) {
      ports.reply.failWith(ports.requestId, '', 'internal_error', (error as Error).message);
    }
  }

  private async list(
    ports: ExecutionRequestPorts,
    { scopes }: Operation,
    query: URLSearchParams,
  ): Promise<void> {
    const wanted = query.get('function') ?? '';
    const functionKey = wanted === '' ? '' : keyOfUrlName(wanted);
    const limit = wholeNumber(query.get('limit') ?? String(DEFAULT_LIMIT), 1, MAX_LIMIT);
    const cursor = query.get('cursor') ?? '';
    if (functionKey === undefined) return badQuery(ports, 'function is not the name of one.');
    if (limit === undefined) {
      return badQuery(ports, `limit must be a whole number from 1 to ${MAX_LIMIT}.`);
    }
    if (cursor !== '' && !CURSOR.test(cursor)) {
      return badQuery(ports, 'cursor must be the `next` of an earlier page.');
    }
    const shows = (key: string) => may(ports.caller, scopes, key);
    const { letters, next } = await this.letters.list({ functionKey, shows, limit, cursor });
    answerJson(ports, 200, { deadLetters: letters.map(viewOf), ...(next !== '' && { next }) });
  }

  private async replayAll(
    ports: ExecutionRequestPorts,
    operation: Operation,
    query: URLSearchParams,
  ): Promise<void> {
    const functionKey = functionOf(ports, operation, query);
    if (functionKey === undefined) return;
    const outcome = await this.letters.replayAll(functionKey);
    if ('ok' in outcome) answerReplay(ports, outcome);
    else answerJson(ports, 202, outcome);
  }

  private async removeAll(
    ports: ExecutionRequestPorts,
    operation: Operation,
    query: URLSearchParams,
  ): Promise<void> {
    const functionKey = functionOf(ports, operation, query);
    if (functionKey === undefined) return;
    answerJson(ports, 200, { deleted: await this.letters.removeAll(functionKey) });
  }

  /** undefined: it was answered why. */
  private async find(
    { reply, requestId, caller }: ExecutionRequestPorts,
    { scopes }: Operation,
    id: string,
  ): Promise<DeadLetter | undefined> {
    const letter = await this.letters.get(id);
    if (letter !== undefined && may(caller, scopes, letter.functionKey)) return letter;
    const boot = EXECUTION_ID.exec(id.replace(LETTER_SUFFIX, ''))?.[1];
    if (boot !== undefined && boot !== this.bootId) {
      const detail = `Dead letter ${id} was kept by an earlier process, in memory.`;
      reply.failWith(requestId, '', 'lost_in_restart', detail);
    } else {
      const detail = `There is no dead letter ${clip(id)}.`;
      reply.failWith(requestId, '', 'dead_letter_not_found', detail);
    }
    return undefined;
  }
}

/** The function that all letters are to be of; undefined: it was answered why not. */
function functionOf(
  ports: ExecutionRequestPorts,
  { scopes }: Operation,
  query: URLSearchParams,
): string | undefined {
  const wanted = query.get('function');
  const functionKey = wanted === null ? undefined : keyOfUrlName(wanted);
  if (functionKey === undefined) badQuery(ports, 'function must be the name of one.');
  else if (may(ports.caller, scopes, functionKey)) return functionKey;
  else {
    const detail = `There is no function ${wanted}.`;
    ports.reply.failWith(ports.requestId, '', 'function_not_found', detail);
  }
  return undefined;
}

function badQuery({ reply, requestId }: ExecutionRequestPorts, detail: string): void {
  reply.failWith(requestId, '', 'invalid_query', detail);
}

function answerJson({ reply, requestId }: ExecutionRequestPorts, status: number, body: object) {
  reply.answer(requestId, '', status, JSON_TYPE, `${JSON.stringify(body)}\n`);
}

function answerReplay({ reply, requestId }: ExecutionRequestPorts, replayed: Replayed): void {
  if (replayed.ok) {
    const { executionId, status } = replayed;
    const body = `${JSON.stringify({ executionId, status })}\n`;
    const location = [['location', `/v1/executions/${executionId}`]] as const;
    reply.answer(requestId, '', 202, JSON_TYPE, body, location);
  } else {
    const { code, detail, retryAfterSeconds } = replayed;
    reply.failWith(requestId, '', code, detail, { retryAfterSeconds });
  }
}

/** A query may hold secrets, which are not for everybody who may look. */
function withoutQuery(url: string): string {
  return url.split(/[?#]/, 1)[0] ?? '';
}

/** Without its body. */
function viewOf(letter: DeadLetter) {
  return {
    id: letter.id,
    reason: letter.reason,
    executionId: letter.executionId,
    function: urlNameOfKey(letter.functionKey),
    traceId: letter.traceId,
    createdAt: time(letter.createdAt),
    deadAt: time(letter.deadAt),
    bytes: letterBytes(letter),
    ...(letter.reason === 'execution'
      ? letter.replayOf !== '' && { replayOf: letter.replayOf }
      : { url: withoutQuery(letter.url) }),
    error: letter.error,
    attempts: letter.attempts.map(({ startedAt, endedAt, ...attempt }) => ({
      ...attempt,
      startedAt: time(startedAt),
      ...(endedAt !== null && { endedAt: time(endedAt) }),
    })),
  };
}

/** With its body, whose bytes are put in as they came. */
async function show({ reply, requestId }: ExecutionRequestPorts, letter: DeadLetter) {
  const start = JSON.stringify(viewOf(letter)).slice(0, -1);
  const parts = [Buffer.from(start)];
  const put = (name: string, json: Uint8Array) => {
    parts.push(Buffer.from(`,"${name}":`), Buffer.from(json));
  };
  if (letter.reason === 'callback') {
    put('body', letter.body);
  } else {
    const { input, metadata } = await envelopeParts(letter.request.body);
    put('input', input ?? Buffer.from('null'));
    if (metadata !== null) put('metadata', metadata);
  }
  parts.push(Buffer.from('}\n'));
  reply.answer(requestId, '', 200, JSON_TYPE, Buffer.concat(parts));
}
