import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, it } from 'node:test';
import { InvalidOptionError } from '../lib/errors.ts';
import type { CircuitOptions, EngineOptions } from '../lib/options.ts';
import { DEFAULTS, resolveOptions, resolveRunOptions } from '../lib/resolve-options.ts';

const CWD = import.meta.dirname;
const SECRET = 'hunter2-do-not-print';

/** Options that no type checker has seen, as from JavaScript or JSON. */
function resolveUnchecked(options: unknown) {
  return resolveOptions(options as EngineOptions, CWD);
}

function errorOf(call: () => unknown): InvalidOptionError {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof InvalidOptionError, `not an InvalidOptionError: ${String(error)}`);
    return error;
  }
  assert.fail('nothing was thrown');
}

function tokensFor(limit: number, safetyMargin: number): number | undefined {
  return resolveOptions({ rate: { limit, windowMs: 1000, safetyMargin } }, CWD).rate[0]?.tokens;
}

describe('defaults', () => {
  it('fill every field', () => {
    const resolved = resolveOptions(undefined, CWD);
    const threads = Math.min(availableParallelism(), 256);
    assert.deepEqual(resolved, {
      handler: { url: new URL('../workers/http.js', import.meta.url).href, builtin: 'http' },
      handlerData: undefined,
      http: {},
      dispatcherUrl: undefined,
      threads,
      concurrency: threads * 8,
      rate: [],
      timeoutMs: 30_000,
      retry: {
        scope: 'unfinished',
        maxAttempts: 3,
        maxRefusals: 5,
        initialMs: 1000,
        factor: 2,
        maxMs: 32_000,
        jitter: 0.1,
        maxRetryAfterMs: 120_000,
        adaptive: true,
      },
      onRateLimit: 'cancel',
      hints: 'normal',
      circuit: {
        failureThreshold: 10,
        failureRate: 0.5,
        minimumCalls: 100,
        windowMs: 60_000,
        countRateLimits: false,
        successThreshold: 3,
        halfOpenProbes: 3,
        openMs: 60_000,
        openFactor: 2,
        maxOpenMs: 600_000,
        whenOpen: 'wait',
      },
      recovery: [],
      locale: 'en',
      credentials: undefined,
      onRefreshCredentials: undefined,
      credentialsTimeoutMs: 120_000,
      cancelGraceMs: 1000,
      killGraceMs: 1000,
      setupTimeoutMs: 30_000,
      statistics: undefined,
      trace: undefined,
      resourceLimits: undefined,
    });
    assert.deepEqual(resolveOptions({}, CWD), resolved);
  });

  it('apply to options that are undefined', () => {
    const options: EngineOptions = {
      timeoutMs: undefined,
      rate: undefined,
      threads: undefined,
      retry: { factor: undefined, scope: undefined },
      circuit: { openMs: undefined, whenOpen: undefined },
      recovery: undefined,
      hints: undefined,
      onRefreshCredentials: undefined,
    };
    assert.deepEqual(resolveOptions(options, CWD), resolveOptions({}, CWD));
  });

  it('leave no undefined field in nested options, where it would hide the default of a reader', () => {
    const http = resolveUnchecked({ http: { connections: 4, baseUrl: undefined, tls: { servername: 'a' } } }).http;
    assert.deepEqual(Object.keys(http), ['tls', 'connections']);
    assert.deepEqual(Object.keys(http.tls ?? {}), ['servername']);
  });

  it('are frozen, and so is the result', () => {
    const resolved = resolveOptions(
      { rate: { limit: 1, windowMs: 1 }, resourceLimits: { stackSizeMb: 4 }, http: { connections: 1 } },
      CWD,
    );
    const parts = [resolved, resolved.handler, resolved.http, resolved.rate, resolved.rate[0], resolved.retry];
    const defaults = [DEFAULTS, DEFAULTS.rate, DEFAULTS.retry, DEFAULTS.circuit];
    for (const part of [...parts, resolved.resourceLimits, resolved.circuit, ...defaults]) {
      assert.ok(part !== undefined && Object.isFrozen(part));
    }
    assert.deepEqual(resolved.resourceLimits, { stackSizeMb: 4 });
  });
});

