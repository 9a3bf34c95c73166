/** An issuer of JWTs for tests: its keys, its documents over HTTP, and how long it takes to answer. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Test } from 'tap';

export const AUDIENCE = 'simmer';

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

export class Issuer {
  url = '';
  /** Requests for its keys so far. */
  fetches = 0;
  /** `held`: no request is answered until `release`. */
  mode: 'answers' | 'fails' | 'held' = 'answers';
  private readonly held: (() => void)[] = [];
  private readonly server: Server;
  private readonly keys: KeyPair;
  private readonly jwks: string;

  private constructor(keys: KeyPair, jwk: object) {
    this.keys = keys;
    this.jwks = JSON.stringify({ keys: [{ ...jwk, kid: 'k1', alg: 'ES256', use: 'sig' }] });
    this.server = createServer((request, response) => {
      if (request.url === '/jwks') this.fetches++;
      if (this.mode === 'held') this.held.push(() => this.answer(request.url ?? '', response));
      else this.answer(request.url ?? '', response);
    });
  }

  static async start(t: Pick<Test, 'teardown'>): Promise<Issuer> {
    const keys = await generateKeyPair('ES256', { extractable: true });
    const issuer = new Issuer(keys, await exportJWK(keys.publicKey));
    issuer.server.listen(0, '127.0.0.1');
    await once(issuer.server, 'listening');
    issuer.url = `http://127.0.0.1:${(issuer.server.address() as AddressInfo).port}`;
    t.teardown(() => {
      issuer.release();
      issuer.server.close();
      issuer.server.closeAllConnections();
    });
    return issuer;
  }

  get flags(): string[] {
    return ['--jwt-issuer', this.url, '--jwt-audience', AUDIENCE];
  }

  get publicKeySet(): string {
    return this.jwks;
  }

  release(): void {
    this.mode = 'answers';
    for (const answer of this.held.splice(0)) answer();
  }

  get heldRequests(): number {
    return this.held.length;
  }

  /** A token of this issuer; `claims` come on top of what a good one has. */
  token(
    claims: Readonly<Record<string, unknown>> = {},
    keys: KeyPair = this.keys,
  ): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    const good = { iss: this.url, aud: AUDIENCE, sub: 'ada', iat: now, exp: now + 600 };
    return new SignJWT({ ...good, scope: 'invoke read write', ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .sign(keys.privateKey);
  }

  private answer(path: string, response: ServerResponse): void {
    if (this.mode === 'fails') {
      response.writeHead(500).end();
      return;
    }
    response.setHeader('content-type', 'application/json');
    if (path === '/jwks') response.end(this.jwks);
    else if (path === '/.well-known/openid-configuration') {
      response.end(JSON.stringify({ issuer: this.url, jwks_uri: `${this.url}/jwks` }));
    } else response.writeHead(404).end();
  }
}
