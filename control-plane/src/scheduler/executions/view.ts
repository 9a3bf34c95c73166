/** An execution as it is shown: to who asks for it, and to who is called back when it ends. */
import { urlNameOfKey } from '@simmer/protocol/names';
import type { ExecutionRecord } from './record.ts';

export const JSON_TYPE = 'application/json';
/** As ids.ts makes them. */
export const EXECUTION_ID = /^([a-z0-9]{12})-[1-9][0-9]{0,15}$/;

/** undefined where it is none of that range. */
export function wholeNumber(text: string, min: number, max: number): number | undefined {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}

/** `ms`: epoch milliseconds. */
export const time = (ms: number): string => new Date(ms).toISOString();

/** Without its output. */
export function viewOf(record: ExecutionRecord) {
  return {
    executionId: record.id,
    mode: record.mode,
    function: urlNameOfKey(record.functionKey),
    status: record.status,
    traceId: record.traceId,
    createdAt: time(record.createdAt),
    deadlineAt: time(record.deadlineAt),
    ...(record.replayOf !== '' && { replayOf: record.replayOf }),
    ...(record.nextAttemptAt !== null && { nextAttemptAt: time(record.nextAttemptAt) }),
    ...(record.endedAt !== null && { endedAt: time(record.endedAt) }),
    attempts: record.attempts.map(({ startedAt, endedAt, outcome, detail, ...attempt }) => ({
      ...attempt,
      startedAt: time(startedAt),
      ...(endedAt !== null && { endedAt: time(endedAt) }),
      ...(outcome !== null && { outcome }),
      ...(detail !== '' && { detail }),
    })),
    ...(record.error !== null && { error: record.error }),
  };
}

const BEFORE_OUTPUT = ',"output":';
const END = '}\n';

/** JSON with its output, whose bytes are put in as the pod wrote them. The bytes are nobody else's. */
export function documentOf(record: ExecutionRecord): Uint8Array {
  const view = JSON.stringify(viewOf(record));
  const { output } = record;
  if (output === null) return bytesOf([`${view}\n`]);
  return bytesOf([`${view.slice(0, -1)}${BEFORE_OUTPUT}`, output, END]);
}

/** Not of Node's pool: they may be handed to another thread whole. */
function bytesOf(pieces: readonly (string | Uint8Array)[]): Uint8Array {
  const all = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece));
  const bytes = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of all) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
