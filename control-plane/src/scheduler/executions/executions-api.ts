/** `/v1/executions`: one, many, cancel. Answered on the scheduler's thread, which has them in memory. */
import type { ErrorCode } from '@simmer/protocol/errors';
import {
  EXECUTION_MODES,
  EXECUTION_STATUSES,
  type ExecutionMode,
  type ExecutionStatus,
} from '@simmer/protocol/executions';
import { keyOfUrlName } from '@simmer/protocol/names';
import type { Operation } from '@simmer/protocol/operations';
import { type Caller, may } from '../../shared/caller.ts';
import type { ExecutionLogs } from '../execution-logs.ts';
import type { HttpReply } from '../http-reply.ts';
import type { Executions } from './executions.ts';
import type { ExecutionRecord } from './record.ts';
import { documentOf, EXECUTION_ID, JSON_TYPE, viewOf, wholeNumber } from './view.ts';

const MAX_WAIT_S = 60;
const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;

/** One request for it, or for dead letters. */
export interface ExecutionRequestPorts {
  readonly reply: HttpReply;
  /** Of the request itself: its X-Execution-Id. */
  readonly requestId: string;
  readonly caller: Caller;
  /** Calls back when the client goes. */
  onGone(callback: () => void): void;
}

export class ExecutionsApi {
  private readonly executions: Executions;
  private readonly bootId: string;
  private readonly printed: ExecutionLogs;

  constructor(executions: Executions, bootId: string, printed: ExecutionLogs) {
    this.executions = executions;
    this.bootId = bootId;
    this.printed = printed;
  }

  /** `id`: '' for the list. Never rejects. */
  async answer(ports: ExecutionRequestPorts, operation: Operation, id: string, query: string) {
    try {
      if (id === '') await this.list(ports, new URLSearchParams(query));
      else if (operation.path.endsWith('/logs')) await this.logs(ports, operation, id);
      else if (operation.method === 'DELETE') await this.cancel(ports, id);
      else await this.get(ports, id, new URLSearchParams(query));
    } catch (error) {
      ports.reply.failWith(ports.requestId, '', 'internal_error', (error as Error).message);
    }
  }

  private async get(ports: ExecutionRequestPorts, id: string, query: URLSearchParams) {
    const wait = query.get('wait');
    const seconds = wait === null ? 0 : wholeNumber(wait, 0, MAX_WAIT_S);
    if (seconds === undefined) {
      badQuery(ports, `wait must be a whole number of seconds from 0 to ${MAX_WAIT_S}.`);
      return;
    }
    const record = await this.find(ports, id);
    if (record === undefined) return;
    if (seconds === 0) return answerRecord(ports, record);
    ports.onGone(
      this.executions.wait(id, seconds * 1_000, () => void this.answerNow(ports, record)),
    );
  }

  private async cancel(ports: ExecutionRequestPorts, id: string) {
    const record = await this.find(ports, id);
    if (record === undefined) return;
    if (this.executions.cancel(id)) {
      await this.answerNow(ports, record);
    } else {
      const detail = `Execution ${id} has ended: ${record.status}.`;
      ports.reply.failWith(ports.requestId, '', 'execution_ended', detail);
    }
  }

  /** As it is now: the record of an asynchronous one changes, that of a synchronous one was made for who asked. */
  private async answerNow(ports: ExecutionRequestPorts, record: ExecutionRecord): Promise<void> {
    const now = record.mode === 'async' ? record : await this.find(ports, record.id);
    if (now !== undefined) answerRecord(ports, now);
  }

