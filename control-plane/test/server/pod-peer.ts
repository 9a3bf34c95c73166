/** A scripted peer of the pod port: says what no runtime of ours would. */
import { readFileSync } from 'node:fs';
import { decodeEach, encode } from '@simmer/protocol/codec';
import type { Frame, Hello } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '@simmer/protocol/limits';
import { eventually } from './simmer.ts';

export class PodPeer {
  readonly received: Frame[] = [];
  /** The code it was closed with; 0 while it is open. */
  closeCode = 0;
  private readonly ws: WebSocket;

  private constructor(ws: WebSocket) {
    this.ws = ws;
    ws.binaryType = 'arraybuffer';
    ws.addEventListener('message', ({ data }) => {
      decodeEach(new Uint8Array(data as ArrayBuffer), (frame) => {
        if (frame !== undefined) this.received.push(frame);
        return true;
      });
    });
    ws.addEventListener('close', ({ code }) => {
      this.closeCode = code;
    });
  }

  static open(port: number): Promise<PodPeer> {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(`ws://127.0.0.1:${port}`, SUBPROTOCOL);
      const peer = new PodPeer(ws);
      ws.addEventListener('open', () => resolve(peer));
      ws.addEventListener('error', () => reject(new Error('the pod port took no connection')));
    });
  }

  bytes(data: Uint8Array | string): void {
    this.ws.send(data);
  }

  send(frame: Frame): void {
    this.ws.send(encode(frame));
  }

  hello(fields: Partial<Hello>): void {
    this.send({
      kind: 'hello',
      version: PROTOCOL_VERSION,
      credential: 'forged',
      uid: 'nobody',
      proof: '',
      bootId: 'peer',
      runtime: 'peer',
      runtimeVersion: '1',
      capacity: 1,
      inFlight: 0,
      ...fields,
    });
  }

  untilClosed(): Promise<number> {
    return eventually('the peer is closed', () => this.closeCode);
  }

  close(): void {
    this.ws.close();
  }
}

/** What the launcher told a running pod, as its process was started with it. Linux only. */
export function environmentOf(pid: number): Readonly<Record<string, string>> {
  const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
  return Object.fromEntries(
    entries.map((e) => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)]),
  );
}
