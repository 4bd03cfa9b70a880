import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { InvalidOptionError } from '../../lib/errors.ts';
import { presets } from '../../lib/index.ts';
import { createKisClient, KIS_RULES } from '../../lib/kis/index.ts';
import { type KisClientOptions, resolveKisOptions } from '../../lib/kis/options.ts';
import { resolveOptions } from '../../lib/resolve-options.ts';
import type { RecoveryRule } from '../../lib/types.ts';
import { APP_KEY, APP_SECRET, domestic, makeClient, startSim } from './support.ts';

const KEYS = { appKey: APP_KEY, appSecret: APP_SECRET };

/** The options of the engine that the client makes, with every field filled. */
function engineOf(options: KisClientOptions, env: Record<string, string> = {}) {
  return resolveOptions(resolveKisOptions({ ...KEYS, ...options }, env).engine, process.cwd());
}

function errorOf(options: unknown, env: Record<string, string> = {}): InvalidOptionError {
  try {
    const { engine } = resolveKisOptions(options as KisClientOptions, env);
    resolveOptions(engine, process.cwd());
  } catch (error) {
    assert.ok(error instanceof InvalidOptionError, String(error));
    return error;
  }
  assert.fail('no error');
}

describe('the options of a client', () => {
  it('have KIS as it is for real: 18 per second, exact, evenly spaced', () => {
    const { rate, concurrency, http, credentialsTimeoutMs } = engineOf({});
    const [limit] = rate;
    assert.deepEqual(
      [rate.length, limit?.tokens, limit?.windowMs, limit?.spacingMs, limit?.arrivalWithinMs],
      [1, 18, 1000, 1000 / 18, Number.POSITIVE_INFINITY],
    );
    assert.equal(concurrency, 18);
    assert.equal(http.baseUrl, 'https://openapi.koreainvestment.com:9443/');
    // Three requests for a token, a minute between them.
    assert.ok(credentialsTimeoutMs > 3 * 61_000);
  });

  it('have one per second for paper trading, on another host', () => {
    const { rate, concurrency, http } = engineOf({ environment: 'paper' });
    assert.deepEqual([rate[0]?.tokens, rate[0]?.windowMs, concurrency], [1, 1000, 1]);
    assert.equal(http.baseUrl, 'https://openapivts.koreainvestment.com:29443/');
  });

  it('take a preset, or any limit as it is', () => {
    const careful = engineOf({ ...presets.conservative });
    assert.deepEqual(
      [careful.rate[0]?.tokens, careful.rate[0]?.spacingMs, careful.rate[0]?.arrivalWithinMs, careful.concurrency],
      [12, 69, 50, 3],
    );
    const own = engineOf({ rate: { limit: 3, windowMs: 1000 } });
    assert.deepEqual([own.rate[0]?.tokens, own.rate[0]?.spacingMs], [3, 0]);
    const several = engineOf({
      rate: [
        { limit: 18, windowMs: 1000 },
        { limit: 1000, windowMs: 60_000 },
      ],
    });
    assert.equal(several.rate.length, 2);
  });

  it('pass on what is the engine’s', () => {
    const rule: RecoveryRule = {
      type: 'Mine',
      when: { upstreamCode: 'EGW00300' },
      severity: 'critical',
      actions: ['fail-fast'],
      message: { ko: '가', en: 'a' },
    };
    const passed = {
      threads: 1,
      concurrency: 2,
      timeoutMs: 1234,
      locale: 'ko',
      circuit: false,
      retry: { maxAttempts: 9 },
      onRateLimit: 'drain',
      recovery: [rule],
      statistics: { path: './statistics.json' },
    } as const;
    const { threads, concurrency, timeoutMs, locale, circuit, retry, onRateLimit, recovery, statistics } =
      engineOf(passed);
    assert.equal(statistics?.format, 'json');
    assert.deepEqual(
      [threads, concurrency, timeoutMs, locale, circuit, retry.maxAttempts, onRateLimit],
      [1, 2, 1234, 'ko', undefined, 9, 'drain'],
    );
    // The user's rules come before those of KIS.
    assert.deepEqual(recovery, [rule, ...KIS_RULES]);
  });

  it('keep their own headers beside those of the user, and the keys are those of the client', () => {
    const headers = { 'user-agent': 'mine', appkey: 'x', custtype: 'B' };
    const { http } = engineOf({ http: { headers, connections: 3 } });
    assert.deepEqual(http.headers, {
      'user-agent': 'mine',
      'content-type': 'application/json; charset=utf-8',
      custtype: 'P',
      appkey: APP_KEY,
      appsecret: APP_SECRET,
    });
    assert.equal(http.connections, 3);
  });
});

