/**
 * Calls over the clients' WebSocket: all clients share one of each spelling, so that many calls are under way on it at
 * once; now and then it is cut under all of them.
 */
import { SimmerClient, SimmerError } from '@simmer/client';
import type { Fate, Told } from './evidence.ts';
import type { Step } from './plan.ts';

/** Far below what a JSON message may hold (64 KiB), both ways. */
const MAX_JSON_BALLAST = 20_000;

interface Output {
  readonly op: string;
  readonly attempt: number;
  readonly pid: number;
  readonly ballast: string;
}

export class Sockets {
  private readonly url: string;
  private readonly answerMs: number;
  private clients: { msgpack: SimmerClient; json: SimmerClient };

  constructor(port: number, answerMs: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.answerMs = answerMs;
    this.clients = this.dial();
  }

  private dial() {
    return {
      msgpack: new SimmerClient(this.url),
      json: new SimmerClient(this.url, { spelling: 'json' }),
    };
  }

  close(): void {
    this.clients.msgpack.close();
    this.clients.json.close();
  }

  async call(step: Step): Promise<Fate> {
    const { op, work, conduct, timeoutMs, maxRetries } = step;
    if (conduct.kind === 'hangs-up' && conduct.stage === 'connected') {
      this.close();
      this.clients = this.dial();
    }
    const client =
      work.ballast <= MAX_JSON_BALLAST && op.endsWith('0')
        ? this.clients.json
        : this.clients.msgpack;
    const leaving = new AbortController();
    const leaves = setTimeout(
      () => leaving.abort(),
      conduct.kind === 'hangs-up' ? conduct.afterMs : this.answerMs,
    );
    try {
      const result = await client.call<Output>(
        step.function,
        { op, work },
        {
          signal: leaving.signal,
          ...(timeoutMs > 0 && { timeoutMs }),
          ...(maxRetries >= 0 && { maxRetries }),
        },
      );
      const { output, executionId, replayed } = result;
      const told: Told = {
        ...{ status: 200, code: 'ok', executionId, complete: true, isReplay: replayed },
        ...{ attempts: output.attempt, op: output.op, pid: output.pid },
        intact: output.ballast.length === work.ballast,
      };
      return { kind: 'told', told };
    } catch (error) {
      if (leaving.signal.aborted) return { kind: conduct.kind === 'hangs-up' ? 'gone' : 'silent' };
      if (!(error instanceof SimmerError)) throw error;
      return fateOf(error);
    } finally {
      clearTimeout(leaves);
    }
  }
}

function fateOf({ code, status, problem, executionId = '', replayed }: SimmerError): Fate {
  // The socket was cut under it, by another client's step.
  if (code === 'client_closed') return { kind: 'gone' };
  if (code === 'connection_lost') return { kind: 'closed' };
  const told: Told = {
    ...{ status, code, executionId, isReplay: replayed, complete: true, intact: true },
    ...{ attempts: problem.attempts, op: undefined, pid: undefined },
  };
  return { kind: 'told', told };
}
