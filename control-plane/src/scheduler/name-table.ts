/**
 * Names to what they name, found on every call: open addressing (linear probing) over plain numbers, the names' characters side by
 * side.
 *
 * Not a Map: its keys are strings that lie anywhere in the heap, so that a thousand names called in turn are a cache miss for the entry
 * and one for the string it is compared with. All of this is some thirty bytes a name, and stays in the cache.
 *
 * Invariants:
 *  N1. A slot is free (length 0), or holds a name's hash, where its characters begin, its length, and the index of its value; -1 once
 *      the name was deleted: what was put behind it is still found.
 *  N2. At least half of the slots are free, so a search ends soon.
 */

const HASH = 0;
const BEGIN = 1;
const LENGTH = 2;
const VALUE = 3;
const FIELD_BITS = 2;
const FIELDS = 1 << FIELD_BITS;
const FIRST_SLOTS = 16;
const DELETED = -1;
const MAX_CHAR_CODE = 127;

export class NameTable<T> {
  private slots = new Int32Array(FIRST_SLOTS * FIELDS);
  private chars = new Uint8Array(0);
  private charsUsed = 0;
  /** Slots that are not free (N2). */
  private taken = 0;
  private longest = 0;
  private values: (T | undefined)[] = [];
  private readonly unused: number[] = [];

  get(name: string): T | undefined {
    const slot = this.find(name);
    return slot === -1 ? undefined : this.values[this.slots[slot + VALUE] as number];
  }

  /** @throws RangeError for a name that is empty or not ASCII. */
  set(name: string, value: T): void {
    if (name === '') throw new RangeError('an empty name');
    const known = this.find(name);
    if (known !== -1) {
      this.values[this.slots[known + VALUE] as number] = value;
      return;
    }
    if ((this.taken + 1) * 2 * FIELDS > this.slots.length) this.rebuild();
    const begin = this.keep(name);
    const index = this.unused.pop() ?? this.values.length;
    this.values[index] = value;
    this.put(hashOf(name), begin, name.length, index);
  }

  delete(name: string): void {
    const slot = this.find(name);
    if (slot === -1) return;
    const index = this.slots[slot + VALUE] as number;
    this.values[index] = undefined;
    this.unused.push(index);
    this.slots[slot + VALUE] = DELETED;
  }

  /** Where its slot begins; -1: it is not there. */
  private find(name: string): number {
    const { slots } = this;
    // Also of those that would take long to hash.
    if (name.length > this.longest) return -1;
    const hash = hashOf(name);
    const mask = slots.length - 1;
    for (
      let at = (hash << FIELD_BITS) & mask;
      slots[at + LENGTH] !== 0;
      at = (at + FIELDS) & mask
    ) {
      if (
        slots[at + HASH] === hash &&
        slots[at + LENGTH] === name.length &&
        slots[at + VALUE] !== DELETED &&
        this.isAt(name, slots[at + BEGIN] as number)
      ) {
        return at;
      }
    }
    return -1;
  }

  private isAt(name: string, begin: number): boolean {
    const { chars } = this;
    for (let i = 0; i < name.length; i++) {
      if (chars[begin + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  /** Puts the characters behind all others; returns where they begin. */
  private keep(name: string): number {
    const begin = this.charsUsed;
    const end = begin + name.length;
    if (end > this.chars.length) {
      const more = new Uint8Array(end * 2);
      more.set(this.chars);
      this.chars = more;
    }
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i);
      if (code > MAX_CHAR_CODE) throw new RangeError(`not ASCII: ${name}`);
      this.chars[begin + i] = code;
    }
    this.charsUsed = end;
    this.longest = Math.max(this.longest, name.length);
    return begin;
  }

  private put(hash: number, begin: number, length: number, value: number): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let at = (hash << FIELD_BITS) & mask;
    while (slots[at + LENGTH] !== 0) at = (at + FIELDS) & mask;
    slots[at + HASH] = hash;
    slots[at + BEGIN] = begin;
    slots[at + LENGTH] = length;
    slots[at + VALUE] = value;
    this.taken++;
  }

  /** Without those that were deleted, at most a quarter full. */
  private rebuild(): void {
    const { slots: old, chars: oldChars } = this;
    const live = this.values.length - this.unused.length;
    let count = FIRST_SLOTS;
    while (count < 4 * live) count *= 2;
    this.slots = new Int32Array(count * FIELDS);
    this.chars = new Uint8Array(this.charsUsed);
    this.charsUsed = 0;
    this.taken = 0;
    for (let at = 0; at < old.length; at += FIELDS) {
      const length = old[at + LENGTH] as number;
      const value = old[at + VALUE] as number;
      if (length === 0 || value === DELETED) continue;
      const from = old[at + BEGIN] as number;
      const begin = this.charsUsed;
      this.chars.set(oldChars.subarray(from, from + length), begin);
      this.charsUsed += length;
      this.put(old[at + HASH] as number, begin, length, value);
    }
  }
}

/** FNV-1a over its characters, then mixed: names that differ in their last digit alone would stand side by side. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) ^ (hash >>> 12);
}
