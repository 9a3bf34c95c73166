import t from 'tap';
import { type Answer, ResponseParser } from '../src/load/response-parser.ts';

const problem = '{"status":429,"code":"queue_full","detail":"full"}';
const stream = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nWiki\r\n1a;ext=1\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
  `HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: ${problem.length}\r\n\r\n${problem}`,
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  `HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"code"\r\n9\r\n:"pod_los\r\n3\r\nt"}\r\n0\r\ntrailer: x\r\n\r\n`,
].join('');
const wanted = [
  { status: 200, code: '', retryAfterS: -1, bodyBytes: 5, close: false },
  { status: 200, code: '', retryAfterS: -1, bodyBytes: 30, close: false },
  { status: 204, code: '', retryAfterS: -1, bodyBytes: 0, close: false },
  { status: 429, code: 'queue_full', retryAfterS: 3, bodyBytes: problem.length, close: false },
  { status: 200, code: '', retryAfterS: -1, bodyBytes: 0, close: true },
  { status: 502, code: 'pod_lost', retryAfterS: -1, bodyBytes: 19, close: false },
];

function parse(pieces: readonly string[]): { answers: Answer[]; parser: ResponseParser } {
  const answers: Answer[] = [];
  const parser = new ResponseParser((answer) => answers.push({ ...answer }));
  // One buffer, overwritten each time, as a socket's reader does.
  const shared = Buffer.alloc(4096);
  for (const piece of pieces) {
    const length = shared.write(piece, 'latin1');
    parser.push(shared.subarray(0, length));
  }
  return { answers, parser };
}

t.test('split in two at every byte', async (t) => {
  for (let at = 0; at <= stream.length; at++) {
    const { answers } = parse([stream.slice(0, at), stream.slice(at)]);
    if (JSON.stringify(answers) !== JSON.stringify(wanted)) t.same(answers, wanted, `at ${at}`);
  }
  t.pass('all splits');
});

t.test('in pieces of every size', async (t) => {
  for (let size = 1; size < 60; size++) {
    const pieces: string[] = [];
    for (let p = 0; p < stream.length; p += size) pieces.push(stream.slice(p, p + size));
    t.same(parse(pieces).answers, wanted, `pieces of ${size}`);
  }
});

t.test('a response without a length ends with its connection', async (t) => {
  const { answers, parser } = parse(['HTTP/1.1 200 OK\r\n\r\nabc', 'def']);
  t.same(answers, []);
  t.equal(parser.end(), true);
  t.same(answers, [{ status: 200, code: '', retryAfterS: -1, bodyBytes: 6, close: true }]);
});

t.test('a response that its connection cuts short is not an answer', async (t) => {
  for (const part of ['HTTP/1.1 200', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel']) {
    const { answers, parser } = parse([part]);
    t.equal(parser.end(), false);
    t.same(answers, []);
  }
});

t.test('what is no response is refused', async (t) => {
  t.throws(() => parse(['HTTP/2 200 OK\r\n\r\n']), { message: /^status line/ });
  t.throws(() => parse(['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n']), {
    message: /^chunk size/,
  });
});
