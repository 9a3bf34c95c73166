/**
 * Memory of large bodies, given back when it is no longer used and not when the garbage collector comes: it lets 32 MiB of
 * young buffers pile up, and those of bodies that waited in a queue until its next full round.
 */

/** Smaller ones share slabs, or are not worth the call. */
const LARGE_BYTES = 32_768;

/** Frees the bytes where they are large and have their memory to themselves. No view of them may be used any more. */
export function letGo(bytes: Uint8Array | string): void {
  if (typeof bytes === 'string' || bytes.length < LARGE_BYTES) return;
  // ES2024, which Node has and the types of ES2023 do not.
  const memory = bytes.buffer as ArrayBuffer & { transfer(length: number): ArrayBuffer };
  if (memory.byteLength === bytes.length) memory.transfer(0);
}

/** The same bytes with their memory to themselves. A small body that is kept would keep the slab that it shares (8 KiB), which no bound counts. */
export function ofItsOwn(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength === bytes.length ? bytes : new Uint8Array(bytes);
}
