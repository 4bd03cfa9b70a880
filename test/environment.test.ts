import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createEngine } from '../lib/engine.ts';
import {
  ENVIRONMENT,
  type Environment,
  type EnvironmentVariable,
  mergeOptions,
  optionsFromEnvironment,
  readEnvironment,
} from '../lib/environment.ts';
import { InvalidOptionError } from '../lib/errors.ts';
import type { EngineOptions } from '../lib/options.ts';
import { engineOptionsSchema, parseOptions } from '../lib/options-schema.ts';

const SECRET = 'hunter2-do-not-print';
const LIMIT = { RATE_LIMIT_MAX_CALLS: '20' };
const read = (env: Environment, overrides?: EngineOptions) => optionsFromEnvironment(overrides, env);

function errorOf(call: () => unknown): InvalidOptionError {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof InvalidOptionError, `not an InvalidOptionError: ${String(error)}`);
    return error;
  }
  assert.fail('nothing was thrown');
}

/** The value at a path such as `retry.maxMs`. */
function at(options: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], options);
}

describe('optionsFromEnvironment', () => {
  it('has nothing that is not set', () => {
    assert.deepEqual(read({}), {});
    assert.deepEqual(read({ PATH: '/bin', SLUICEGATE_THREADS: undefined }), {});
    assert.deepEqual(read({ SLUICEGATE_THREADS: '', BACKOFF_MAX_DELAY: '  ', SLUICEGATE_HTTP_PROXY: '\t' }), {});
  });

  it('knows the names of the model, whose times are seconds', () => {
    const env = {
      RATE_LIMIT_MAX_CALLS: '15',
      RATE_LIMIT_SAFETY_MARGIN: '0.8',
      BACKOFF_BASE_DELAY: '0.07',
      BACKOFF_MAX_DELAY: '32',
      BACKOFF_EXPONENTIAL_BASE: '2.0',
      BACKOFF_JITTER_FACTOR: '.1',
      CIRCUIT_FAILURE_THRESHOLD: '10',
      CIRCUIT_SUCCESS_THRESHOLD: '3',
      CIRCUIT_TIMEOUT: '6e1',
    };
    assert.deepEqual(read(env), {
      rate: { limit: 15, windowMs: 1000, safetyMargin: 0.8 },
      retry: { initialMs: 70, maxMs: 32_000, factor: 2, jitter: 0.1 },
      circuit: { failureThreshold: 10, successThreshold: 3, openMs: 60_000 },
    });
  });

  it('knows others by the name of their option', () => {
    const env = {
      ...LIMIT,
      SLUICEGATE_RATE_WINDOW_MS: '60000',
      SLUICEGATE_RATE_SPACING: 'even',
      SLUICEGATE_RATE_ARRIVAL_WITHIN_MS: 'Infinity',
      SLUICEGATE_THREADS: ' 2\n',
      SLUICEGATE_RETRY_ADAPTIVE: 'false',
      SLUICEGATE_ON_RATE_LIMIT: 'drain',
      SLUICEGATE_HTTP_BASE_URL: 'https://api.example.com/v1/',
      SLUICEGATE_LOCALE: 'ko',
    };
    assert.deepEqual(read(env), {
      threads: 2,
      rate: { limit: 20, windowMs: 60_000, spacing: 'even', arrivalWithinMs: Number.POSITIVE_INFINITY },
      retry: { adaptive: false },
      onRateLimit: 'drain',
      http: { baseUrl: 'https://api.example.com/v1/' },
      locale: 'ko',
    });
    assert.deepEqual(read({ ...LIMIT, SLUICEGATE_RATE_SPACING: '69' }).rate, {
      limit: 20,
      windowMs: 1000,
      spacing: 69,
    });
  });

  it('can switch the circuit breaker off, whatever else is said of it', () => {
    assert.equal(read({ SLUICEGATE_CIRCUIT: 'off', CIRCUIT_TIMEOUT: '5' }).circuit, false);
    assert.deepEqual(read({ SLUICEGATE_CIRCUIT: 'off' }, { circuit: { openMs: 5 } }).circuit, { openMs: 5 });
    assert.equal(read({ CIRCUIT_TIMEOUT: '5' }, { circuit: false }).circuit, false);
  });

  it('reads process.env unless told otherwise', (t) => {
    const before = process.env.SLUICEGATE_KILL_GRACE_MS;
    t.after(() => {
      if (before === undefined) delete process.env.SLUICEGATE_KILL_GRACE_MS;
      else process.env.SLUICEGATE_KILL_GRACE_MS = before;
    });
    process.env.SLUICEGATE_KILL_GRACE_MS = '321';
    assert.equal(optionsFromEnvironment().killGraceMs, 321);
  });

  it('makes options that an engine takes', async (t) => {
    const env = { RATE_LIMIT_MAX_CALLS: '15', RATE_LIMIT_SAFETY_MARGIN: '0.8', SLUICEGATE_THREADS: '1' };
    const engine = createEngine({ ...optionsFromEnvironment({}, env), concurrency: 3 });
    t.after(() => engine.close());
    const { tokens, threads } = engine.stats();
    assert.deepEqual([tokens, threads], [[{ total: 12, free: 12 }], 1]);
  });
});

