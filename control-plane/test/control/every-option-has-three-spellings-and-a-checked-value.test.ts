import { readFileSync } from 'node:fs';
import t from 'tap';
import { type Config, resolveConfig } from '../../src/config/config.ts';
import { renderConfigurationDoc, renderHelp } from '../../src/config/document.ts';
import { podBaseEnvironment } from '../../src/config/environment.ts';
import { environmentName, OPTIONS } from '../../src/config/options.ts';

const DEFAULTS: Config = {
  host: '127.0.0.1',
  port: 8080,
  managementHost: '127.0.0.1',
  managementPort: 8081,
  podHost: '127.0.0.1',
  podPort: 8082,
  functions: '/srv/functions',
  allowAnonymous: false,
  tlsCert: '',
  tlsKey: '',
  corsOrigins: [],
  apiKeys: '',
  apiKeysSecret: '',
  jwtIssuer: '',
  jwtAudience: '',
  jwtJwks: '',
  jwtScopesClaim: 'scope',
  jwtFunctionsClaim: '',
  logLevel: 'info',
  heartbeatMs: 2_000,
  streamHeartbeatMs: 20_000,
  maxQueuedBytes: 1_073_741_824,
  executionsMax: 10_000,
  executionsMaxBytes: 268_435_456,
  executionsMaxAgeMs: 3_600_000,
  executionsSyncMax: 10_000,
  idempotencyKeysMax: 100_000,
  idempotencyKeysMaxBytes: 134_217_728,
  idempotencyKeysMaxAgeMs: 86_400_000,
  callbackSecret: '',
  callbackAllow: [],
  callbackAttempts: 12,
  callbackTimeoutMs: 10_000,
  callbackMaxAgeMs: 3_600_000,
  callbacksMax: 10_000,
  callbacksMaxBytes: 67_108_864,
  executionLogBytes: 16_384,
  executionLogsMaxBytes: 67_108_864,
  executionLogsSyncMaxBytes: 8_388_608,
  deadLettersMax: 1_000,
  deadLettersMaxBytes: 33_554_432,
  deadLettersTotalBytes: 268_435_456,
  codeStore: '',
  codeStoreMaxBytes: 1_073_741_824,
  maxBundleBytes: 52_428_800,
  maxTimeoutMs: 900_000,
  namespaceIdleBytes: 0,
  maxHeaderBytes: 16_384,
  shutdownGraceMs: 10_000,
  metricsFunctions: 2_000,
  maxConcurrentLaunches: 8,
  maxConcurrentPodLaunches: 100,
  maxJobs: 64,
  registry: 'folder',
  backends: ['process'],
  namespaces: ['default'],
  instance: '',
  instanceNamespace: 'simmer-system',
  podAddress: '',
  podService: '',
  podPlain: false,
  podTlsSecret: '',
  runtimeImage: 'localhost/simmer/runtime:dev',
};

