import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the server sends for `/small` and `/large`. */
export const SMALL_BODY = JSON.stringify({ symbol: '005930', price: '71500', change: '-0.28', volume: '9412383' });
export const LARGE_BYTES = 65_536;

/** From the system, if it is there. */
const NGINX = 'nginx';

const START_TRIES = 100;
const START_PAUSE_MS = 20;

/** A server with keep-alive, in a process of its own. */
export interface HttpServer {
  readonly name: string;
  readonly url: string;
  close(): Promise<void>;
}

/** nginx if it is installed, otherwise Node's own server. */
export async function startHttpServer(): Promise<HttpServer> {
  return hasNginx() ? startNginx() : startNode();
}

function hasNginx(): boolean {
  try {
    execFileSync(NGINX, ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function startNginx(): Promise<HttpServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-bench-'));
  const port = await freePort();
  const root = join(folder, 'root');
  mkdirSync(root);
  writeFileSync(join(root, 'small'), SMALL_BODY);
  writeFileSync(join(root, 'large'), 'x'.repeat(LARGE_BYTES));
  // Its worker process may run as another user.
  for (const path of [folder, root]) chmodSync(path, 0o755);
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, nginxConfig(folder, root, port));
  const child = spawn(NGINX, ['-e', join(folder, 'error.log'), '-p', folder, '-c', config], { stdio: 'ignore' });
  const server = {
    name: NGINX,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      await stop(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await untilItAnswers(server.url, child, server.close);
  return server;
}

/** One worker process, as many cores as the client's main thread has. POST to a file would be refused: `return`. */
function nginxConfig(folder: string, root: string, port: number): string {
  return `
    daemon off;
    worker_processes 1;
    pid ${join(folder, 'nginx.pid')};
    events { worker_connections 1024; }
    http {
      access_log off;
      sendfile on;
      tcp_nopush on;
      keepalive_timeout 600;
      keepalive_requests 100000000;
      client_body_buffer_size 128k;
      client_body_temp_path ${join(folder, 'body')};
      proxy_temp_path ${join(folder, 'proxy')};
      fastcgi_temp_path ${join(folder, 'fastcgi')};
      uwsgi_temp_path ${join(folder, 'uwsgi')};
      scgi_temp_path ${join(folder, 'scgi')};
      open_file_cache max=10;
      server {
        listen 127.0.0.1:${port};
        root ${root};
        location = /small { default_type text/plain; return 200 '${SMALL_BODY}'; }
        location = /large { default_type text/plain; }
      }
    }`;
}

async function startNode(): Promise<HttpServer> {
  const child = fork(new URL('./fixtures/node-server.js', import.meta.url));
  const [port] = (await once(child, 'message')) as [number];
  return { name: 'node:http', url: `http://127.0.0.1:${port}`, close: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

async function untilItAnswers(url: string, child: ChildProcess, close: () => Promise<void>): Promise<void> {
  for (let attempt = 0; attempt < START_TRIES && child.exitCode === null; attempt++) {
    try {
      const response = await fetch(`${url}/small`, { headers: { connection: 'close' } });
      if ((await response.text()) === SMALL_BODY) return;
    } catch {
      // Not yet.
    }
    await sleep(START_PAUSE_MS);
  }
  await close();
  throw new Error('nginx does not start.');
}

/** A port that nobody listened on a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('No port.');
  return address.port;
}