describe('the environment', () => {
  const env = { KIS_APP_KEY: 'env-key', KIS_APP_SECRET: 'env-secret' };

  it('has the keys that are not given', () => {
    const { appKey, appSecret } = resolveKisOptions({}, env);
    assert.deepEqual([appKey, appSecret], ['env-key', 'env-secret']);
    const given = resolveKisOptions({ appSecret: 'mine' }, env);
    assert.deepEqual([given.appKey, given.appSecret], ['env-key', 'mine']);
  });

  it('has the names of the model, over the limit of KIS and under the arguments', () => {
    const model = { ...env, RATE_LIMIT_MAX_CALLS: '15', RATE_LIMIT_SAFETY_MARGIN: '0.8', BACKOFF_BASE_DELAY: '0.5' };
    const { rate, retry } = engineOf({}, model);
    assert.deepEqual([rate[0]?.tokens, rate[0]?.spacingMs, retry.initialMs], [12, 1000 / 12, 500]);
    const margin = engineOf({}, { ...env, RATE_LIMIT_SAFETY_MARGIN: '0.5' });
    assert.equal(margin.rate[0]?.tokens, 9);
    const overruled = engineOf({ rate: { limit: 4, windowMs: 500, safetyMargin: 1 }, retry: { initialMs: 7 } }, model);
    assert.deepEqual(
      [overruled.rate[0]?.tokens, overruled.rate[0]?.windowMs, overruled.rate[0]?.spacingMs, overruled.retry.initialMs],
      [4, 500, 0, 7],
    );
  });

  it('may have a proxy, but never says where the keys go', () => {
    const { http } = engineOf(
      {},
      {
        ...env,
        SLUICEGATE_HTTP_BASE_URL: 'https://other.example.com',
        SLUICEGATE_HTTP_PROXY: 'http://proxy.example.com:8080',
      },
    );
    assert.equal(http.baseUrl, 'https://openapi.koreainvestment.com:9443/');
    assert.equal(http.proxy, 'http://proxy.example.com:8080');
  });

  it('is named when it is wrong', () => {
    const bad = errorOf({}, { ...env, RATE_LIMIT_MAX_CALLS: 'many' });
    assert.deepEqual([bad.option, bad.value], ['RATE_LIMIT_MAX_CALLS', 'many']);
    const secret = errorOf({}, { ...env, KIS_APP_SECRET: 'two words' });
    assert.deepEqual([secret.option, secret.value], ['KIS_APP_SECRET', undefined]);
    assert.ok(!secret.message.includes('two words'));
    for (const option of ['appKey', 'appSecret'] as const) {
      const { message } = errorOf({ ...KEYS, [option]: undefined });
      assert.match(message, new RegExp(`"${option}".*KIS_APP_${option === 'appKey' ? 'KEY' : 'SECRET'}`));
    }
    assert.equal(errorOf({}, { ...env, KIS_APP_KEY: '' }).option, 'appKey');
  });
});

