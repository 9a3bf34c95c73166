import t from 'tap';
import { letGo } from '../../src/scheduler/let-go.ts';

const MIB = 1_048_576;

t.test('a large body that has its memory to itself is freed', async (t) => {
  const body = Buffer.allocUnsafeSlow(MIB);
  letGo(body);
  t.equal(body.length, 0);
  t.equal(body.buffer.byteLength, 0);
});

t.test('one that shares its memory is left alone', async (t) => {
  const memory = Buffer.alloc(MIB, 'x');
  letGo(memory.subarray(1));
  t.equal(memory.length, MIB);
  t.equal(memory[MIB - 1], 120);
});

t.test('a small one is left alone', async (t) => {
  const body = Buffer.from('{"input":1}');
  letGo(body);
  t.equal(body.toString(), '{"input":1}');
});