describe('threads and concurrency', () => {
  it('give 8 items to each thread without a rate limit', () => {
    assert.equal(resolveOptions({ threads: 3 }, CWD).concurrency, 24);
  });

  it('follow the smallest limit, at most 256', () => {
    const second = { limit: 20, windowMs: 1000, safetyMargin: 0.5 };
    const hour = { limit: 1000, windowMs: 3_600_000 };
    assert.equal(resolveOptions({ rate: second, threads: 2 }, CWD).concurrency, 20);
    assert.equal(resolveOptions({ rate: [hour, second], threads: 2 }, CWD).concurrency, 20);
    assert.equal(resolveOptions({ rate: hour, threads: 2 }, CWD).concurrency, 256);
  });

  it('never use more threads than items in work', () => {
    assert.equal(resolveOptions({ threads: 8, concurrency: 3 }, CWD).threads, 3);
    assert.equal(resolveOptions({ threads: 8, rate: { limit: 2, windowMs: 1000 } }, CWD).threads, 2);
    assert.equal(resolveOptions({ concurrency: 1 }, CWD).threads, 1);
  });
});

describe('rate', () => {
  it('fills a limit', () => {
    assert.deepEqual(resolveOptions({ rate: { limit: 20, windowMs: 500 } }, CWD).rate, [
      {
        limit: 20,
        windowMs: 500,
        safetyMargin: 1,
        arrivalWithinMs: Number.POSITIVE_INFINITY,
        spacingMs: 0,
        straggleMs: 500,
        initial: 'full',
        tokens: 20,
      },
    ]);
  });

  it('keeps what was given', () => {
    const given = { arrivalWithinMs: 50, straggleMs: 0, initial: 'empty', spacing: 69 } as const;
    const [limit] = resolveOptions({ rate: [{ limit: 5, windowMs: 1000, ...given }] }, CWD).rate;
    assert.ok(limit);
    assert.equal(limit.arrivalWithinMs, 50);
    assert.equal(limit.straggleMs, 0);
    assert.equal(limit.initial, 'empty');
    assert.equal(limit.spacingMs, 69);
  });

  it('counts tokens exactly, although decimal fractions are not exact', () => {
    assert.equal(tokensFor(15, 0.8), 12);
    assert.equal(tokensFor(100, 0.07), 7);
    assert.equal(tokensFor(100, 0.29), 29);
    assert.equal(tokensFor(1_000_000_000, 1), 1_000_000_000);
    assert.equal(tokensFor(20, 0.99), 19);
    assert.equal(tokensFor(3, 0.1), 1);
    assert.equal(tokensFor(1_000_000_000, 0.289999999999), 289_999_999);
  });

  it('counts tokens as exact arithmetic does, for every margin of two decimals', () => {
    for (let hundredths = 1; hundredths <= 100; hundredths++) {
      for (let limit = 1; limit <= 300; limit++) {
        const exact = Math.max(1, (limit * hundredths - ((limit * hundredths) % 100)) / 100);
        assert.equal(tokensFor(limit, hundredths / 100), exact, `${limit} * ${hundredths / 100}`);
      }
    }
  });

  it('spaces evenly over the tokens, not over the limit', () => {
    const rate = { limit: 20, windowMs: 1000, safetyMargin: 0.5, spacing: 'even' } as const;
    assert.equal(resolveOptions({ rate }, CWD).rate[0]?.spacingMs, 100);
  });
});

describe('retry', () => {
  it('lets one of the two bounds move the default of the other', () => {
    const long = resolveOptions({ retry: { initialMs: 60_000 } }, CWD).retry;
    assert.deepEqual([long.initialMs, long.maxMs], [60_000, 60_000]);
    const short = resolveOptions({ retry: { maxMs: 500 } }, CWD).retry;
    assert.deepEqual([short.initialMs, short.maxMs], [500, 500]);
    const both = resolveOptions({ retry: { initialMs: 0, maxMs: 0 } }, CWD).retry;
    assert.deepEqual([both.initialMs, both.maxMs], [0, 0]);
  });
});

