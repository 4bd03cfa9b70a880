import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import {
  createEngine,
  type EngineOptions,
  type ErrorCode,
  type HttpItem,
  type Outcome,
  optionsFromEnvironment,
} from '../../lib/index.ts';
import { cloneCause } from '../../lib/recover/stop-records.ts';
import { EVENTS } from '../support/events.ts';

/** A word that is in every secret, and nowhere else. */
const CANARY = 'canary';

/** A server that is wrong in every way and says back what it was told, where a client might repeat it. */
async function startEcho(t: TestContext): Promise<string> {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const echo = JSON.stringify(request.headers) + request.url;
    const end = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': type, 'retry-after': CANARY, 'x-echo': CANARY }).end(body);
    const ways: Record<string, () => unknown> = {
      reset: () => request.socket.resetAndDestroy(),
      hang: () => {},
      page: () => end(500, 'text/html', echo),
      broken: () => end(200, 'application/json', `{"a":${echo}`),
      encoding: () => response.writeHead(200, { 'content-encoding': CANARY }).end(echo),
      length: () => response.writeHead(200, { 'content-length': '999999' }).end(echo),
      garbage: () => request.socket.end(`${CANARY} ${echo}\r\n\r\n`),
      redirect: () => response.writeHead(302, { location: `ftp://${CANARY}:${CANARY}@127.0.0.1/` }).end(),
      nowhere: () => response.writeHead(302, { location: `http://127.0.0.1:1/${CANARY}` }).end(),
      unauthorized: () => end(401, 'application/json', JSON.stringify({ message: echo })),
      refuse: () => end(429, 'application/json', JSON.stringify({ message: echo })),
    };
    (ways[request.url?.split('?')[0]?.slice(1) ?? ''] ?? (() => end(404, 'text/plain', echo)))();
  };
  const server = createServer((request, response) => {
    request.on('end', () => answer(request, response)).resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const DEEDS = ['reset', 'hang', 'page', 'broken', 'encoding', 'length', 'garbage'];
/** Those that stop everything else come alone. */
const BATCHES = [[...DEEDS, 'redirect', 'nowhere', 'missing'], ['refuse'], ['unauthorized']];

function requestsFor(baseUrl: string, deeds: readonly string[]): HttpItem[] {
  const secret = { headers: { authorization: CANARY, cookie: CANARY }, body: { [CANARY]: CANARY }, method: 'POST' };
  return deeds.flatMap((deed): HttpItem[] => [
    { ...secret, url: `${deed}?key=${CANARY}`, idempotent: true },
    { ...secret, url: `${baseUrl}${deed}?key=${CANARY}` },
  ]);
}

function invalidItems(): HttpItem[] {
  const invalid: unknown[] = [
    { url: `http://user:${CANARY}@127.0.0.1:1/${CANARY}` },
    { url: `${CANARY}://x` },
    { url: `http://${CANARY}@[/` },
    { url: '/', method: `${CANARY} ` },
    { url: '/', headers: { [`${CANARY}\n`]: CANARY } },
    { url: '/', headers: { authorization: `${CANARY}\r\nx: y` } },
    { url: '/', query: { key: Symbol(CANARY) } },
    { url: '/', body: { toJSON: CANARY, value: 1n } },
    { url: { [CANARY]: CANARY } },
    [CANARY],
    CANARY,
  ];
  return invalid as HttpItem[];
}

test('secrets are in nothing that an engine says, whatever the server does', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-secrets-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const baseUrl = await startEcho(t);
  const said: { readonly what: string; readonly text: string }[] = [];
  const tell = (what: string, value: unknown) => {
    said.push({ what, text: inspect(value, { depth: 20, showHidden: true, getters: true, maxStringLength: null }) });
    said.push({ what: `${what} in JSON`, text: JSON.stringify(value) ?? '' });
  };
  const engine = createEngine<HttpItem, unknown>({
    threads: 2,
    concurrency: 8,
    timeoutMs: 300,
    circuit: false,
    recovery: [
      {
        type: 'Stale',
        when: { status: 401 },
        severity: 'low',
        actions: ['refresh-credentials', 'retry'],
        message: { en: 'Stale.', ko: 'Stale.' },
      },
    ],
    retry: { initialMs: 1, maxMs: 5, maxAttempts: 2, maxRefusals: 2 },
    trace: join(folder, 'trace.jsonl'),
    handlerData: { password: CANARY },
    credentials: { headers: { 'x-token': CANARY } },
    onRefreshCredentials: () => {
      throw new Error('There are no new ones.');
    },
    http: { baseUrl, headers: { 'x-key': CANARY }, maxRedirects: 2, tls: { passphrase: CANARY } },
  });
  t.after(() => engine.close({ mode: 'abort' }));
  for (const event of EVENTS) engine.on(event, (data: unknown) => tell(event, data));
  tell('engine', engine);
  const outcomes: Outcome[] = [];
  for (const items of [invalidItems(), ...BATCHES.map((deeds) => requestsFor(baseUrl, deeds))]) {
    const result = await engine.run(items);
    tell('summary', result.summary);
    outcomes.push(...result.outcomes);
  }
  const codes = new Set(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code)));
  const expected = [
    'CREDENTIALS',
    'HANDLER',
    'HTTP_STATUS',
    'INVALID_RESPONSE',
    'IN_DOUBT',
    'NETWORK',
    'NOT_CLONEABLE',
    'RATE_LIMITED',
    'TIMEOUT',
  ];
  assert.deepEqual(
    expected.filter((code) => !codes.has(code as ErrorCode)),
    [],
    `only ${[...codes]}`,
  );
  tell(
    'outcomes',
    outcomes.filter(({ ok }) => !ok),
  );
  tell('stats', engine.stats());
  tell('statistics', engine.statistics());
  for (const format of ['json', 'jsonl', 'csv'] as const) {
    await engine.saveStatistics(join(folder, `statistics.${format}`), { format });
  }
  await engine.close();
  for (const name of readdirSync(folder)) said.push({ what: name, text: readFileSync(join(folder, name), 'utf8') });

  assert.ok(said.length > 40, 'much was said');
  for (const { what, text } of said) {
    const at = text.indexOf(CANARY);
    assert.equal(at, -1, `${what}: ${text.slice(Math.max(0, at - 200), at + 100)}`);
  }
});