/** Another allowed value of each option: as written, and as resolved. */
const OTHERS: Record<string, [string, unknown]> = {
  host: ['127.0.0.2', '127.0.0.2'],
  port: ['9000', 9000],
  'management-host': ['127.0.0.3', '127.0.0.3'],
  'management-port': ['0', 0],
  'pod-host': ['pods.example', 'pods.example'],
  'pod-port': ['9002', 9002],
  functions: ['other/folder', '/srv/other/folder'],
  registry: ['kubernetes', 'kubernetes'],
  backends: ['process', ['process']],
  namespaces: ['a, b', ['a', 'b']],
  instance: ['simmer-7f-x', 'simmer-7f-x'],
  'instance-namespace': ['other', 'other'],
  'pod-address': ['ws://10.0.0.1:8082', 'ws://10.0.0.1:8082'],
  'pod-service': ['ws://pods.other:8082', 'ws://pods.other:8082'],
  'pod-plain': ['true', true],
  'pod-tls-secret': ['pods-tls', 'pods-tls'],
  'runtime-image': ['example/runtime:1', 'example/runtime:1'],
  'allow-anonymous': ['true', true],
  'tls-cert': ['cert.pem', '/srv/cert.pem'],
  'tls-key': ['key.pem', '/srv/key.pem'],
  'cors-origins': ['https://a.example, http://b:1', ['https://a.example', 'http://b:1']],
  'api-keys': ['keys.json', '/srv/keys.json'],
  'api-keys-secret': ['simmer-api-keys', 'simmer-api-keys'],
  'jwt-issuer': ['https://id.example', 'https://id.example'],
  'jwt-audience': ['simmer', 'simmer'],
  'jwt-jwks': ['jwks.json', '/srv/jwks.json'],
  'jwt-scopes-claim': ['roles', 'roles'],
  'jwt-functions-claim': ['functions', 'functions'],
  'log-level': ['debug', 'debug'],
  'heartbeat-ms': ['500', 500],
  'stream-heartbeat-ms': ['500', 500],
  'max-queued-bytes': ['64MiB', 67_108_864],
  'executions-max': ['5', 5],
  'executions-max-bytes': ['2MiB', 2_097_152],
  'executions-max-age-ms': ['1000', 1000],
  'executions-sync-max': ['5', 5],
  'idempotency-keys-max': ['5', 5],
  'idempotency-keys-max-bytes': ['2MiB', 2_097_152],
  'idempotency-keys-max-age-ms': ['1000', 1000],
  'callback-secret': ['/etc/simmer/callbacks', '/etc/simmer/callbacks'],
  'callback-allow': ['127.0.0.1, fd00::/8, ci.local', ['127.0.0.1', 'fd00::/8', 'ci.local']],
  'callback-attempts': ['1', 1],
  'callback-timeout-ms': ['500', 500],
  'callback-max-age-ms': ['60000', 60_000],
  'callbacks-max': ['5', 5],
  'callbacks-max-bytes': ['1MiB', 1_048_576],
  'execution-log-bytes': ['0', 0],
  'execution-logs-max-bytes': ['2MiB', 2_097_152],
  'execution-logs-sync-max-bytes': ['64KiB', 65_536],
  'dead-letters-max': ['5', 5],
  'dead-letters-max-bytes': ['2MiB', 2_097_152],
  'dead-letters-total-bytes': ['3MiB', 3_145_728],
  'code-store': ['code', '/srv/code'],
  'code-store-max-bytes': ['2MiB', 2_097_152],
  'max-bundle-bytes': ['2MiB', 2_097_152],
  'max-timeout-ms': ['1000', 1000],
  'max-header-bytes': ['8KiB', 8_192],
  'shutdown-grace-ms': ['0', 0],
  'metrics-functions': ['10', 10],
  'max-concurrent-launches': ['1', 1],
  'max-concurrent-pod-launches': ['1', 1],
  'namespace-idle-bytes': ['64MiB', 67_108_864],
  'max-jobs': ['0', 0],
};

const noFile = (path: string): string => {
  throw new Error(`no such file ${path}`);
};
const resolve = (argv: string[], env: Record<string, string> = {}, file?: string) =>
  resolveConfig(argv, env, file === undefined ? noFile : () => file, '/srv');

function configOf(argv: string[], env: Record<string, string> = {}, file?: string): Config {
  const resolution = resolve(argv, env, file);
  if (resolution.kind !== 'config') throw new Error(JSON.stringify(resolution));
  return resolution.config;
}

/** What an option cannot do without. */
const COMPANIONS: Record<string, readonly string[]> = {
  'api-keys-secret': ['registry'],
  'tls-cert': ['tls-key'],
  'tls-key': ['tls-cert'],
  'jwt-issuer': ['jwt-audience'],
  'jwt-audience': ['jwt-issuer'],
  'jwt-jwks': ['jwt-issuer', 'jwt-audience'],
};

t.test('with nothing given, the defaults hold', async (t) => {
  t.strictSame(configOf([]), DEFAULTS);
});

t.test('each option can be given as a flag, in the environment and in the file', async (t) => {
  t.strictSame(
    Object.keys(OTHERS),
    OPTIONS.map((o) => o.name),
    'every option is in this table',
  );
  for (const option of OPTIONS) {
    const [text, value] = OTHERS[option.name] as [string, unknown];
    const companions = OPTIONS.filter((o) => COMPANIONS[option.name]?.includes(o.name));
    const flags = companions.map((o) => `--${o.name}=${OTHERS[o.name]?.[0]}`);
    const expected = {
      ...DEFAULTS,
      ...Object.fromEntries(companions.map((o) => [o.key, OTHERS[o.name]?.[1]])),
      [option.key]: value,
    };
    t.strictSame(configOf([...flags, `--${option.name}=${text}`]), expected, `--${option.name}=`);
    if (typeof option.default !== 'boolean') {
      t.strictSame(configOf([...flags, `--${option.name}`, text]), expected, `--${option.name}`);
    }
    const environment = { [environmentName(option.name)]: text };
    t.strictSame(configOf(flags, environment), expected, 'environment');
    const inFile = configOf(
      [...flags, '--config', 'simmer.yaml'],
      {},
      `${option.name}: ${JSON.stringify(text)}`,
    );
    t.strictSame(inFile, expected, 'file');
  }
  t.strictSame(configOf(['--allow-anonymous']).allowAnonymous, true);
  t.strictSame(
    configOf(['--no-allow-anonymous'], { SIMMER_ALLOW_ANONYMOUS: 'true' }).allowAnonymous,
    false,
  );
});