describe('circuit', () => {
  it('is none with false, and has its defaults otherwise', () => {
    assert.equal(resolveOptions({ circuit: false }, CWD).circuit, undefined);
    assert.deepEqual(resolveOptions({ circuit: {} }, CWD).circuit, DEFAULTS.circuit);
    const given = { failureThreshold: 2, whenOpen: 'fail', countRateLimits: true } as const;
    assert.deepEqual(resolveOptions({ circuit: given }, CWD).circuit, { ...DEFAULTS.circuit, ...given });
  });

  it('lets one of the two bounds move the default of the other', () => {
    const timesOf = (circuit: CircuitOptions) => {
      const { openMs, maxOpenMs } = resolveOptions({ circuit }, CWD).circuit ?? {};
      return [openMs, maxOpenMs];
    };
    assert.deepEqual(timesOf({ openMs: 700_000 }), [700_000, 700_000]);
    assert.deepEqual(timesOf({ maxOpenMs: 50 }), [50, 50]);
    assert.deepEqual(timesOf({ openMs: 5, maxOpenMs: 5 }), [5, 5]);
  });
});

describe('what is copied', () => {
  it('credentials, like handlerData', () => {
    const credentials = { headers: { authorization: 'a' } };
    const resolved = resolveOptions({ credentials }, CWD);
    credentials.headers.authorization = 'b';
    assert.deepEqual(resolved.credentials, { headers: { authorization: 'a' } });
  });

  it('does not change when the caller changes the original', () => {
    const handlerData = { list: [1] };
    const headers = { accept: 'a' };
    const resolved = resolveOptions({ handlerData, http: { headers } }, CWD);
    handlerData.list.push(2);
    headers.accept = 'b';
    assert.deepEqual(resolved.handlerData, { list: [1] });
    assert.deepEqual(resolved.http.headers, { accept: 'a' });
  });

  it('reads a property once, so that a getter cannot change its mind after the check', () => {
    let reads = 0;
    const options = {
      get timeoutMs() {
        reads++;
        return reads === 1 ? 5 : Number.NaN;
      },
    };
    assert.equal(resolveOptions(options, CWD).timeoutMs, 5);
    assert.equal(reads, 1);
  });

  it('shares a SharedArrayBuffer in handlerData', () => {
    const shared = new Int32Array(new SharedArrayBuffer(4));
    const copy = resolveOptions({ handlerData: shared }, CWD).handlerData as Int32Array;
    shared[0] = 7;
    assert.equal(copy[0], 7);
  });

  it('takes bytes and lists for TLS', () => {
    const tls = { ca: ['pem', new Uint8Array([1])], key: new Uint8Array([2]), rejectUnauthorized: false };
    assert.deepEqual(resolveOptions({ http: { tls } }, CWD).http.tls, tls);
  });
});

class Config {
  get timeoutMs() {
    return 1;
  }
}

