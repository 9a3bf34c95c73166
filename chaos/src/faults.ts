/** Does to pods and manifests what the plan says, when it says it. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonic } from './clock.ts';
import type { Shot } from './evidence.ts';
import type { Fault, Plan } from './plan.ts';
import type { Server } from './server.ts';

export class Faults {
  readonly shots: Shot[] = [];
  private readonly server: Server;
  private readonly plan: Plan;

  constructor(plan: Plan, server: Server) {
    this.plan = plan;
    this.server = server;
  }

  /** Ends with the last of them; pods that are to be continued later are, too. */
  async run(): Promise<void> {
    const start = performance.now();
    const until = (at: number) => delay(Math.max(0, start + at - performance.now()));
    await Promise.all([
      ...this.plan.faults.map((fault) => until(fault.at).then(() => this.shoot(fault))),
      ...this.plan.changes.map((change) => until(change.at).then(() => this.server.change(change))),
    ]);
  }

  private async shoot({ kind, victim, thawAfterMs }: Fault): Promise<void> {
    const pods = this.server.pods().sort((a, b) => a - b);
    const pid = pods[Math.floor(victim * pods.length)];
    if (pid === undefined) return;
    this.signal(kind, pid);
    if (thawAfterMs === 0) return;
    await delay(thawAfterMs);
    if (this.server.pods().includes(pid)) this.signal('thaw', pid);
  }

  private signal(kind: Shot['kind'], pid: number): void {
    try {
      process.kill(pid, { kill: 'SIGKILL', freeze: 'SIGSTOP', thaw: 'SIGCONT' }[kind]);
      this.shots.push({ kind, pid, at: monotonic() });
    } catch {
      // It has just gone by itself.
    }
  }
}