t.test('a flag wins over the environment, the environment over the file', async (t) => {
  const file = 'port: 1\nmanagement-port: 1001\npod-port: 2001';
  const env = {
    SIMMER_CONFIG: 'c.yaml',
    SIMMER_PORT: '2',
    SIMMER_MANAGEMENT_PORT: '1002',
    SIMMER_LOG_LEVEL: '',
  };
  const config = configOf(['--port', '3'], env, file);
  t.match(config, { port: 3, managementPort: 1002, podPort: 2001, logLevel: 'info' });
});

t.test('sizes have units', async (t) => {
  for (const [text, value] of [
    ['1048576', 2 ** 20],
    ['1048576B', 2 ** 20],
    ['2048KiB', 2 ** 21],
    ['2 MiB', 2 ** 21],
    ['1GiB', 2 ** 30],
  ] as const) {
    t.equal(configOf([`--max-queued-bytes=${text}`]).maxQueuedBytes, value, text);
  }
});

t.test('the folder of functions is relative to where it was written', async (t) => {
  t.equal(
    configOf(['--config=/etc/simmer/c.yaml'], {}, 'functions: fns').functions,
    '/etc/simmer/fns',
  );
  t.equal(configOf(['--config=conf/c.yaml'], {}, 'functions: fns').functions, '/srv/conf/fns');
  t.equal(configOf(['--config=/etc/c.yaml', '--functions=fns'], {}, '').functions, '/srv/fns');
});