const rateWith = (fields: object) => ({ rate: { limit: 20, windowMs: 1000, ...fields } });
const NO_NUMBER = ['20', 10n, null, {}, [], true, Number.NaN];
const NO_OBJECT = [null, [], 5, 'x', new Map(), new Date(0), new Config(), () => 0];
const NO_INTEGER = [...NO_NUMBER, 1.5, -1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
const NO_FINITE = [...NO_NUMBER, -1, Number.POSITIVE_INFINITY];

/** [path, how to put a value there, values that are refused] */
const REFUSED: [string, (value: unknown) => unknown, unknown[]][] = [
  ['options', (value) => value, NO_OBJECT],
  ['threads', (threads) => ({ threads }), [...NO_INTEGER, 0, 257]],
  ['concurrency', (concurrency) => ({ concurrency }), [...NO_INTEGER, 0, 65_537]],
  ['timeoutMs', (timeoutMs) => ({ timeoutMs }), [...NO_FINITE, 0, 2 ** 31]],
  ['setupTimeoutMs', (setupTimeoutMs) => ({ setupTimeoutMs }), [...NO_FINITE, 0, 2 ** 31]],
  ['trace', (trace) => ({ trace }), ['', null, 5, '\0', new URL('http://example.com/')]],
  ['onRateLimit', (onRateLimit) => ({ onRateLimit }), ['Cancel', '', null, true]],
  ['hints', (hints) => ({ hints }), ['Strict', '', null, true]],
  ['locale', (locale) => ({ locale }), ['de', '', null]],
  ['circuit', (circuit) => ({ circuit }), [true, ...NO_OBJECT]],
  ['circuit.failureThreshold', (failureThreshold) => ({ circuit: { failureThreshold } }), [...NO_INTEGER, 0, 1e6 + 1]],
  ['circuit.failureRate', (failureRate) => ({ circuit: { failureRate } }), [...NO_FINITE, 0, 1.01]],
  ['circuit.minimumCalls', (minimumCalls) => ({ circuit: { minimumCalls } }), [...NO_INTEGER, 0, 1e6 + 1]],
  ['circuit.windowMs', (windowMs) => ({ circuit: { windowMs } }), [...NO_FINITE, 0, 2 ** 31]],
  ['circuit.countRateLimits', (countRateLimits) => ({ circuit: { countRateLimits } }), [1, 'true', null]],
  ['circuit.successThreshold', (successThreshold) => ({ circuit: { successThreshold } }), [...NO_INTEGER, 0, 1e6 + 1]],
  ['circuit.halfOpenProbes', (halfOpenProbes) => ({ circuit: { halfOpenProbes } }), [...NO_INTEGER, 0, 65_537]],
  ['circuit.openMs', (openMs) => ({ circuit: { openMs } }), [...NO_FINITE, 0, 2 ** 31]],
  ['circuit.openFactor', (openFactor) => ({ circuit: { openFactor } }), [...NO_FINITE, 0.5, 101]],
  ['circuit.maxOpenMs', (maxOpenMs) => ({ circuit: { maxOpenMs } }), [...NO_FINITE, 0, 2 ** 31]],
  ['circuit.maxOpenMs', (maxOpenMs) => ({ circuit: { openMs: 100, maxOpenMs } }), [99, 1]],
  ['circuit.whenOpen', (whenOpen) => ({ circuit: { whenOpen } }), ['Wait', 'retry', null]],
  ['recovery', (recovery) => ({ recovery }), [null, {}, 'retry', true]],
  [
    'credentials',
    (credentials) => ({ credentials }),
    [() => 0, { authorization: () => 0 }, Symbol('x'), new WeakMap()],
  ],
  ['onRefreshCredentials', (onRefreshCredentials) => ({ onRefreshCredentials }), [null, 'https://x', {}]],
  ['credentialsTimeoutMs', (credentialsTimeoutMs) => ({ credentialsTimeoutMs }), [...NO_FINITE, 0, 2 ** 31]],
  ['cancelGraceMs', (cancelGraceMs) => ({ cancelGraceMs }), [...NO_FINITE, 2 ** 31]],
  ['killGraceMs', (killGraceMs) => ({ killGraceMs }), [...NO_FINITE, 2 ** 31]],
  ['rate', (rate) => ({ rate }), [[], null, 20, '20', new Map(), new Config()]],
  ['rate.limit', (limit) => rateWith({ limit }), [...NO_INTEGER, 0, 0.5, undefined, 1e9 + 1]],
  ['rate.windowMs', (windowMs) => rateWith({ windowMs }), [...NO_FINITE, 0, undefined, 2_678_400_001]],
  ['rate.safetyMargin', (safetyMargin) => rateWith({ safetyMargin }), [...NO_FINITE, 0, 1.01]],
  ['rate.arrivalWithinMs', (arrivalWithinMs) => rateWith({ arrivalWithinMs }), [...NO_NUMBER, -1, 3e9]],
  ['rate.spacing', (spacing) => rateWith({ spacing }), [...NO_FINITE, 'Even', 3e9]],
  ['rate.straggleMs', (straggleMs) => rateWith({ straggleMs }), [...NO_FINITE, 3e9]],
  ['rate.initial', (initial) => rateWith({ initial }), ['half', null, 0]],
  [
    'rate[1].limit',
    (limit) => ({
      rate: [
        { limit: 1, windowMs: 1 },
        { limit, windowMs: 1 },
      ],
    }),
    ['20', 0, undefined],
  ],
  ['rate[0]', (one) => ({ rate: [one] }), [undefined, null, 5, []]],
  ['retry', (retry) => ({ retry }), NO_OBJECT],
  ['retry.scope', (scope) => ({ retry: { scope } }), ['all', null]],
  ['retry.maxAttempts', (maxAttempts) => ({ retry: { maxAttempts } }), [...NO_INTEGER, 0]],
  ['retry.maxRefusals', (maxRefusals) => ({ retry: { maxRefusals } }), [...NO_INTEGER, 0]],
  ['retry.initialMs', (initialMs) => ({ retry: { initialMs } }), [...NO_FINITE, 2 ** 31]],
  ['retry.factor', (factor) => ({ retry: { factor } }), [...NO_FINITE, 0.5, 101]],
  ['retry.maxMs', (maxMs) => ({ retry: { maxMs } }), [...NO_FINITE, 2 ** 31]],
  ['retry.maxMs', (maxMs) => ({ retry: { initialMs: 100, maxMs } }), [99, 0]],
  ['retry.jitter', (jitter) => ({ retry: { jitter } }), [...NO_FINITE, 1.1]],
  ['retry.adaptive', (adaptive) => ({ retry: { adaptive } }), [0, 'true', null, {}]],
  ['retry.maxRetryAfterMs', (maxRetryAfterMs) => ({ retry: { maxRetryAfterMs } }), [...NO_FINITE, 2 ** 31]],
  ['resourceLimits', (resourceLimits) => ({ resourceLimits }), NO_OBJECT],
  ['resourceLimits.stackSizeMb', (stackSizeMb) => ({ resourceLimits: { stackSizeMb } }), [...NO_FINITE, 0]],
  ['http', (http) => ({ http }), NO_OBJECT],
  ['http.baseUrl', (baseUrl) => ({ http: { baseUrl } }), ['api.example.com', '/x', 'ftp://x/', '', 5]],
  [
    'http.headers',
    (headers) => ({ http: { headers } }),
    [...NO_OBJECT, { a: 1 }, { a: 'x\r\nb: c' }, { 'a b': 'c' }, { a: [1] }],
  ],
  ['http.proxy', (proxy) => ({ http: { proxy } }), ['proxy:3128', 'socks5://x', '', 5]],
  ['http.tls', (tls) => ({ http: { tls } }), NO_OBJECT],
  ['http.tls.key', (key) => ({ http: { tls: { key } } }), ['', 5, []]],
  ['http.tls.ca', (ca) => ({ http: { tls: { ca } } }), ['', 5, []]],
  ['http.tls.ca[1]', (one) => ({ http: { tls: { ca: ['pem', one] } } }), ['', 5, null]],
  ['http.connections', (connections) => ({ http: { connections } }), [...NO_INTEGER, 0]],
  ['http.connectTimeoutMs', (connectTimeoutMs) => ({ http: { connectTimeoutMs } }), [...NO_FINITE, 0, 2 ** 31]],
  ['http.keepAliveTimeoutMs', (keepAliveTimeoutMs) => ({ http: { keepAliveTimeoutMs } }), [...NO_FINITE, 0]],
  ['http.maxBodyBytes', (maxBodyBytes) => ({ http: { maxBodyBytes } }), [...NO_INTEGER, 0]],
  ['http.maxRedirects', (maxRedirects) => ({ http: { maxRedirects } }), [...NO_INTEGER]],
  ['http.responseType', (responseType) => ({ http: { responseType } }), ['blob', null]],
  ['http.dispatcher', (dispatcher) => ({ http: { dispatcher } }), ['', './missing.mjs', 5, null, () => 0]],
  ['handlerData', (handlerData) => ({ handlerData }), [() => 0, { f: () => 0 }, Symbol('x'), new WeakMap()]],
];

describe('options that are refused', () => {
  for (const [path, put, values] of REFUSED) {
    it(path, () => {
      for (const value of values) {
        const error = errorOf(() => resolveUnchecked(put(value)));
        assert.equal(error.option, path);
        assert.equal(error.code, 'INVALID_OPTION');
        assert.ok(error.allowed.length > 0 && error.message.includes(error.allowed));
        assert.ok(error.message.startsWith(`Invalid option "${path}": got `), error.message);
      }
    });
  }

  it('accept the bounds themselves', () => {
    const accepted = [
      { threads: 1, concurrency: 65_536 },
      { threads: 256, timeoutMs: 2 ** 31 - 1, circuit: false, cancelGraceMs: 0, killGraceMs: 0 },
      rateWith({ safetyMargin: 1, arrivalWithinMs: 0, spacing: 0, straggleMs: 0 }),
      rateWith({ limit: 1e9, windowMs: 2_678_400_000, arrivalWithinMs: Number.POSITIVE_INFINITY }),
      { circuit: { failureThreshold: 1, failureRate: 1, minimumCalls: 1, windowMs: 1, successThreshold: 1 } },
      { circuit: { halfOpenProbes: 65_536, openMs: 2 ** 31 - 1, maxOpenMs: 2 ** 31 - 1, openFactor: 1 } },
      { credentialsTimeoutMs: 2 ** 31 - 1, credentials: null, hints: 'strict', locale: 'ko', recovery: [] },
      { retry: { maxAttempts: 1, maxRefusals: 1, initialMs: 0, factor: 1, jitter: 0, maxRetryAfterMs: 0 } },
      { http: { baseUrl: 'https://a.example/v1/', proxy: 'http://u:p@127.0.0.1:3128', maxRedirects: 0 } },
      { http: { headers: { accept: ['a', 'b'], 'x-empty': '' } } },
      Object.assign(Object.create(null), { timeoutMs: 1 }),
    ];
    for (const options of accepted) assert.doesNotThrow(() => resolveUnchecked(options));
  });

  it('say what was given', () => {
    const error = errorOf(() => resolveUnchecked({ retry: { factor: 0.5 } }));
    assert.equal(error.value, 0.5);
    assert.equal(error.message, 'Invalid option "retry.factor": got 0.5; allowed: a number from 1 to 100.');
  });

  it('say that a longer window is the way to less than one request per window', () => {
    assert.match(errorOf(() => resolveUnchecked(rateWith({ limit: 0.5 }))).allowed, /window longer/);
  });

  it('turn an object that lets nobody read it into an InvalidOptionError', () => {
    const fail = () => {
      throw new Error(SECRET);
    };
    const hostile = [new Proxy({}, { ownKeys: fail }), new Proxy({}, { getPrototypeOf: fail })];
    for (const object of hostile) {
      for (const given of [object, { retry: object }, { http: { headers: object } }, { rate: [object] }]) {
        assert.ok(!errorOf(() => resolveUnchecked(given)).message.includes(SECRET));
      }
    }
  });

  it('turn a getter that throws into an InvalidOptionError', () => {
    const options = {
      retry: {
        get factor(): number {
          throw new Error(SECRET);
        },
      },
    };
    const error = errorOf(() => resolveOptions(options, CWD));
    assert.equal(error.option, 'retry');
    assert.ok(!error.message.includes(SECRET));
  });
});

describe('unknown options', () => {
  it('are refused at every level, with the names that are known', () => {
    const unknown: [string, unknown][] = [
      ['retries', { retries: 3 }],
      ['rate.max', rateWith({ max: 1 })],
      ['rate[0].max', { rate: [{ limit: 1, windowMs: 1, max: 1 }] }],
      ['retry.attempts', { retry: { attempts: 1 } }],
      ['circuit.threshold', { circuit: { threshold: 1 } }],
      ['http.timeout', { http: { timeout: 1 } }],
      ['http.tls.pfx', { http: { tls: { pfx: 'x' } } }],
      ['resourceLimits.heapMb', { resourceLimits: { heapMb: 1 } }],
      ['__proto__', JSON.parse('{"__proto__": {"threads": 1}}')],
    ];
    for (const [path, options] of unknown) {
      const error = errorOf(() => resolveUnchecked(options));
      assert.equal(error.option, path);
      assert.match(error.message, /got an unknown option; allowed: /);
    }
    assert.match(errorOf(() => resolveUnchecked({ retry: { attempts: 1 } })).allowed, /maxAttempts, maxRefusals/);
  });

  it('come with the name that was meant, where that is plain', () => {
    assert.match(errorOf(() => resolveUnchecked({ timeout: 5 })).allowed, /^"timeoutMs", if that was meant/);
    assert.match(errorOf(() => resolveUnchecked({ Threads: 5 })).allowed, /^"threads", if that was meant/);
    assert.match(errorOf(() => resolveUnchecked({ nonsense: 5 })).allowed, /^one of handler, /);
  });
});

describe('secrets', () => {
  const cases: unknown[] = [
    SECRET,
    { http: SECRET },
    { http: { headers: SECRET } },
    { http: { headers: { authorization: `${SECRET}\n` } } },
    { http: { headers: { [`${SECRET} :`]: 'x' } } },
    { http: { headers: { authorization: [`${SECRET}\n`] } } },
    { http: { proxy: SECRET } },
    { http: { proxy: `socks5://user:${SECRET}@proxy` } },
    { http: { baseUrl: `ftp://user:${SECRET}@host` } },
    { http: { tls: SECRET } },
    { http: { tls: { key: { pem: SECRET } } } },
    { http: { tls: { ca: [{ pem: SECRET }] } } },
    { http: { authorization: SECRET } },
    { apiKey: SECRET },
    { handlerData: { key: SECRET, f: () => SECRET } },
    { handlerData: Object.assign(() => SECRET, { key: SECRET }) },
    { credentials: { key: SECRET, f: () => SECRET } },
    { credentials: Object.assign(() => SECRET, { key: SECRET }) },
    { credentials: Symbol(SECRET) },
  ];

  it('are neither printed nor kept in the error', () => {
    for (const options of cases) {
      const error = errorOf(() => resolveUnchecked(options));
      assert.equal(error.value, undefined);
      assert.equal(error.cause, undefined);
      const printed = `${error.stack}${error.message}${JSON.stringify({ ...error })}`;
      assert.ok(!printed.includes(SECRET), printed);
    }
  });
});

describe('resolveRunOptions', () => {
  it('fills what was left out', () => {
    const empty = {
      signal: undefined,
      onProgress: undefined,
      progressInterval: undefined,
      groups: undefined,
      idempotent: undefined,
    };
    assert.deepEqual(resolveRunOptions(undefined), empty);
    assert.deepEqual(resolveRunOptions({}), empty);
    assert.ok(Object.isFrozen(resolveRunOptions({})));
  });

  it('keeps what was given', () => {
    const { signal } = new AbortController();
    const onProgress = () => {};
    const resolved = resolveRunOptions({ signal, onProgress, idempotent: false });
    assert.equal(resolved.signal, signal);
    assert.equal(resolved.onProgress, onProgress);
    assert.equal(resolved.idempotent, false);
  });

  it('refuses the rest', () => {
    const refused: [string, unknown][] = [
      ['signal', { signal: new AbortController() }],
      ['signal', { signal: null }],
      ['signal', { signal: {} }],
      ['onProgress', { onProgress: true }],
      ['idempotent', { idempotent: 'yes' }],
      ['timeoutMs', { timeoutMs: 5 }],
      ['options', []],
      ['options', null],
    ];
    for (const [path, options] of refused)
      assert.equal(errorOf(() => resolveRunOptions(options as never)).option, path);
  });
});
