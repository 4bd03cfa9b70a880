import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { APP_KEY, APP_SECRET } from './support.ts';

const PROGRAM = fileURLToPath(new URL('./fixtures/tell-everything.js', import.meta.url));
/** A word that is in every secret, and nowhere else. */
const CANARY = 'canary';

/** A server that answers with all that it was told, in every way in which it can be wrong. */
async function startEcho(t: TestContext): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, Buffer.concat(chunks).toString(), response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

let tokens = 0;

/** What a server might say: status, body, type of the body. `undefined`: it hangs up. */
type Said = readonly [status: number, value: unknown, type?: string] | undefined;

function answer(request: IncomingMessage, body: string, response: ServerResponse): void {
  const echo = `${JSON.stringify(request.headers)} ${body}`;
  const symbol = new URL(request.url ?? '', 'http://x').searchParams.get('FID_INPUT_ISCD');
  if (symbol === 'hang') return;
  const said = symbol === null ? aboutToken(request.url, echo) : aboutSymbol(symbol, request.headers, echo);
  if (said === undefined) {
    request.socket.resetAndDestroy();
    return;
  }
  const [status, value, type = 'application/json'] = said;
  response.writeHead(status, {
    'content-type': type,
    'x-echo': encodeURIComponent(echo).slice(0, 2000),
    'retry-after': String(request.headers.appkey),
    location: `http://127.0.0.1:1/${encodeURIComponent(echo)}`,
  });
  response.end(typeof value === 'string' ? value : JSON.stringify(value));
}

function aboutToken(url: string | undefined, echo: string): Said {
  if (url === '/refuses/oauth2/tokenP') {
    return [403, { error_code: 'EGW00103', error_description: echo, message: echo }];
  }
  if (url === '/confuses/oauth2/tokenP') return [200, { access_token: echo, msg_cd: echo }];
  return [200, { access_token: `eyJ-token-${CANARY}-${++tokens}`, expires_in: 86_400 }];
}

function aboutSymbol(symbol: string, headers: IncomingMessage['headers'], echo: string): Said {
  const words = { msg1: echo, message: echo, [echo]: echo };
  const answers: Readonly<Record<string, Said>> = {
    fine: [200, { rt_cd: '0', msg_cd: 'MCA00000', ...words, output: { stck_prpr: '1', echo } }],
    error: [500, { rt_cd: '1', msg_cd: 'EGW00304', ...words }],
    code: [200, { rt_cd: headers.authorization, msg_cd: headers.appkey, error_code: headers.appsecret }],
    page: [500, `<html>${echo}</html>`, 'text/html'],
    text: [200, echo, 'text/plain'],
    broken: [200, `${headers.authorization}{"rt_cd":"0",${echo}`],
    token: [500, { rt_cd: '1', msg_cd: 'EGW00121', ...words }],
    redirect: [302, echo],
    refuse: [429, { rt_cd: '1', msg_cd: 'EGW00201', ...words }],
  };
  return answers[symbol];
}

function linesWith(text: string, word: string): string[] {
  return text.split('\n').filter((line) => line.includes(word));
}

test('keys and tokens are in nothing that a client says, whatever the server does', async (t) => {
  for (const secret of [APP_KEY, APP_SECRET]) assert.ok(secret.includes(CANARY));
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-kis-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const baseUrl = await startEcho(t);
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, baseUrl, folder], {
    cwd: folder,
    env: { ...process.env, KIS_APP_KEY: APP_KEY, KIS_APP_SECRET: APP_SECRET },
    maxBuffer: 256 * 1024 * 1024,
    signal: t.signal,
  });
  assert.match(stdout, /## the end\n$/);
  // It has said what there is to say.
  for (const word of ['EGW00304', 'EGW00121', 'EGW00201', 'EGW00103', 'ECONNREFUSED', 'TIMEOUT', 'not shown']) {
    assert.ok(stdout.includes(word), word);
  }
  for (const event of ['progress', 'rateLimited', 'paused', 'resumed', 'credentials', 'notify', 'retry']) {
    assert.ok(stdout.includes(`## ${event}\n`), event);
  }
  assert.ok(tokens >= 2, `${tokens} tokens`);
  for (const text of [stdout, stderr]) assert.deepEqual(linesWith(text, CANARY), []);

  const files = readdirSync(folder, { recursive: true }) as string[];
  const expected = ['auto.json.gz', 'statistics.csv', 'statistics.json', 'statistics.jsonl', 'token.json'];
  assert.deepEqual(files.toSorted(), expected);
  for (const file of files) {
    const bytes = readFileSync(join(folder, file));
    const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    assert.ok(text.length > 100, file);
    assert.ok(!text.includes(APP_KEY) && !text.includes(APP_SECRET), file);
    if (file !== 'token.json') assert.ok(!text.includes(CANARY), file);
  }
});