describe('arguments go before the environment', () => {
  it('field by field in rate, retry, circuit and http', () => {
    const env = {
      ...LIMIT,
      RATE_LIMIT_SAFETY_MARGIN: '0.5',
      BACKOFF_BASE_DELAY: '2',
      BACKOFF_JITTER_FACTOR: '0.5',
      CIRCUIT_TIMEOUT: '5',
      SLUICEGATE_TIMEOUT_MS: '7',
      SLUICEGATE_HTTP_PROXY: 'http://proxy.example.com',
      SLUICEGATE_HTTP_BASE_URL: 'http://api.example.com',
    };
    const overrides: EngineOptions = {
      rate: { limit: 5, windowMs: 100 },
      retry: { jitter: 0, maxAttempts: 9, initialMs: undefined },
      circuit: { failureThreshold: 2 },
      http: { baseUrl: 'http://other.example.com', maxRedirects: 1 },
      timeoutMs: 8,
      threads: undefined,
    };
    assert.deepEqual(read(env, overrides), {
      rate: { limit: 5, windowMs: 100, safetyMargin: 0.5 },
      retry: { initialMs: 2000, jitter: 0, maxAttempts: 9 },
      circuit: { openMs: 5000, failureThreshold: 2 },
      http: { proxy: 'http://proxy.example.com', baseUrl: 'http://other.example.com', maxRedirects: 1 },
      timeoutMs: 8,
    });
  });

  it('as a whole where they are no plain object, and undefined is not given', () => {
    const rate = [{ limit: 1, windowMs: 1 }];
    assert.equal(read({ ...LIMIT, RATE_LIMIT_SAFETY_MARGIN: '0.5' }, { rate }).rate, rate);
    assert.deepEqual(read({ ...LIMIT }, { rate: undefined }).rate, { limit: 20, windowMs: 1000 });
    for (const wrong of [null, 5, 'x']) {
      const options = read({ BACKOFF_BASE_DELAY: '2' }, { retry: wrong as never });
      assert.equal(errorOf(() => createEngine(options)).option, 'retry', 'the engine says what is wrong with it');
    }
  });

  it('and neither is changed', () => {
    const env = Object.freeze({ BACKOFF_BASE_DELAY: '2' });
    const overrides = Object.freeze({ retry: Object.freeze({ jitter: 0 }) });
    assert.deepEqual(read(env, overrides), { retry: { initialMs: 2000, jitter: 0 } });
    assert.deepEqual(overrides, { retry: { jitter: 0 } });
  });

  it('also over defaults below the environment', () => {
    const defaults = { rate: { limit: 18, windowMs: 1000, spacing: 'even' }, timeoutMs: 5 } as const;
    const env = readEnvironment({ RATE_LIMIT_SAFETY_MARGIN: '0.5', SLUICEGATE_TIMEOUT_MS: '6' });
    assert.deepEqual(mergeOptions(mergeOptions(defaults, env), { rate: { spacing: 'none' } }), {
      rate: { limit: 18, windowMs: 1000, spacing: 'none', safetyMargin: 0.5 },
      timeoutMs: 6,
    });
    assert.equal(defaults.rate.spacing, 'even');
  });
});

