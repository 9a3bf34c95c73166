import t from 'tap';
import { replaceSection, resultsSection } from '../src/report/docs.ts';
import { plot } from '../src/report/svg.ts';
import { misses, tables } from '../src/report/table.ts';
import { comparison, fact } from '../src/results.ts';
import { quantile, ratios, spread } from '../src/stats.ts';

t.test('quartiles', async (t) => {
  t.same(spread([5, 1, 4, 2, 3]), { median: 3, q1: 2, q3: 4, rounds: 5 });
  t.equal(quantile([1, 2, 3, 4], 0.5), 2.5);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('a drift that meets both sides of a round leaves the ratio alone', async (t) => {
  const theirs = [10, 20, 40, 80, 160];
  const ours = theirs.map((v) => v * 1.2);
  for (const ratio of ratios(ours, theirs)) t.ok(Math.abs(ratio - 1.2) < 1e-9);
});

const faster = comparison(
  'load',
  'throughput',
  '/s',
  'higher',
  { simmer: [100, 110, 120], relay: [110, 110, 110], nginx: [50, 50, 50] },
  { relay: { op: '>=', value: 0.85 }, nginx: { op: '>=', value: 3 } },
);

t.test('targets are judged by the median ratio', async (t) => {
  t.equal(faster.ratios.relay?.median, 1);
  t.equal(faster.ratios.relay?.pass, true);
  t.equal(faster.ratios.nginx?.median, 2.2);
  t.equal(faster.ratios.nginx?.pass, false);
  const slow = fact('overload', 'p99', 'ms', 51, { limit: { op: '<=', value: 50 } });
  const fine = fact('overload', 'throughput', 'x', 0.9, { limit: { op: '>=', value: 0.9 } });
  t.equal(misses([faster, slow, fine]).length, 2);
  t.equal(misses([fine]).length, 0);
});

t.test('a baseline that the machine lacks is said to be not measured', async (t) => {
  const text = tables([faster]);
  t.match(text, /not measured/, '(c) was not run');
  t.match(text, /≥ 3 of \(a\): \*\*FAIL\*\*/);
  t.match(text, /≥ 0\.85 of \(b\): pass/);
});

t.test('the plot has a bar for each target measured, and escapes what it shows', async (t) => {
  const svg = plot([faster], 'a < b & c');
  t.equal(svg.match(/<rect x=/g)?.length, 3);
  t.match(svg, /a &lt; b &amp; c/);
});

t.test('the page keeps what is written by hand', async (t) => {
  const machine = {
    cpu: 'cpu',
    cores: 2,
    memoryGiB: 8,
    kernel: 'Linux 6',
    node: 'v22',
    nginx: 'none',
    commit: 'abc',
    date: '2026-01-01',
  };
  const markers = [
    '<!-- results: written by `make bench ARGS=--write-docs` -->',
    '<!-- end of results -->',
  ] as const;
  const page = `before\n${markers[0]}\nold\n${markers[1]}\nafter\n`;
  const section = resultsSection([faster], machine);
  const once = replaceSection(page, section);
  t.ok(once.startsWith('before\n') && once.endsWith('after\n'));
  t.notMatch(once, /old/);
  t.equal(replaceSection(once, section), once, 'twice is once');
  t.throws(() => replaceSection('no markers', section), { message: /markers/ });
});
