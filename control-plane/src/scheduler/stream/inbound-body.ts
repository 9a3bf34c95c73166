/**
 * A request's payload as it comes in: copied once, since a message's memory is gone when its handler returns. Of an envelope
 * the input is what comes; the rest stands around it.
 */
import { CLIENT_WINDOW_BYTES, type JsonText } from '@simmer/protocol/client-messages';

export class InboundBody {
  private readonly pieces: Uint8Array[] = [];
  private readonly tail: string;
  /** Bytes of the whole so far, `tail` included. */
  length: number;
  /** Of the payload that came. */
  received = 0;
  /** Bytes that the client may send before it is granted more. */
  credit = CLIENT_WINDOW_BYTES;

  /** `head` and `tail` are ASCII but for what is JSON in them. */
  constructor(head: string, tail: string) {
    this.tail = tail;
    if (head !== '') this.pieces.push(Buffer.from(head));
    this.length = (this.pieces[0]?.length ?? 0) + tail.length;
  }

  add(piece: Uint8Array | string): void {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece);
    this.pieces.push(bytes);
    this.length += bytes.length;
    this.received += bytes.length;
    this.credit -= bytes.length;
  }

  whole(): Uint8Array {
    if (this.tail !== '') this.pieces.push(Buffer.from(this.tail));
    const [only] = this.pieces;
    return this.pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.pieces);
  }
}

/** What stands before an envelope's input; `hasInput`: one follows. */
export function envelopeHead(
  metadata: JsonText | undefined,
  callbackUrl: string | undefined,
  hasInput: boolean,
): string {
  const members: string[] = [];
  if (metadata !== undefined) {
    const text = typeof metadata === 'string' ? metadata : Buffer.from(metadata).toString();
    members.push(`"metadata":${text}`);
  }
  if (callbackUrl !== undefined) members.push(`"callbackUrl":${JSON.stringify(callbackUrl)}`);
  if (hasInput) members.push('"input":');
  return `{${members.join(',')}`;
}