describe('a part of a rate limit', () => {
  it('is of no use alone, and says so by its name', () => {
    for (const [name, text] of [
      ['RATE_LIMIT_SAFETY_MARGIN', '0.8'],
      ['SLUICEGATE_RATE_WINDOW_MS', '1000'],
      ['SLUICEGATE_RATE_SPACING', 'even'],
    ] as const) {
      const error = errorOf(() => read({ [name]: text }));
      assert.deepEqual([error.option, error.value], [name, text]);
      assert.match(error.allowed, /RATE_LIMIT_MAX_CALLS/);
    }
  });

  it('adds to a limit that is given as an argument', () => {
    const options = read({ RATE_LIMIT_SAFETY_MARGIN: '0.5' }, { rate: { limit: 4, windowMs: 1 } });
    assert.deepEqual(options.rate, { limit: 4, windowMs: 1, safetyMargin: 0.5 });
  });
});

describe('values that are refused', () => {
  const NO_DECIMAL = [
    'x',
    '12abc',
    '0x10',
    '0b1',
    '1_000',
    '1,5',
    '1 2',
    'NaN',
    '-Infinity',
    '--1',
    '1e',
    '.',
    '1n',
    'true',
  ];
  const numeric = ENVIRONMENT.filter(({ allowed }) => /^an? (?:integer|number)/.test(allowed));

  it('name the variable, what it has and what is allowed', () => {
    const error = errorOf(() => read({ SLUICEGATE_THREADS: '12abc' }));
    assert.equal(error.message, 'Invalid option "SLUICEGATE_THREADS": got "12abc"; allowed: an integer from 1 to 256.');
    assert.deepEqual([error.option, error.value, error.code], ['SLUICEGATE_THREADS', '12abc', 'INVALID_OPTION']);
    assert.match(
      errorOf(() => read({ CIRCUIT_TIMEOUT: '0' })).message,
      /a number of seconds from 0\.001 to 2147483\.647/,
    );
    assert.match(errorOf(() => read({ SLUICEGATE_LOCALE: 'KO' })).message, /got "KO"; allowed: "en" or "ko"/);
  });

  it('are all that is no decimal number', () => {
    assert.ok(numeric.length > 15);
    for (const { name } of numeric) {
      for (const text of NO_DECIMAL) assert.equal(errorOf(() => read({ ...LIMIT, [name]: text })).option, name, text);
    }
  });

  it('are words that differ, also by what every object has', () => {
    const worded = ENVIRONMENT.filter(({ allowed }) => allowed.startsWith('"'));
    assert.ok(worded.length >= 8);
    for (const { name } of worded) {
      for (const text of ['nonsense', 'toString', '__proto__', 'constructor', 'Even']) {
        assert.equal(errorOf(() => read({ ...LIMIT, [name]: text })).option, name, text);
      }
    }
  });

  it('are waits that contradict each other', () => {
    const error = errorOf(() => read({ BACKOFF_BASE_DELAY: '5', BACKOFF_MAX_DELAY: '4' }));
    assert.deepEqual([error.option, error.value], ['BACKOFF_MAX_DELAY', '4']);
    assert.match(error.message, /at least "BACKOFF_BASE_DELAY", which is 5 s/);
  });

  it('are not shown where they may hold a password', () => {
    for (const name of ['SLUICEGATE_HTTP_PROXY', 'SLUICEGATE_HTTP_BASE_URL']) {
      for (const text of [SECRET, `socks5://user:${SECRET}@proxy.example.com`, `http://user:${SECRET}@[`]) {
        const error = errorOf(() => read({ [name]: text }));
        assert.deepEqual([error.option, error.value, error.cause], [name, undefined, undefined]);
        assert.ok(!`${error.stack}${JSON.stringify(error)}`.includes(SECRET));
      }
    }
  });
});