test('secrets are in no error about an option', () => {
  const wrong: unknown[] = [
    { http: { baseUrl: `ftp://user:${CANARY}@host/` } },
    { http: { proxy: `socks://user:${CANARY}@host/` } },
    { http: { proxy: CANARY } },
    { http: { headers: { authorization: `${CANARY}\n` } } },
    { http: { headers: { authorization: [CANARY, 5] } } },
    { http: { headers: CANARY } },
    { http: { tls: CANARY } },
    { http: { tls: { key: Symbol(CANARY) } } },
    { credentials: () => CANARY },
    { credentials: { headers: Symbol(CANARY) } },
    { handlerData: { password: CANARY, run: () => {} } },
  ];
  for (const options of wrong) {
    assert.throws(
      () => createEngine(options as EngineOptions),
      (error) => {
        assert.ok(error instanceof Error);
        assert.doesNotMatch(inspect(error, { showHidden: true, depth: 9 }), /canary/, inspect(options));
        return true;
      },
      inspect(options),
    );
  }
  for (const name of ['SLUICEGATE_HTTP_PROXY', 'SLUICEGATE_HTTP_BASE_URL']) {
    assert.throws(
      () => createEngine(optionsFromEnvironment({ [name]: `ftp://user:${CANARY}@host/` })),
      (error) => error instanceof Error && !inspect(error).includes(CANARY),
    );
  }
});

test('what cannot be cloned is named by its kind, not by its text', () => {
  const secretive: unknown[] = [
    () => CANARY,
    Symbol(CANARY),
    { a: [() => CANARY] },
    {
      get a() {
        return () => CANARY;
      },
    },
  ];
  const said = (value: unknown) => {
    try {
      return structuredClone(value);
    } catch (error) {
      return cloneCause(error);
    }
  };
  for (const value of secretive) {
    assert.deepEqual(said(value), { name: 'DataCloneError', message: 'A function or a symbol could not be cloned.' });
  }
  assert.deepEqual(said(Promise.resolve(CANARY)), {
    name: 'DataCloneError',
    message: '#<Promise> could not be cloned.',
  });
  assert.deepEqual(cloneCause(new RangeError('too much')), { name: 'RangeError', message: 'too much' });
});