  /** What it printed. Of a synchronous call there may be lines and no record. */
  private async logs(ports: ExecutionRequestPorts, operation: Operation, id: string) {
    const { reply, requestId, caller } = ports;
    const log = this.printed.get(id);
    const kept = log ?? (await this.find(ports, id));
    if (kept === undefined) return;
    if (!may(caller, operation.scopes, kept.functionKey)) {
      const fault = lookupFault('unknown', id, this.bootId);
      reply.failWith(requestId, '', fault.code, fault.detail);
      return;
    }
    const lines = (log?.lines ?? []).map((line) => ({
      ...line,
      at: new Date(line.at).toISOString(),
    }));
    const truncated = log?.truncated ?? this.printed.mayBeGone(id);
    const body = `${JSON.stringify({ executionId: id, lines, truncated })}\n`;
    reply.answer(id, '', 200, JSON_TYPE, body);
  }

  private async list(ports: ExecutionRequestPorts, query: URLSearchParams) {
    const wanted = query.get('function') ?? '';
    const functionKey = wanted === '' ? '' : keyOfUrlName(wanted);
    const status = query.get('status') ?? '';
    const mode = query.get('mode') ?? '';
    const limit = wholeNumber(query.get('limit') ?? String(DEFAULT_LIMIT), 1, MAX_LIMIT);
    const cursor = query.get('cursor') ?? '';
    if (functionKey === undefined) return badQuery(ports, 'function is not the name of one.');
    if (status !== '' && !EXECUTION_STATUSES.includes(status as ExecutionStatus)) {
      return badQuery(ports, `status must be one of ${EXECUTION_STATUSES.join(', ')}.`);
    }
    if (mode !== '' && !EXECUTION_MODES.includes(mode as ExecutionMode)) {
      return badQuery(ports, `mode must be one of ${EXECUTION_MODES.join(', ')}.`);
    }
    if (limit === undefined) {
      return badQuery(ports, `limit must be a whole number from 1 to ${MAX_LIMIT}.`);
    }
    if (cursor !== '' && !EXECUTION_ID.test(cursor)) {
      return badQuery(ports, 'cursor must be the `next` of an earlier page.');
    }
    const mayRead = (key: string) => may(ports.caller, [], key);
    const { records, next } = await this.executions.list({
      mayRead,
      ...{ functionKey, status: status as ExecutionStatus | '', limit, cursor },
      mode: mode as ExecutionMode | '',
    });
    const body = { executions: records.map(viewOf), ...(next !== '' && { next }) };
    ports.reply.answer(ports.requestId, '', 200, JSON_TYPE, `${JSON.stringify(body)}\n`);
  }

  /** undefined: it was answered why. */
  private async find(
    { reply, requestId, caller }: ExecutionRequestPorts,
    id: string,
  ): Promise<ExecutionRecord | undefined> {
    const known = await this.executions.get(id);
    // One of a function that this caller is not to see is answered as if it never was.
    const isHidden = typeof known !== 'string' && !may(caller, [], known.functionKey);
    const found = isHidden ? 'unknown' : known;
    if (typeof found !== 'string') return found;
    const fault = lookupFault(found, id, this.bootId);
    reply.failWith(requestId, '', fault.code, fault.detail);
    return undefined;
  }
}

/** Why there is no execution of this id. */
export function lookupFault(
  found: 'evicted' | 'unknown',
  id: string,
  bootId: string,
): { readonly code: ErrorCode; readonly detail: string } {
  const boot = EXECUTION_ID.exec(id)?.[1];
  if (found === 'evicted') {
    const detail = `Execution ${id} ended, and made room for others since.`;
    return { code: 'execution_evicted', detail };
  }
  if (boot !== undefined && boot !== bootId) {
    const detail = `Execution ${id} was kept by an earlier process, in memory.`;
    return { code: 'lost_in_restart', detail };
  }
  const detail = 'No execution of this id is known.';
  return { code: 'execution_not_found', detail };
}

function badQuery({ reply, requestId }: ExecutionRequestPorts, detail: string): void {
  reply.failWith(requestId, '', 'invalid_query', detail);
}

function answerRecord({ reply }: ExecutionRequestPorts, record: ExecutionRecord): void {
  reply.answer(record.id, '', 200, JSON_TYPE, documentOf(record));
}