describe('a wrong option', () => {
  const BAD: readonly (readonly [string, unknown])[] = [
    ['options', null],
    ['options', []],
    ['appKey', { appSecret: 's', appKey: 5 }],
    ['appKey', { appSecret: 's', appKey: '' }],
    ['appKey', { appSecret: 's', appKey: 'a b' }],
    ['appSecret', { appKey: 'k', appSecret: 'a\r\nb' }],
    ['appSecret', { appKey: 'k', appSecret: 'x'.repeat(513) }],
    ['environment', { ...KEYS, environment: 'virtual' }],
    ['baseUrl', { ...KEYS, baseUrl: 'example.com' }],
    ['baseUrl', { ...KEYS, baseUrl: 'ftp://example.com' }],
    ['baseUrl', { ...KEYS, baseUrl: 'https://user:pass@example.com' }],
    ['baseUrl', { ...KEYS, baseUrl: 'https://example.com/?a=1' }],
    ['baseUrl', { ...KEYS, baseUrl: new URL('https://example.com') }],
    ['tokenIntervalMs', { ...KEYS, tokenIntervalMs: -1 }],
    ['tokenIntervalMs', { ...KEYS, tokenIntervalMs: '60' }],
    ['tokenFile', { ...KEYS, tokenFile: 5 }],
    ['tokenFile', { ...KEYS, tokenFile: '' }],
    ['tokenFile', { ...KEYS, tokenFile: tmpdir() }],
    ['tokenFile', { ...KEYS, tokenFile: join(tmpdir(), 'no', 'such', 'folder') }],
    ['tokenFile', { ...KEYS, tokenFile: new URL('https://example.com/token') }],
    ['appkey', { ...KEYS, appkey: 'x' }],
    ['handler', { ...KEYS, handler: './x.js' }],
    ['credentials', { ...KEYS, credentials: {} }],
    ['http', { ...KEYS, http: 5 }],
    ['http.baseUrl', { ...KEYS, http: { baseUrl: 'https://example.com' } }],
    ['http.dispatcher', { ...KEYS, http: { dispatcher: './x.js' } }],
    ['http.headers', { ...KEYS, http: { headers: 'x' } }],
    ['http.proxy', { ...KEYS, http: { proxy: 'x' } }],
    ['rate.limit', { ...KEYS, rate: { limit: 0, windowMs: 1000 } }],
    ['threads', { ...KEYS, threads: 0 }],
    ['timeoutMs', { ...KEYS, timeoutMs: 'x' }],
    ['locale', { ...KEYS, locale: 'de' }],
    ['recovery', { ...KEYS, recovery: {} }],
    ['recovery[0].type', { ...KEYS, recovery: [{}] }],
  ];

  for (const [option, options] of BAD) {
    it(`is named: ${option} ${JSON.stringify(options)
      ?.replaceAll(/"app\w+":"[^"]*",?/g, '')
      .slice(0, 50)}`, () => {
      const error = errorOf(options);
      assert.equal(error.option, option);
      assert.ok(!error.message.includes(APP_KEY) && !error.message.includes(APP_SECRET));
    });
  }

  it('is an error at once, and leaves nothing running', () => {
    assert.throws(() => createKisClient({ ...KEYS, environment: 'x' } as never), { option: 'environment' });
  });
});

describe('an address', () => {
  it('may have a path', async (t) => {
    const sim = await startSim(t as TestContext);
    const client = makeClient(t as TestContext, sim, { baseUrl: `${sim.url}/` });
    assert.equal((await client.fetchPriceList(domestic(1))).summary.succeeded, 1);
    const { baseUrl } = resolveKisOptions({ ...KEYS, baseUrl: 'https://example.com/kis' }, {});
    assert.equal(new URL('oauth2/tokenP', baseUrl).href, 'https://example.com/kis/oauth2/tokenP');
  });

  it('of the token file is a path or a URL', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluicegate-kis-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'token.json');
    for (const tokenFile of [path, pathToFileURL(path)]) {
      assert.equal(resolveKisOptions({ ...KEYS, tokenFile }, {}).tokenFile, path);
    }
  });
});
