/**
 * One attempt to deliver a callback: an HTTP request to where it may go, with limits on its time and on what is read of the
 * answer.
 *
 * Invariants:
 *  S1. The address that is dialled is one that was judged (shared/callback-targets.ts): names are resolved within the dial, and
 *      what the resolver said is filtered before a socket sees it.
 *  S2. Redirects are followed by hand, each as a new URL under the same rules; never from https to http.
 */
import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector } from 'undici';
import type { CallbackTargets } from '../../shared/callback-targets.ts';
import { SystemNames } from './names.ts';
import { type AttemptOutcome, failed, outcomeOf } from './policy.ts';

const MAX_REDIRECTS = 3;
/** Those that keep method and body (RFC 9110 15.4): the others would make a GET of it. */
const REDIRECTS: ReadonlySet<number> = new Set([307, 308]);
/** Read of an answer's body, so that its connection can be used again; then it is cut. */
const MAX_ANSWER_BYTES = 4_096;
/** For that, once the status is known. */
const DRAIN_MS = 1_000;

export interface SenderOptions {
  readonly targets: CallbackTargets;
  /** For an attempt: name, connection, redirects and answer. */
  readonly timeoutMs: number;
  /** Connections to one receiver. */
  readonly perOrigin: number;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** By names.ts where absent. */
  readonly resolve?: (name: string) => Promise<readonly LookupAddress[]>;
}

export interface CallbackRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** No address that it leads to may be dialled. */
class ForbiddenTarget extends Error {}

export class CallbackSender {
  private readonly options: SenderOptions;
  private readonly agent: Agent;

  constructor(options: SenderOptions) {
    this.options = options;
    this.agent = new Agent({
      connect: connectorOf(options),
      connections: options.perOrigin,
      pipelining: 1,
      allowH2: false,
    });
  }

  /** Never rejects. */
  async send(request: CallbackRequest): Promise<AttemptOutcome> {
    const { timeoutMs } = this.options;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), timeoutMs);
    try {
      return await this.follow(request, controller.signal);
    } catch (error) {
      if (controller.signal.aborted) return failed(`no answer within ${timeoutMs} ms`, true);
      if (error instanceof ForbiddenTarget) return failed(error.message, false);
      return failed(describe(error), true);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async follow(request: CallbackRequest, signal: AbortSignal): Promise<AttemptOutcome> {
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const { statusCode, headers, body } = await this.agent.request({
        ...{ origin: url.origin, path: url.pathname + url.search, method: 'POST' },
        ...{ headers: request.headers, body: request.body, signal },
        // The signal has the limit.
        ...{ headersTimeout: 0, bodyTimeout: 0 },
      });
      // An answer that never ends costs its connection, and nothing else.
      const drained = body.dump({
        limit: MAX_ANSWER_BYTES,
        signal: AbortSignal.any([signal, AbortSignal.timeout(DRAIN_MS)]),
      });
      await drained.catch(() => {});
      if (!REDIRECTS.has(statusCode)) {
        return outcomeOf(statusCode, textOf(headers['retry-after']), this.options.now());
      }
      const next = this.redirected(url, textOf(headers['location']), statusCode);
      if (!(next instanceof URL)) return next;
      if (redirects === MAX_REDIRECTS) return failed('redirects too often', false, statusCode);
      url = next;
    }
  }

  /** S2 */
  private redirected(from: URL, location: string, status: number): URL | AttemptOutcome {
    if (location === '' || !URL.canParse(location, from.href)) {
      return failed('redirects to no URL', false, status);
    }
    const parsed = this.options.targets.parse(new URL(location, from).href);
    if (!parsed.ok) return failed(`redirects to a URL that ${parsed.reason}`, false, status);
    if (from.protocol === 'https:' && parsed.url.protocol === 'http:') {
      return failed('redirects from https to http', false, status);
    }
    return parsed.url;
  }
}

/** S1 */
function connectorOf({ targets, timeoutMs, now, ...options }: SenderOptions) {
  const names = new SystemNames(now);
  const resolve = options.resolve ?? ((name) => names.addressesOf(name));
  const lookup: LookupFunction = (host, { all }, callback) => {
    resolve(host).then(
      (found) => {
        const addresses = found.filter(({ address }) => targets.mayDial(host, address));
        const [first] = addresses;
        if (first === undefined) callback(forbidden(host), '', 0);
        else if (all) callback(null, addresses);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup });
  const connector: buildConnector.connector = (options, callback) => {
    const host = options.hostname;
    // No name is looked up for an address.
    if (isIP(host) !== 0 && !targets.mayDial(host, host)) callback(forbidden(host), null);
    else connect(options, callback);
  };
  return connector;
}

function forbidden(host: string): ForbiddenTarget {
  return new ForbiddenTarget(
    `${host} leads to no address that callbacks may go to (callback-allow)`,
  );
}

function textOf(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header) ?? '';
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined || message.includes(code) ? message : `${code}: ${message}`;
}
