/** Envelopes that the control thread checks. */
import type { EnvelopeReading } from '@simmer/protocol/envelope';
import type { EnvelopeCheckedMessage, ToControl } from '../../shared/messages.ts';

export class EnvelopeChecks {
  private readonly pending = new Map<number, (reading: EnvelopeReading) => void>();
  private readonly post: (message: ToControl) => void;
  private last = 0;

  constructor(post: (message: ToControl) => void) {
    this.post = post;
  }

  /** The bytes are copied. */
  check(body: Uint8Array): Promise<EnvelopeReading> {
    const requestId = ++this.last;
    this.post({ type: 'check-envelope', requestId, body });
    return new Promise((resolve) => this.pending.set(requestId, resolve));
  }

  checked({ requestId, reading }: EnvelopeCheckedMessage): void {
    this.pending.get(requestId)?.(reading);
    this.pending.delete(requestId);
  }
}
