/** The line of a container's last output that says best why it ended. */

const MAX_REASON_CHARS = 500;
/** What Node prints below the message of an uncaught error: the stack, a brace, its own version. */
const NO_MESSAGE = /^(\s|$|Node\.js v|[{}[\]^]+$)/;

/** Of a termination message (the log's tail): the last line with something to say, '' where there is none. */
export function lastWords(message: string): string {
  const line = message
    .split(/\r?\n/)
    .filter((text) => !NO_MESSAGE.test(text))
    .at(-1);
  return line === undefined ? '' : messageOf(line).slice(0, MAX_REASON_CHARS);
}

/** The message of a structured log line; any other line as it is. */
function messageOf(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const { message } = JSON.parse(line) as { message?: unknown };
    return typeof message === 'string' ? message : line;
  } catch {
    return line;
  }
}
