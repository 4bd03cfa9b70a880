import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Arrival, Program, type Referee } from './referee.ts';

const SOCKET = 'stats.sock';

/** HAProxy that denies with 429 what makes `http_req_rate(1s)` exceed 20. Ends with `destroy()` at the latest. */
export async function startHaproxy(path: string): Promise<Referee> {
  const { program, address } = await Program.start(path, {
    stopSignal: 'SIGUSR1',
    prepare(folder, { host, port }) {
      writeFileSync(
        join(folder, 'haproxy.cfg'),
        `
global
  log stdout format raw local0
  stats socket ${folder}/${SOCKET} mode 600 level admin
defaults
  mode http
  log global
  option dontlognull
  log-format "%ST %cp %[capture.req.hdr(0)]"
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend referee
  bind ${host}:${port}
  stick-table type ip size 1k expire 10m store http_req_cnt,http_req_rate(1s)
  http-request set-log-level silent if { path /warm }
  http-request return status 200 content-type application/json string "{}" if { path /warm }
  http-request capture req.hdr(x-item) len 16
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 20 }
  http-request return status 200 content-type application/json string "{}"
`,
      );
      return ['-db', '-f', join(folder, 'haproxy.cfg')];
    },
  });
  const url = `http://${address.host}:${address.port}`;
  return {
    url,
    warmUrl: `${url}/warm`,
    pid: program.pid,
    async counted() {
      const table = await ask(join(program.folder, SOCKET), 'show table referee');
      return Number(/ http_req_cnt=(\d+)/.exec(table)?.[1] ?? 0);
    },
    async stop() {
      // Beside the log, it says what it does when it ends.
      return (await program.stop()).split('\n').flatMap(toArrival);
    },
    destroy: () => program.destroy(),
  };
}

async function ask(socketPath: string, command: string): Promise<string> {
  const socket = net.connect(socketPath);
  await once(socket, 'connect');
  socket.end(`${command}\n`);
  return text(socket);
}

function toArrival(line: string): Arrival[] {
  const [, status, connection = '', item = ''] = /^(\d{3}) (\d+) (.*)$/.exec(line) ?? [];
  return status === undefined ? [] : [{ item, status: Number(status), connection }];
}
