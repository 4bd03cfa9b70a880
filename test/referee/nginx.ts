import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Arrival, Program, type Referee } from './referee.ts';

export interface NginxOptions {
  /** As in `limit_req`: requests that may come early, beside the one that is due; 0 for none. */
  readonly burst: number;
  /** PEM texts; without them it speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

const BODY = '{"by":"nginx"}\n';

/** nginx with `limit_req` at 20 requests per second for all clients together. Ends with `destroy()` at the latest. */
export async function startNginx(path: string, { burst, tls }: NginxOptions): Promise<Referee> {
  const { program, address } = await Program.start(path, {
    stopSignal: 'SIGQUIT',
    prepare(folder, { host, port }) {
      const www = join(folder, 'www');
      mkdirSync(www);
      writeFileSync(join(www, 'answer.json'), BODY);
      if (tls !== undefined) {
        writeFileSync(join(folder, 'key.pem'), tls.key, { mode: 0o600 });
        writeFileSync(join(folder, 'cert.pem'), tls.cert);
      }
      const listen = tls === undefined ? '' : ' ssl';
      const certificate = tls === undefined ? '' : 'ssl_certificate cert.pem; ssl_certificate_key key.pem;';
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder}/${of};`);
      writeFileSync(
        join(folder, 'nginx.conf'),
        `
        daemon off;
        # One process: nothing is left when it ends, and it stays the user that started it.
        master_process off;
        pid ${folder}/nginx.pid;
        events { worker_connections 256; }
        http {
          ${temp.join(' ')}
          default_type application/json;
          log_format referee '$status $limit_req_status $connection $http_x_item';
          # One key for everybody.
          limit_req_zone $server_name zone=all:1m rate=20r/s;
          limit_req_status 429;
          server {
            listen ${host}:${port}${listen};
            server_name referee;
            ${certificate}
            root ${www};
            access_log off;
            location / {
              limit_req zone=all${burst === 0 ? '' : ` burst=${burst} nodelay`};
              access_log ${folder}/access.log referee;
              # "return" would answer before the limiter is asked.
              try_files /answer.json =404;
            }
            location = /warm { try_files /answer.json =404; }
          }
        }
        `,
      );
      return ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')];
    },
  });
  const url = `${tls === undefined ? 'http' : 'https'}://${address.host}:${address.port}`;
  return {
    url,
    warmUrl: `${url}/warm`,
    pid: program.pid,
    counted: async () => undefined,
    async stop() {
      await program.stop();
      return readFileSync(join(program.folder, 'access.log'), 'utf8').trimEnd().split('\n').flatMap(toArrival);
    },
    destroy: () => program.destroy(),
  };
}

function toArrival(line: string): Arrival[] {
  if (line === '') return [];
  const [status = '', verdict = '', connection = '', item = ''] = line.split(' ');
  // The limiter's own word must agree with the answer, or what is counted here is not its work.
  if (!(status === '200' && verdict === 'PASSED') && !(status === '429' && verdict === 'REJECTED')) {
    throw new Error(`Not an answer of the limiter: ${line}`);
  }
  return [{ item, status: Number(status), connection }];
}
