/**
 * The clients: each takes its steps one after another over real sockets, behaves as each says, and keeps what it saw.
 *
 * Invariants:
 *  1. A client has one request under way at a time: what is in flight is bounded by their number.
 *  2. Whoever waits for an answer waits far longer than Simmer may take: what is not there then never comes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fate, Followed, Offer } from './evidence.ts';
import {
  MAX_DELAY_MS,
  MAX_RETRIES,
  type Plan,
  SPIN_TIMEOUT_MS,
  type Step,
  stepOf,
  TIMEOUT_MS,
} from './plan.ts';
import { endOf, headOf, jsonOf, type Request, requestOf, toldOf } from './requests.ts';
import { Sockets } from './sockets.ts';
import { type Reading, Wire } from './wire.ts';

/** Every timeout and grace of the functions, and a machine that is busy elsewhere (2). */
const ANSWER_MS = 30_000;
/** An asynchronous execution: all its attempts, their delays, and a pool that has lost all its pods. */
const END_MS = 60_000;
/** Well below the time after which the server drops an idle connection. */
const REUSE_MS = 2_000;
/** A slow client is slow for the last bytes of its body, and no longer than this: the server cuts off whoever takes 8 s. */
const SLOW_BYTES = 200;
const SLOW_MS = 3_000;
/** Executions that are still to be looked up; well below the number that the server keeps. */
const MAX_LEFT = 50;
/** Of `?wait=`. */
const WAIT_S = 2;

export class Clients {
  readonly offers: Offer[] = [];
  readonly followed: Followed[] = [];
  readonly unasked: string[] = [];
  private readonly left: Followed[] = [];
  private readonly plan: Plan;
  private readonly port: number;
  private readonly callbackOrigin: string;
  private readonly sockets: Sockets;
  private readonly steps: number[];

  constructor(plan: Plan, port: number, callbackOrigin: string) {
    this.plan = plan;
    this.port = port;
    this.callbackOrigin = callbackOrigin;
    this.sockets = new Sockets(port, ANSWER_MS);
    this.steps = Array.from({ length: plan.clients }, () => 0);
  }

  /** All clients take steps for this long. What was left alone is looked up then. */
  async run(ms: number): Promise<void> {
    const until = performance.now() + ms;
    await Promise.all(this.steps.map((_, client) => this.takeSteps(client, until)));
    await this.lookUp(this.left.splice(0));
  }

  close(): void {
    this.sockets.close();
  }

  private async takeSteps(client: number, until: number): Promise<void> {
    let wire: Wire | undefined;
    while (performance.now() < until) {
      const n = this.steps[client] as number;
      this.steps[client] = n + 1;
      const step = stepOf(this.plan.seed, client, n);
      wire = await this.connection(wire, step.op);
      if (!(await this.take(step, wire))) {
        wire.close();
        wire = undefined;
      }
      await delay(step.pauseMs);
      const first = this.left.length > MAX_LEFT ? this.left.shift() : undefined;
      if (first !== undefined) await this.lookUp([first]);
    }
    wire?.close();
  }

  private async connection(wire: Wire | undefined, op: string): Promise<Wire> {
    if (wire !== undefined && wire.unasked > 0) this.unasked.push(op);
    const old = performance.now() - (wire?.lastUsed ?? 0) > REUSE_MS;
    if (wire !== undefined && !old && !wire.isClosed) return wire;
    wire?.close();
    return Wire.open(this.port);
  }

  /** False: the connection is of no more use. */
  private async take(step: Step, wire: Wire): Promise<boolean> {
    const { kind, times } = step.keyed;
    const more = Array.from({ length: kind === 'none' ? 0 : times });
    const atOnce = more.map(() => kind === 'at-once' && this.takeOnce(step, 'same'));
    const request = requestOf(step, this.callbackOrigin);
    const fate = await this.offer(step, kind === 'none' ? '' : 'first', request, wire);
    await Promise.all(atOnce);
    for (const _ of more) {
      if (kind === 'again') await this.takeOnce(step, 'same');
      if (kind === 'other') await this.takeOnce(step, 'other');
    }
    // A slow one may be answered before it has sent all, and then sends no more.
    if (fate?.kind !== 'told' || !fate.told.complete || step.conduct.kind === 'slow') return false;
    if (fate.told.status === 202) await this.follow(step, fate.told.executionId, wire);
    return true;
  }

  /** One more request under the step's key, by a patient client on a connection of its own. */
  private async takeOnce(step: Step, keyed: 'same' | 'other'): Promise<void> {
    const wire = await Wire.open(this.port);
    const patient: Step = { ...step, conduct: { kind: 'patient' } };
    await this.offer(patient, keyed, requestOf(step, this.callbackOrigin, keyed === 'other'), wire);
    wire.close();
  }

  /** undefined: its client went before it had asked for anything. */
  private async offer(
    step: Step,
    keyed: Offer['keyed'],
    request: Request,
    wire: Wire,
  ): Promise<Fate | undefined> {
    const { op, route, work, conduct } = step;
    const start = performance.now();
    const fate =
      route === 'socket' ? await this.sockets.call(step) : await behave(step, request, wire);
    if (fate === undefined) return undefined;
    const timeoutMs = step.timeoutMs || (step.function === 'spins' ? SPIN_TIMEOUT_MS : TIMEOUT_MS);
    this.offers.push({
      ...{ op, route, keyed, fate, function: step.function, conduct: conduct.kind, work: work.do },
      maxRetries: retriesOf(step),
      hadTime: performance.now() - start < timeoutMs - MAX_DELAY_MS,
    });
    return fate;
  }

  // ---- asynchronous ones -------------------------------------------------------------------------------------------

