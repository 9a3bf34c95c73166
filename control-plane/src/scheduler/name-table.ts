/**
 * Names to what they name, found on every call: open addressing (linear probing) over plain numbers, the names' characters side by
 * side.
 *
 * Not a Map: its keys are strings that lie anywhere in the heap, so that a thousand names called in turn are a cache miss for the entry
 * and one for the string it is compared with. All of this is some forty bytes a name, and much of it stays in the cache.
 *
 * Invariants:
 *  N1. A slot is free (0, 0), or holds a name's hash and, from 1, its number; DELETED in place of that once the name was deleted: what
 *      was put behind it is still found.
 *  N2. At least half of the slots are free, so a search ends soon.
 *  N3. The characters of the name with number n begin in `chars` at `begins[n]`, after their count; `values[n]` is what it names.
 */

const HASH = 0;
const NUMBER = 1;
const FIELD_BITS = 1;
const FIELDS = 1 << FIELD_BITS;
const FIRST_SLOTS = 16;
const DELETED = -1;
const MAX_CHAR_CODE = 127;
/** Their count is one byte. */
const MAX_LENGTH = 255;

export class NameTable<T> {
  private slots = new Int32Array(FIRST_SLOTS * FIELDS);
  private begins = new Int32Array(FIRST_SLOTS);
  private chars = new Uint8Array(0);
  private charsUsed = 0;
  private values: (T | undefined)[] = [undefined];
  /** Slots that are not free (N2), and names that were not deleted. */
  private taken = 0;
  private size = 0;

  get(name: string): T | undefined {
    const slot = this.find(name);
    return slot === -1 ? undefined : this.values[this.slots[slot + NUMBER] as number];
  }

  /** @throws RangeError for a name that is empty, too long or not ASCII. */
  set(name: string, value: T): void {
    if (!isName(name)) throw new RangeError(`no name: ${name.slice(0, 100)}`);
    const known = this.find(name);
    if (known !== -1) {
      this.values[this.slots[known + NUMBER] as number] = value;
      return;
    }
    if ((this.taken + 1) * 2 * FIELDS > this.slots.length) this.rebuild();
    this.put(hashOf(name), name, value);
  }

  delete(name: string): void {
    const slot = this.find(name);
    if (slot === -1) return;
    this.values[this.slots[slot + NUMBER] as number] = undefined;
    this.slots[slot + NUMBER] = DELETED;
    this.size--;
  }

  /** Where its slot begins; -1: it is not there. */
  private find(name: string): number {
    const { slots } = this;
    // Also of what would take long to hash.
    if (name.length > MAX_LENGTH) return -1;
    const hash = hashOf(name);
    const mask = slots.length - 1;
    let at = (hash << FIELD_BITS) & mask;
    for (;;) {
      const number = slots[at + NUMBER] as number;
      if (number === 0) return -1;
      if (slots[at + HASH] === hash && number !== DELETED && this.is(number, name)) return at;
      at = (at + FIELDS) & mask;
    }
  }

  private is(number: number, name: string): boolean {
    const { chars } = this;
    const { length } = name;
    const begin = this.begins[number] as number;
    if (chars[begin] !== length) return false;
    for (let i = 0; i < length; i++) if (chars[begin + 1 + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  /** One that is not there, and for which there is room (N2). */
  private put(hash: number, name: string, value: T | undefined): void {
    const { slots } = this;
    const mask = slots.length - 1;
    const number = this.values.length;
    const begin = this.charsUsed;
    const end = begin + 1 + name.length;
    if (end > this.chars.length) this.chars = grown(this.chars, end);
    if (number === this.begins.length) this.begins = grown(this.begins, number + 1);
    let at = (hash << FIELD_BITS) & mask;
    while (slots[at + NUMBER] !== 0) at = (at + FIELDS) & mask;
    slots[at + HASH] = hash;
    slots[at + NUMBER] = number;
    this.begins[number] = begin;
    this.values.push(value);
    this.chars[begin] = name.length;
    for (let i = 0; i < name.length; i++) this.chars[begin + 1 + i] = name.charCodeAt(i);
    this.charsUsed = end;
    this.taken++;
    this.size++;
  }

  /** Without those that were deleted, at most a quarter full. */
  private rebuild(): void {
    const { slots, begins, chars, values } = this;
    let count = FIRST_SLOTS;
    while (count < 4 * this.size) count *= 2;
    this.slots = new Int32Array(count * FIELDS);
    this.begins = new Int32Array(this.size + 1);
    this.chars = new Uint8Array(0);
    this.charsUsed = 0;
    this.values = [undefined];
    this.taken = 0;
    this.size = 0;
    for (let at = 0; at < slots.length; at += FIELDS) {
      const number = slots[at + NUMBER] as number;
      if (number === 0 || number === DELETED) continue;
      const begin = (begins[number] as number) + 1;
      const name = String.fromCharCode(
        ...chars.subarray(begin, begin + (chars[begin - 1] as number)),
      );
      this.put(slots[at + HASH] as number, name, values[number]);
    }
  }
}

function isName(name: string): boolean {
  if (name === '' || name.length > MAX_LENGTH) return false;
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > MAX_CHAR_CODE) return false;
  return true;
}

/** A copy with room for at least so many, and as many again. */
function grown<A extends Uint8Array | Int32Array>(list: A, length: number): A {
  const more = new (list.constructor as new (length: number) => A)(length * 2);
  more.set(list);
  return more;
}

/** FNV-1a over its characters, then mixed: names that differ in their last digit alone would stand side by side. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) ^ (hash >>> 12);
}
