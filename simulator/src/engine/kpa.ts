/**
 * Knative's pod autoscaler with its defaults (knative.dev/docs/serving/autoscaling, config-autoscaler): concurrency averaged over a
 * stable window of 60 s and a panic window of a tenth of it; 70 per cent of a pod's slots are to be used; panic when the short
 * window needs twice the pods that there are, and no fewer pods until a stable window has passed without; at most halved at a
 * time; to zero 30 s after the window is empty (the grace period: an upper bound, which Knative may undercut). Asked every 2 s.
 */
import type { FunctionPods, Scaler } from './pods.ts';

const TICK_MS = 2_000;
const STABLE_TICKS = 30;
const PANIC_TICKS = 3;
const STABLE_MS = STABLE_TICKS * TICK_MS;
const TARGET_UTILIZATION = 0.7;
const PANIC_THRESHOLD = 2;
const MAX_SCALE_DOWN = 2;
const TO_ZERO_GRACE_MS = 30_000;

export class KnativeAutoscaler implements Scaler {
  nextAt = Number.POSITIVE_INFINITY;
  /** Integral of what ran or waited, for each tick of the stable window; a ring. */
  private readonly ticks = new Float64Array(STABLE_TICKS);
  private sum = 0;
  private tick = 0;
  private measuredTo = 0;
  private level = 0;
  private panicUntil = Number.NEGATIVE_INFINITY;
  private panicPods = 0;

  called(pods: FunctionPods): void {
    this.measure(pods, pods.running + pods.queued + 1);
    if (this.nextAt > pods.now + TICK_MS) this.nextAt = nextTick(pods.now);
  }

  /** The activator asks for a first pod at once; more come with the next tick. */
  missed(pods: FunctionPods): void {
    if (pods.live + pods.coming === 0) pods.launch(1, true);
  }

  rested(pods: FunctionPods): void {
    this.measure(pods, pods.running + pods.queued);
    this.plan(pods);
  }

  fire(pods: FunctionPods): void {
    const { now } = pods;
    this.measure(pods, pods.running + pods.queued);
    const { idleSince } = pods;
    if (idleSince !== undefined && now >= toZeroAt(idleSince)) pods.retire(pods.idling);
    else this.scale(pods);
    this.plan(pods);
  }

  /** With one pod that idles, nothing changes until it may go. */
  private plan(pods: FunctionPods): void {
    if (pods.idleSince === undefined) this.nextAt = nextTick(pods.now);
    else if (pods.live + pods.coming > 1) this.nextAt = nextTick(pods.now);
    else if (pods.live + pods.coming === 0) this.nextAt = Number.POSITIVE_INFINITY;
    else this.nextAt = toZeroAt(pods.idleSince);
  }

  private scale(pods: FunctionPods): void {
    const { now } = pods;
    const target = pods.concurrency * TARGET_UTILIZATION;
    const there = pods.live + pods.coming;
    const ready = Math.max(1, pods.live);
    const stable = Math.ceil(this.sum / STABLE_MS / target - 1e-9);
    const panic = Math.ceil(this.lately() / (PANIC_TICKS * TICK_MS) / target - 1e-9);
    if (panic / ready >= PANIC_THRESHOLD) {
      if (now >= this.panicUntil) this.panicPods = there;
      this.panicUntil = now + STABLE_MS;
    }
    let wanted = Math.max(1, stable, Math.ceil(pods.live / MAX_SCALE_DOWN));
    if (now < this.panicUntil) {
      this.panicPods = Math.max(this.panicPods, panic, stable);
      wanted = Math.max(wanted, this.panicPods);
    }
    // Zero is left to who calls: a miss. As long as it idles and waits for that, no pod is launched.
    if (wanted > there && pods.idleSince === undefined) pods.launch(wanted - there, true);
    else if (wanted < pods.live) pods.retire(pods.live - wanted);
  }

  private lately(): number {
    let sum = 0;
    for (let i = 1; i <= PANIC_TICKS; i++) {
      sum += this.ticks[(this.tick - i + STABLE_TICKS * 2) % STABLE_TICKS] as number;
    }
    return sum;
  }

  /** What held since the last time is added to its ticks; `level` holds from now. */
  private measure({ now }: FunctionPods, level: number): void {
    if (now - this.measuredTo > STABLE_MS && this.level === 0) {
      this.ticks.fill(0);
      this.sum = 0;
      this.tick = Math.floor(now / TICK_MS);
      this.measuredTo = now;
    }
    while (this.measuredTo < now) {
      const end = Math.min(now, (this.tick + 1) * TICK_MS);
      this.add(this.level * (end - this.measuredTo));
      this.measuredTo = end;
      if (end === (this.tick + 1) * TICK_MS) {
        this.tick++;
        this.add(-(this.ticks[this.tick % STABLE_TICKS] as number));
      }
    }
    this.level = level;
  }

  private add(amount: number): void {
    const i = this.tick % STABLE_TICKS;
    this.ticks[i] = (this.ticks[i] as number) + amount;
    this.sum += amount;
  }
}

function nextTick(now: number): number {
  return (Math.floor(now / TICK_MS) + 1) * TICK_MS;
}

function toZeroAt(idleSince: number): number {
  return idleSince + (STABLE_MS + TO_ZERO_GRACE_MS);
}