  private async follow(step: Step, executionId: string, wire: Wire) {
    const followed: Followed = {
      ...{ op: step.op, executionId, maxRetries: retriesOf(step), work: step.work.do },
      ...{ callback: step.callback, replayOf: '', cancelled: false, ends: [], odd: [] },
    };
    this.followed.push(followed);
    const { follow } = step;
    switch (follow.kind) {
      case 'leaves':
        this.left.push(followed);
        return;
      case 'cancels': {
        await delay(follow.afterMs);
        const json = await this.ask(wire, followed, 'DELETE', '');
        followed.cancelled = json !== undefined && json.code === undefined;
        break;
      }
      case 'polls':
        await this.untilEnded(wire, followed, '', follow.everyMs);
        break;
      case 'waits':
        await this.untilEnded(wire, followed, `?wait=${WAIT_S}`, 0);
    }
    // It has ended, or is to be found ended later: and then stays so.
    this.left.push(followed);
  }

  private async untilEnded(wire: Wire, followed: Followed, query: string, everyMs: number) {
    const until = performance.now() + END_MS;
    while (performance.now() < until && !wire.isClosed) {
      if (await this.look(wire, followed, query)) return;
      await delay(everyMs);
    }
  }

  /** True: there is nothing to wait for any more. */
  private async look(wire: Wire, followed: Followed, query: string): Promise<boolean> {
    const json = await this.ask(wire, followed, 'GET', query);
    const end = endOf(json);
    if (end !== undefined) followed.ends.push(end);
    return end !== undefined || json === undefined || json.code !== undefined;
  }

  /** The answer's JSON; undefined where there was no answer. */
  private async ask(wire: Wire, followed: Followed, method: 'GET' | 'DELETE', query: string) {
    wire.send(headOf(method, `/v1/executions/${followed.executionId}${query}`));
    const reading = await wire.read(ANSWER_MS);
    if (reading.kind !== 'answer' || !reading.answer.complete) {
      followed.odd.push(`${method}: ${reading.kind}`);
      wire.close();
      return undefined;
    }
    const json = jsonOf(reading.answer);
    // Made room for others after it had been seen ended: nothing odd.
    const expected = json?.code === 'execution_ended' || json?.code === 'execution_evicted';
    if (reading.answer.status !== 200 && !expected) followed.odd.push(`${method}: ${json?.code}`);
    return json;
  }

  /** Replays these dead letters, and sees how the replays end. */
  async replay(executionIds: readonly string[]): Promise<void> {
    const wire = await Wire.open(this.port);
    for (const id of executionIds) {
      const first = this.followed.find((one) => one.executionId === id);
      if (first === undefined) continue;
      wire.send(headOf('POST', `/v1/dead-letters/${id}:replay`, { 'content-length': '0' }));
      const reading = await wire.read(ANSWER_MS);
      const json = reading.kind === 'answer' ? jsonOf(reading.answer) : undefined;
      // A full queue leaves it where it is.
      if (json?.code === 'queue_full') continue;
      if (json?.executionId === undefined) first.odd.push(`replay: ${json?.code ?? reading.kind}`);
      const again: Followed = {
        ...{ ...first, executionId: json?.executionId ?? '', replayOf: id },
        ...{ cancelled: false, ends: [], odd: [] },
      };
      this.followed.push(again);
      this.left.push(again);
    }
    wire.close();
    await this.lookUp(this.left.splice(0));
  }

  /** Those that were left alone or seen ended: how do they stand now? */
  private async lookUp(all: readonly Followed[]): Promise<void> {
    const wire = await Wire.open(this.port);
    for (const followed of all) await this.untilEnded(wire, followed, `?wait=${WAIT_S}`, 0);
    wire.close();
  }
}

/** undefined: the client went before it had asked for anything. */
async function behave(step: Step, { head, body }: Request, wire: Wire): Promise<Fate | undefined> {
  const { conduct } = step;
  switch (conduct.kind) {
    case 'patient':
      wire.send(head + body);
      return fateOf(step, await wire.read(ANSWER_MS));
    case 'sips':
      wire.send(head + body);
      return fateOf(step, await wire.read(ANSWER_MS, conduct.pauseMs));
    case 'slow': {
      wire.send(head);
      const slowUntil = performance.now() + SLOW_MS;
      let sent = Math.max(0, body.length - SLOW_BYTES);
      wire.send(body.slice(0, sent));
      while (sent < body.length && !wire.isClosed && wire.unasked === 0) {
        const bytes = performance.now() < slowUntil ? 1 : body.length;
        wire.send(body.slice(sent, sent + bytes));
        sent += bytes;
        await delay(conduct.msPerByte);
      }
      return fateOf(step, await wire.read(ANSWER_MS));
    }
    case 'frozen':
      wire.freeze();
      wire.send(head + body);
      await delay(conduct.ms);
      wire.hangUp();
      return { kind: 'gone' };
    case 'hangs-up': {
      const half = (text: string) => text.slice(0, text.length / 2);
      const sent = {
        connected: '',
        'in-head': half(head),
        'in-body': head + half(body),
        sent: head + body,
        'in-answer': head + body,
      };
      if (sent[conduct.stage] !== '') wire.send(sent[conduct.stage]);
      if (conduct.stage === 'in-answer') await wire.begins(ANSWER_MS);
      await delay(conduct.afterMs);
      wire.hangUp();
      const asked = conduct.stage === 'sent' || conduct.stage === 'in-answer';
      return asked ? { kind: 'gone' } : undefined;
    }
  }
}

function retriesOf({ maxRetries }: Step): number {
  return maxRetries === -1 ? MAX_RETRIES : maxRetries;
}

function fateOf(step: Step, reading: Reading): Fate {
  if (reading.kind !== 'answer') return reading;
  return { kind: 'told', told: toldOf(step, reading.answer) };
}
