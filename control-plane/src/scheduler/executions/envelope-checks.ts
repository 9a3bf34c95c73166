/** Envelopes that the control thread checks. */
import type { EnvelopeFault } from '@simmer/protocol/envelope';
import type { EnvelopeCheckedMessage, ToControl } from '../../shared/messages.ts';

export class EnvelopeChecks {
  private readonly pending = new Map<number, (fault: EnvelopeFault | undefined) => void>();
  private readonly post: (message: ToControl) => void;
  private last = 0;

  constructor(post: (message: ToControl) => void) {
    this.post = post;
  }

  /** What is wrong with it; undefined for nothing. The bytes are copied. */
  check(body: Uint8Array): Promise<EnvelopeFault | undefined> {
    const requestId = ++this.last;
    this.post({ type: 'check-envelope', requestId, body });
    return new Promise((resolve) => this.pending.set(requestId, resolve));
  }

  checked({ requestId, fault }: EnvelopeCheckedMessage): void {
    this.pending.get(requestId)?.(fault);
    this.pending.delete(requestId);
  }
}
