/** Accounts for every request of one load: counts by status, code and error, latencies of what was measured. */
import { Histogram, type Summary } from './histogram.ts';
import type { Answer } from './response-parser.ts';

export interface LoadResult {
  /** Successes (2xx) a second within the measured time. */
  readonly throughput: number;
  readonly sent: number;
  readonly answered: number;
  /** Connections that ended under a request, or could not be opened, by reason: such a request got no answer. */
  readonly errors: Readonly<Record<string, number>>;
  /** Requests that were still unanswered, or still unsent, when the wait for the last ones ended. */
  readonly unfinished: number;
  /** Of the whole load, warm-up included. */
  readonly byStatus: Readonly<Record<string, number>>;
  readonly byCode: Readonly<Record<string, number>>;
  /** Of the measured time: successes, refusals (429), and everything that was due then, answered or not. */
  readonly ok: Summary;
  readonly refused: Summary;
  readonly all: Summary;
  /** How long after they were due requests were written: the generator's own part of the latencies, and its wait for a connection. */
  readonly late: Summary;
  /** Seconds; of the 429s that had the header. */
  readonly retryAfter: {
    readonly with: number;
    readonly without: number;
    readonly minS: number;
    readonly maxS: number;
  };
  /** Processor time of the generator itself for each request, in microseconds: what the measured had to share with. */
  readonly generatorUsPerRequest: number;
  /** Successes in each second since the start, warm-up included. */
  readonly okBySecond: readonly number[];
  /** 99th percentile of the latency, in milliseconds, of what was due in each second since the start, answered or not. */
  readonly p99BySecond: readonly number[];
}

export class Recorder {
  sent = 0;
  answered = 0;
  private okInWindow = 0;
  private readonly errors: Record<string, number> = {};
  private readonly byStatus: Record<number, number> = {};
  private readonly byCode: Record<string, number> = {};
  private readonly ok = new Histogram();
  private readonly refused = new Histogram();
  private readonly all = new Histogram();
  private readonly lateness = new Histogram();
  private readonly retryAfter = { with: 0, without: 0, minS: Number.POSITIVE_INFINITY, maxS: 0 };
  private readonly okBySecond: number[] = [];
  /** Only of what is due at given times: a closed loop makes millions. */
  private readonly latenciesBySecond: number[][] | undefined;
  private readonly cpu = process.cpuUsage();
  private readonly startMs: number;
  private readonly fromMs: number;
  private readonly toMs: number;

  /** Times by the generator's clock, in milliseconds: latencies of requests due within [from, to) are recorded. */
  constructor(startMs: number, fromMs: number, toMs: number, bySecond = false) {
    this.latenciesBySecond = bySecond ? [] : undefined;
    this.startMs = startMs;
    this.fromMs = fromMs;
    this.toMs = toMs;
  }

  answer(answer: Answer, since: number, now: number): void {
    this.answered++;
    const { status, code } = answer;
    this.lasted(since, now);
    this.byStatus[status] = (this.byStatus[status] ?? 0) + 1;
    if (code !== '') this.byCode[code] = (this.byCode[code] ?? 0) + 1;
    const measured = since >= this.fromMs && since < this.toMs;
    if (measured) this.all.record(now - since);
    if (status >= 200 && status < 300) {
      if (measured) this.ok.record(now - since);
      if (now >= this.fromMs && now < this.toMs) this.okInWindow++;
      const second = Math.floor((now - this.startMs) / 1000);
      while (this.okBySecond.length <= second) this.okBySecond.push(0);
      this.okBySecond[second] = (this.okBySecond[second] as number) + 1;
    } else if (status === 429) {
      if (measured) this.refused.record(now - since);
      const r = this.retryAfter;
      if (answer.retryAfterS >= 0) {
        r.with++;
        r.minS = Math.min(r.minS, answer.retryAfterS);
        r.maxS = Math.max(r.maxS, answer.retryAfterS);
      } else r.without++;
    }
  }

  late(ms: number, since: number): void {
    if (since >= this.fromMs && since < this.toMs) this.lateness.record(ms);
  }

  error(reason: string): void {
    this.errors[reason] = (this.errors[reason] ?? 0) + 1;
  }

  /** A request that was due at `since` had no answer when the load ended: it waited at least this long. */
  unanswered(since: number, now: number): void {
    this.lasted(since, now);
    if (since >= this.fromMs && since < this.toMs) this.all.record(now - since);
  }

  private lasted(since: number, now: number): void {
    const second = Math.floor((since - this.startMs) / 1000);
    const all = this.latenciesBySecond;
    if (all === undefined) return;
    while (all.length <= second) all.push([]);
    all[second]?.push(now - since);
  }

  result(unfinished: number): LoadResult {
    const { user, system } = process.cpuUsage(this.cpu);
    return {
      generatorUsPerRequest: (user + system) / Math.max(1, this.sent),
      throughput: (this.okInWindow * 1000) / (this.toMs - this.fromMs),
      sent: this.sent,
      answered: this.answered,
      errors: this.errors,
      unfinished,
      byStatus: this.byStatus,
      byCode: this.byCode,
      ok: this.ok.summary(),
      refused: this.refused.summary(),
      all: this.all.summary(),
      late: this.lateness.summary(),
      retryAfter: this.retryAfter,
      okBySecond: this.okBySecond,
      p99BySecond: (this.latenciesBySecond ?? []).map(
        (list) => list.sort((a, b) => a - b)[Math.floor(list.length * 0.99)] ?? 0,
      ),
    };
  }
}
