/** What failed in a TAP report, so that it can stand once more where a long run ends. */

/** Lines of one assertion's detail: enough for a difference, not for a page of values. */
const DETAIL_LINES = 40;

/**
 * The assertions of a report (TAP 14 as tap writes it, subtests indented by four) that failed, each as the names
 * that lead to it, the file first, and below them its detail without the piece of source that tap quotes.
 * A test that failed because something in it did is not named on its own.
 */
export function failuresOf(report) {
  const lines = report.split('\n');
  /** The subtests that are open, by their depth, and whether something in them has failed. */
  const open = [];
  const failures = [];
  for (let index = 0; index < lines.length; index++) {
    const subtest = /^((?: {4})*)# Subtest: (.*)$/.exec(lines[index]);
    if (subtest) {
      open.length = subtest[1].length / 4;
      open.push({ name: subtest[2], failed: false });
      continue;
    }
    const end = /^((?: {4})*)(not )?ok \d+(?: - (.*?))?(?: # time=.*)?$/.exec(lines[index]);
    if (!end || / # (TODO|SKIP)\b/i.test(lines[index])) continue;
    const [, indent, not, name = ''] = end;
    const depth = indent.length / 4;
    // What ends here was a subtest, if one is open below this depth.
    const own = open.length > depth ? open[depth] : undefined;
    open.length = depth;
    if (!not) continue;
    for (const above of open) above.failed = true;
    if (own?.failed) continue;
    const path = [...open.map((above) => above.name), name].join(' > ').replaceAll('\\#', '#');
    failures.push([path, ...detail(lines, index + 1, indent.length)].join('\n'));
  }
  return failures;
}

/** The YAML block that follows an assertion at `indent`, without its `source`. */
function detail(lines, from, indent) {
  const inner = indent + 2;
  if (lines[from]?.trim() !== '---') return [];
  const kept = [];
  let inSource = false;
  for (let index = from + 1; index < lines.length; index++) {
    const line = lines[index].slice(inner);
    if (line === '...') break;
    // A key of the block itself; what it holds is indented further.
    if (/^\S/.test(line)) inSource = line.startsWith('source:');
    if (!inSource && line.trim() !== '') kept.push(`  ${line}`);
  }
  if (kept.length <= DETAIL_LINES) return kept;
  return [...kept.slice(0, DETAIL_LINES), `  (${kept.length - DETAIL_LINES} lines more)`];
}