describe('the table of variables', () => {
  it('has each name and each option once', () => {
    const names = ENVIRONMENT.map(({ name }) => name);
    const options = ENVIRONMENT.map(({ option }) => option);
    assert.equal(new Set(names).size, names.length);
    assert.equal(new Set(options).size, options.length);
    for (const { name, option } of ENVIRONMENT) {
      const ofOption = `SLUICEGATE_${option.replace('.', '_').replaceAll(/[A-Z]/g, '_$&').toUpperCase()}`;
      if (name.startsWith('SLUICEGATE_')) assert.equal(name, ofOption);
    }
  });

  /** What a variable says of a text, and what an engine says of the option that would come of it. */
  function verdicts({ name, option }: EnvironmentVariable, text: string): [boolean, boolean] {
    const isTaken = (call: () => unknown): boolean => {
      try {
        call();
        return true;
      } catch (error) {
        assert.ok(error instanceof InvalidOptionError);
        return false;
      }
    };
    const number = Number(text) * (name.startsWith('SLUICEGATE_') || !option.endsWith('Ms') ? 1 : 1000);
    const [part = '', field] = option.split('.');
    const rate = part === 'rate' ? { limit: 1, windowMs: 1 } : {};
    const options = field === undefined ? { [part]: number } : { [part]: { ...rate, [field]: number } };
    return [isTaken(() => read({ ...LIMIT, [name]: text })), isTaken(() => parseOptions(engineOptionsSchema, options))];
  }

  it('allows the numbers that the engine allows, and no others', () => {
    const edges = [0, 0.001, 0.5, 0.501, 1, 1.001, 1.5, 2, 100, 101, 256, 257, 1000, 65_536, 65_537, 1e6, 1e6 + 1];
    const large = [
      2_147_483.647,
      2_147_483.648,
      2 ** 31 - 1,
      2 ** 31,
      2_678_400_000,
      2_678_400_001,
      1e9,
      1e9 + 1,
      1e300,
    ];
    const numbers = fc.oneof(
      fc.constantFrom(...edges, ...large, ...edges.map((edge) => -edge)),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.integer(),
    );
    const numeric = ENVIRONMENT.filter(({ allowed }) => /an? (?:integer|number)/.test(allowed));
    fc.assert(
      fc.property(fc.constantFrom(...numeric), numbers, (variable, number) => {
        // Seconds are rounded to nanoseconds; what is closer to a bound than that is not looked at.
        fc.pre(number === 0 || Math.abs(number) > 1e-5);
        const [ours, engines] = verdicts(variable, String(number));
        assert.equal(ours, engines, `${variable.name}=${number}`);
      }),
      { numRuns: 3_000 },
    );
  });

  it('gives each option a value that the engine takes, unchanged', () => {
    for (const { name, option, allowed, parse } of ENVIRONMENT) {
      const words = [...allowed.matchAll(/"(\w+)"/g)].map(([, word = '']) => word);
      const texts = words.length > 0 ? words : allowed.includes('URL') ? ['http://127.0.0.1:1'] : ['1'];
      for (const text of texts) {
        const options = read({ ...LIMIT, [name]: text });
        assert.deepEqual(at(options, option), parse(text), name);
        assert.doesNotThrow(() => parseOptions(engineOptionsSchema, options), name);
      }
    }
  });
});