t.test('a bad start is refused with the option, the value and what is allowed', async (t) => {
  const cases: [string[], Record<string, string>, string | undefined, string][] = [
    [
      ['--port', '70000'],
      {},
      undefined,
      '--port: "70000" is not allowed; it must be a port from 0 to 65535 (0: any free one)',
    ],
    [['--port=-1'], {}, undefined, '--port: "-1" is not allowed'],
    [['--port', '80x'], {}, undefined, '--port: "80x" is not allowed'],
    [
      [],
      { SIMMER_PORT: 'tcp://10.0.0.1:80' },
      undefined,
      'SIMMER_PORT: "tcp://10.0.0.1:80" is not allowed (a Kubernetes service link',
    ],
    [
      [],
      { SIMMER_LOG_LEVEL: 'loud' },
      undefined,
      'SIMMER_LOG_LEVEL: "loud" is not allowed; it must be one of debug, info, warn, error',
    ],
    [
      ['--config=c'],
      {},
      'heartbeat-ms: fast',
      'heartbeat-ms in /srv/c: "fast" is not allowed; it must be milliseconds from 100 to 60000',
    ],
    [['--config=c'], {}, 'port: [1]', 'port in /srv/c: "[1]" is not allowed'],
    [['--config=c'], {}, 'prot: 1', 'unknown option prot in /srv/c: did you mean port?'],
    [['--config=c'], {}, '- port', 'config: /srv/c must hold option names and their values'],
    [['--config=c'], {}, 'a: [', 'config: cannot read /srv/c: '],
    [['--config=gone.yaml'], {}, undefined, 'config: cannot read /srv/gone.yaml: no such file'],
    [
      ['--max-queued-bytes=64MB'],
      {},
      undefined,
      '--max-queued-bytes: "64MB" is not allowed; it must be bytes from 1MiB to 1024GiB',
    ],
    [
      ['--host=999.1.1.1'],
      {},
      undefined,
      '--host: "999.1.1.1" is not allowed; it must be an IP address or a host name',
    ],
    [
      ['--managment-port=1'],
      {},
      undefined,
      'unknown option --managment-port: did you mean --management-port?; --help lists all',
    ],
    [['--frobnicate'], {}, undefined, 'unknown option --frobnicate; --help lists all'],
    [
      [],
      { SIMMER_MANAGMENT_PORT: '1' },
      undefined,
      'unknown option SIMMER_MANAGMENT_PORT in the environment: did you mean SIMMER_MANAGEMENT_PORT?',
    ],
    [['--port'], {}, undefined, '--port needs a value: a port from 0 to 65535'],
    [['--port', '--host=::1'], {}, undefined, '--port needs a value'],
    [['--config'], {}, undefined, '--config needs a value: the path of a file'],
    [['start'], {}, undefined, 'unexpected argument "start": options begin with --'],
    [
      ['--allow-anonymous=maybe'],
      {},
      undefined,
      '--allow-anonymous: "maybe" is not allowed; it must be true or false',
    ],
    [
      ['--host=0.0.0.0'],
      {},
      undefined,
      'host: "0.0.0.0": a bind beyond loopback needs API keys (--api-keys) or JWTs (--jwt-issuer), or --allow-anonymous',
    ],
    [
      ['--jwt-issuer=https://id.example'],
      {},
      undefined,
      'jwt-audience: jwt-issuer needs it: a token for another service must not hold here',
    ],
    [
      ['--api-keys-secret=x'],
      {},
      undefined,
      'api-keys-secret: it needs the kubernetes registry or backend',
    ],
    [
      ['--api-keys-secret=x', '--registry=kubernetes', '--api-keys=y'],
      {},
      undefined,
      'api-keys and api-keys-secret: one of the two',
    ],
    [['--tls-key=x'], {}, undefined, 'tls-cert and tls-key: one needs the other'],
    [
      ['--cors-origins=https://a.example/'],
      {},
      undefined,
      '--cors-origins: "https://a.example/" is not allowed; it must be origins',
    ],
    [['--jwt-audience=x'], {}, undefined, 'jwt-issuer: jwt-audience and jwt-jwks need it'],
    [['--jwt-jwks=https:/x', '--jwt-issuer=ftp://x'], {}, undefined, '--jwt-issuer: "ftp://x"'],
    [
      ['--management-host=::'],
      {},
      undefined,
      'management-host: "::": a bind beyond loopback needs API keys',
    ],
    [
      ['--host=localhost.example'],
      {},
      undefined,
      'host: "localhost.example": a bind beyond loopback needs',
    ],
    [
      ['--port=9', '--pod-port=9'],
      {},
      undefined,
      'pod-port: 9 is not allowed; it must differ from port',
    ],
  ];
  for (const [argv, env, file, message] of cases) {
    const resolution = resolve(argv, env, file);
    t.equal(resolution.kind, 'error', message);
    t.ok(
      (resolution as { message?: string }).message?.startsWith(message),
      JSON.stringify(resolution),
    );
  }
});

t.test('loopback needs no permission, and permission opens every address', async (t) => {
  for (const host of ['localhost', '127.8.9.1', '::1'])
    t.equal(configOf([`--host=${host}`]).host, host);
  t.equal(configOf(['--host=0.0.0.0', '--allow-anonymous']).host, '0.0.0.0');
  t.equal(configOf(['--host=0.0.0.0', '--api-keys=keys.json']).host, '0.0.0.0');
});

t.test('variables of others are left alone', async (t) => {
  const env = {
    SIMMER_SERVICE_HOST: '10.0.0.1',
    SIMMER_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
    SIMMER_POD_UID: 'x',
  };
  t.strictSame(configOf([], env), DEFAULTS);
});

t.test("help lists every option, even beside a bad one; version is this package's", async (t) => {
  const help = resolve(['--help']);
  t.strictSame(help, { kind: 'help', text: renderHelp() });
  for (const option of OPTIONS) t.match(renderHelp(), `--${option.name} `.trimEnd());
  t.match(resolve(['--version']), { kind: 'version', text: /^\d+\.\d+\.\d+\n$/ });
});

t.test('children inherit the surroundings and no secret', async (t) => {
  const env = { PATH: '/bin', HOME: '/root', SIMMER_PORT: '1', AWS_SECRET_ACCESS_KEY: 'x' };
  t.strictSame(podBaseEnvironment(env), { PATH: '/bin', HOME: '/root' });
});

t.test('docs/configuration.md is what the table says (make docs writes it)', async (t) => {
  const onDisk = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  t.equal(onDisk, renderConfigurationDoc());
});
