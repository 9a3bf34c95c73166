/**
 * Writes of one event-loop turn, done together at its end (setImmediate runs right after the poll phase in which the
 * sockets were read). Inside a socket's own callback uWebSockets.js has that socket corked, and a second one falls back
 * to a system call for each write, measured five times slower; here none is corked, and each socket is corked once.
 *
 * Pods are written before clients: the next result is on its way while answers are written.
 */
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import { CodePump } from './code-pump.ts';

export interface Flushable {
  /** Writes what it has gathered, corked. */
  flush(): void;
}

export class TurnBatch {
  /** Code on its way to pods, which gives way to all of these. */
  readonly code = new CodePump(INLINE_BODY_BYTES);
  private links: Flushable[] = [];
  private replies: Flushable[] = [];
  private scheduled = false;

  /** The caller adds itself once until it is flushed. */
  addLink(link: Flushable): void {
    this.links.push(link);
    if (!this.scheduled) this.schedule();
  }

  addReply(reply: Flushable): void {
    this.replies.push(reply);
    if (!this.scheduled) this.schedule();
  }

  private schedule(): void {
    this.scheduled = true;
    setImmediate(this.run);
  }

  private readonly run = (): void => {
    const { links, replies } = this;
    this.scheduled = false;
    this.links = [];
    this.replies = [];
    for (const link of links) link.flush();
    for (const reply of replies) reply.flush();
  };
}
