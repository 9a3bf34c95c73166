/**
 * (a) nginx in front of Node `http` servers, as fair as its settings can make it: one worker (everything else here has
 * one thread on the way, and two cores are shared), kept-alive connections on both sides that are never recycled, no access log, bodies
 * held in memory, and unbuffered disk never touched.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, eventually, readyLine, start } from '../child.ts';
import { freePort, listens } from '../ports.ts';
import { handlerFile, type Running, type TargetOptions } from './target.ts';

/** `nginx version: nginx/1.22.1`, or undefined where there is none. */
export function nginxVersion(): string | undefined {
  const { error, stderr } = spawnSync('nginx', ['-v'], { encoding: 'utf8' });
  return error === undefined ? stderr.trim().replace(/^nginx version: /, '') : undefined;
}

export function nginxConfig(port: number, upstreams: readonly number[]): string {
  return `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  tcp_nodelay on;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 16m;
  client_body_buffer_size 2m;
  proxy_buffer_size 16k;
  proxy_buffers 32 64k;
  proxy_busy_buffers_size 128k;
  proxy_max_temp_file_size 0;
  upstream pods {
    ${upstreams.length > 1 ? 'least_conn;' : ''}
    ${upstreams.map((p) => `server 127.0.0.1:${p} max_fails=0;`).join('\n    ')}
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://pods;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}

export async function startNginx(options: TargetOptions): Promise<Running> {
  const entry = fileURLToPath(new URL('./node-http.js', import.meta.url));
  const pods: Child[] = [];
  const ports: number[] = [];
  for (let i = 0; i < options.pods; i++) {
    const pod = await start(process.execPath, [entry, handlerFile(options.handler)]);
    pods.push(pod);
    ports.push((await readyLine<{ port: number }>(pod)).port);
  }
  const dir = mkdtempSync(join(tmpdir(), 'simmer-bench-nginx-'));
  for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(dir, name));
  const port = await freePort();
  writeFileSync(join(dir, 'nginx.conf'), nginxConfig(port, ports));
  const nginx = await start('nginx', ['-p', `${dir}/`, '-e', 'stderr', '-c', 'nginx.conf']);
  await eventually('nginx listens', async () => {
    if (nginx.process.exitCode !== null) throw new Error(`nginx ended: ${nginx.output()}`);
    return (await listens(port)) || undefined;
  });
  return {
    name: 'nginx',
    port,
    path: '/',
    async stop() {
      await nginx.stop();
      await Promise.all(pods.map((pod) => pod.stop()));
      rmSync(dir, { recursive: true });
    },
  };
}
