import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { mayHaveRateHints, type RateHints, readRateHints } from '../../lib/recover/rate-hints.ts';

type Headers = Record<string, string | string[]>;

const NOW_MS = Date.UTC(2026, 4, 23, 12, 0, 0);
const DATE = new Date(NOW_MS).toUTCString();
const hintOf = ({ retryAfterMs, quotaResetMs }: RateHints): number => retryAfterMs ?? quotaResetMs ?? 0;
const inSeconds = (seconds: number): string => String(NOW_MS / 1000 + seconds);

interface Case {
  readonly headers: Headers;
  /** As a success; as a refusal where that says more. */
  readonly says: Partial<RateHints>;
  readonly refused?: Partial<RateHints>;
}

const CASES: Readonly<Record<string, Case>> = {
  'GitHub, used up': {
    headers: {
      'x-ratelimit-limit': '60',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': inSeconds(2513),
      'x-ratelimit-used': '60',
      'x-ratelimit-resource': 'core',
    },
    says: { quotaResetMs: 2_513_000 },
  },
  'GitHub, a secondary limit: what is left of the primary one says nothing': {
    headers: { 'x-ratelimit-limit': '30', 'x-ratelimit-remaining': '14', 'x-ratelimit-reset': inSeconds(31) },
    says: {},
  },
  'GitHub, a secondary limit with Retry-After': {
    headers: { 'retry-after': '60', 'x-ratelimit-remaining': '4999', 'x-ratelimit-reset': inSeconds(3000) },
    says: { retryAfterMs: 60_000 },
  },
  'OpenAI, with something left': {
    headers: {
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-limit-tokens': '150000',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-remaining-tokens': '149984',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-reset-tokens': '6m0s',
    },
    says: {},
  },
  'OpenAI, out of tokens': {
    headers: {
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-remaining-tokens': '0',
      'x-ratelimit-reset-requests': '1h',
      'x-ratelimit-reset-tokens': '6m0s',
    },
    says: { quotaResetMs: 360_000 },
  },
  'OpenAI, out of both: the longest': {
    headers: {
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-remaining-tokens': '0',
      'x-ratelimit-reset-requests': '120ms',
      'x-ratelimit-reset-tokens': '7.66s',
    },
    says: { quotaResetMs: 7660 },
  },
  'Anthropic, out of input tokens': {
    headers: {
      'anthropic-ratelimit-requests-limit': '4000',
      'anthropic-ratelimit-requests-remaining': '3201',
      'anthropic-ratelimit-requests-reset': '2026-05-23T12:59:00Z',
      'anthropic-ratelimit-input-tokens-remaining': '0',
      'anthropic-ratelimit-input-tokens-reset': '2026-05-23T12:00:15Z',
    },
    says: { quotaResetMs: 15_000 },
  },
  'Discord: the field that needs no clock is the better one': {
    headers: {
      'x-ratelimit-limit': '5',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': `${inSeconds(2)}.123`,
      'x-ratelimit-reset-after': '1.25',
      'x-ratelimit-bucket': 'abcd1234',
    },
    says: { quotaResetMs: 1250 },
  },
  'Cloudflare, the present draft': {
    headers: { ratelimit: '"default";r=50;t=30', 'ratelimit-policy': '"default";q=100;w=60' },
    says: {},
  },
  'the present draft, used up': {
    headers: { ratelimit: '"default";r=0;t=30', 'ratelimit-policy': '"default";q=100;w=60' },
    says: { quotaResetMs: 30_000 },
  },
  'the present draft, two of three policies used up': {
    headers: {
      ratelimit: '"burst";r=0;t=2,"hour";r=0;t=600;pk=:dHJpYWwxMjEzMjM=:, "daily";r=1;t=70000',
      'ratelimit-policy': '"burst";q=10;w=5, "hour";q=50;w=3600, "daily";q=1000;w=86400',
    },
    says: { quotaResetMs: 600_000 },
  },
  'the present draft without t: at most a window of the policy with the same name': {
    headers: { ratelimit: '"a";r=0', 'ratelimit-policy': '"b";q=9;w=3600, "a";q=100;qu="content-bytes";w=60' },
    says: { quotaResetMs: 60_000 },
  },
  'a policy alone': { headers: { 'ratelimit-policy': '"a";q=100;w=60' }, says: {} },
  'the present draft on two lines': {
    headers: { ratelimit: ['"10-in-1min"; r=0; t=41', '"100-in-1h"; r=12; t=1801'] },
    says: { quotaResetMs: 41_000 },
  },
  'express-rate-limit with a store that does not know the time': {
    headers: { ratelimit: '"a"; r=0; t=undefined', 'ratelimit-policy': '"a"; q=5; w=60; pk=:Y2E5Nzg=:' },
    says: { quotaResetMs: 60_000, ignored: 1 },
  },
  'the seventh draft': {
    headers: { ratelimit: 'limit=100, remaining=0, reset=50', 'ratelimit-policy': '100;w=60' },
    says: { quotaResetMs: 50_000 },
  },
  'the sixth draft': {
    headers: {
      'ratelimit-policy': '100;w=60;burst=1000;policy="leaky bucket"',
      'ratelimit-limit': '100, 100;w=60',
      'ratelimit-remaining': '0',
      'ratelimit-reset': '50',
    },
    says: { quotaResetMs: 50_000 },
  },
  'GitLab: seconds since 1970, and the same as a date': {
    headers: {
      'ratelimit-limit': '600',
      'ratelimit-observed': '600',
      'ratelimit-remaining': '0',
      'ratelimit-reset': inSeconds(20),
      'ratelimit-resettime': 'Sat, 23 May 2026 12:00:20 GMT',
    },
    says: { quotaResetMs: 20_000 },
  },
  'Kong: one window used up, and the reset of the smallest': {
    headers: {
      'x-ratelimit-remaining-minute': '0',
      'x-ratelimit-remaining-hour': '96',
      'ratelimit-remaining': '0',
      'ratelimit-reset': '47',
    },
    says: { quotaResetMs: 47_000 },
  },
  'Twitter and Okta, with one hyphen more': {
    headers: { 'x-rate-limit-remaining': '0', 'x-rate-limit-reset': inSeconds(9) },
    says: { quotaResetMs: 9000 },
  },
  'Zendesk: what is left with X-, the reset without': {
    headers: { 'x-rate-limit': '700', 'x-rate-limit-remaining': '0', 'ratelimit-reset': '41' },
    says: { quotaResetMs: 41_000 },
  },
  'Rocket.Chat: milliseconds since 1970': {
    headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW_MS + 5706) },
    says: { quotaResetMs: 5706 },
  },
  'Reddit: fractions': {
    headers: { 'x-ratelimit-remaining': '0.0', 'x-ratelimit-reset': '180', 'x-ratelimit-used': '300' },
    says: { quotaResetMs: 180_000 },
  },
  'Docker Hub: a window, but no reset': {
    headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600' },
    says: {},
  },
  'a reset alone: for a refusal only': {
    headers: { 'x-ratelimit-reset': '30' },
    says: {},
    refused: { quotaResetMs: 30_000 },
  },
  'what is left alone': { headers: { 'x-ratelimit-remaining': '0' }, says: {} },
  'a quota that is used up, beside one that does not say': {
    headers: { 'x-ratelimit-remaining-a': '0', 'x-ratelimit-reset-a': '3', 'x-ratelimit-reset-b': '99' },
    says: { quotaResetMs: 3000 },
  },
  'further spellings': {
    headers: {
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset-in': '4',
      'x-rate-limit-a-remaining': '0',
      'x-rate-limit-a-reset-at': inSeconds(6),
      'ratelimit-remaining-b': '0',
      'ratelimit-reset-time-b': '2026-05-23T12:00:05Z',
    },
    says: { quotaResetMs: 6000 },
  },
  'fields that came twice belong together in their order': {
    headers: { 'x-ratelimit-remaining': ['0', '5'], 'x-ratelimit-reset': ['2', '3600'] },
    says: { quotaResetMs: 2000 },
  },
  'Retry-After goes first, and a "now" goes nowhere': {
    headers: { 'retry-after': ['4', '7', '0'], 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '300' },
    says: { retryAfterMs: 7000, quotaResetMs: 300_000 },
  },
  'Retry-After of 0': {
    headers: { 'retry-after': '0', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '5' },
    says: { quotaResetMs: 5000 },
  },
  'a reset that is now or has passed': {
    headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': inSeconds(-1), 'retry-after': DATE },
    says: {},
  },
  'an answer out of a cache': {
    headers: { age: '12', 'retry-after': '3', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30' },
    says: { retryAfterMs: 3000 },
  },
  'an answer that has only passed a cache': {
    headers: { age: '0', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30' },
    says: { quotaResetMs: 30_000 },
  },
  'malformed, each counted once': {
    headers: {
      'retry-after': ['soon', '-5', '2'],
      ratelimit: '"default";r=0;t=30,',
      'ratelimit-policy': '"default";q=1;w=',
      'x-ratelimit-remaining': '-1',
      'x-ratelimit-reset': 'tomorrow',
    },
    says: { retryAfterMs: 2000, ignored: 6 },
  },
  'malformed next to sound': {
    headers: { ratelimit: '"a";r=zero;t=5, "b";r=0;t=7', 'x-ratelimit-remaining': '', 'x-ratelimit-reset': '99' },
    says: { quotaResetMs: 7000, ignored: 2 },
  },
  'nothing to do with it': {
    headers: { 'content-type': 'text/plain', 'x-limit-reset': '5', 'ratelimit-limit': '9', 'x-password-reset': '5' },
    says: {},
  },
};

describe('readRateHints', () => {
  for (const [name, { headers, says, refused }] of Object.entries(CASES)) {
    it(name, () => {
      assert.deepEqual(readRateHints(headers, NOW_MS), { ignored: 0, ...says });
      assert.deepEqual(readRateHints(headers, NOW_MS, true), { ignored: 0, ...(refused ?? says) });
      assert.equal(mayHaveRateHints(headers), true);
    });
  }

  it('reads dates by the clock of the server, delays by none', () => {
    const behindMs = NOW_MS - 3_600_000;
    for (const reset of [inSeconds(5), String(NOW_MS + 5000), '2026-05-23T12:00:05Z', '5', '5s']) {
      const headers = { date: DATE, 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset };
      assert.deepEqual(readRateHints(headers, behindMs), { quotaResetMs: 5000, ignored: 0 }, reset);
    }
    const retry = { date: [DATE, 'x'], 'retry-after': 'Sat, 23 May 2026 12:00:09 GMT' };
    assert.deepEqual(readRateHints(retry, behindMs), { retryAfterMs: 9000, ignored: 0 });
    assert.deepEqual(readRateHints({ ...retry, date: 'nonsense' }, NOW_MS), { retryAfterMs: 9000, ignored: 0 });
  });

  it('tells any number of quotas apart, again and again', () => {
    for (let round = 0; round < 2; round++) {
      for (let kind = 0; kind < 600; kind++) {
        const headers = { [`x-ratelimit-remaining-${kind}`]: '0', [`x-ratelimit-reset-${kind}`]: `${kind + 1}` };
        const noise = { 'x-ratelimit-remaining-other': '1', 'x-ratelimit-reset-other': '9999' };
        const says = { quotaResetMs: (kind + 1) * 1000, ignored: 0 };
        assert.deepEqual(readRateHints({ ...headers, ...noise }, NOW_MS), says);
      }
    }
  });

  it('are looked for only where a name may be that of one', () => {
    for (const name of ['retry-after', 'ratelimit', 'x-rate-limit-reset']) assert.ok(mayHaveRateHints({ [name]: '1' }));
    for (const headers of [{}, { 'content-type': 'text/plain', age: '1' }, undefined, null, 'ratelimit']) {
      assert.equal(mayHaveRateHints(headers), false);
    }
  });

  it('ignores nothing that is merely not there', () => {
    for (const headers of [
      { ratelimit: '"a";t=30' },
      { ratelimit: '"a";r=5' },
      { 'ratelimit-policy': '"a";q=5' },
      { ratelimit: [] },
      { 'x-ratelimit-remaining': '0.25' },
      { 'x-limit': 'x' },
    ]) {
      assert.deepEqual(readRateHints(headers, NOW_MS), { ignored: 0 }, JSON.stringify(headers));
    }
    assert.equal(readRateHints({ ratelimit: ['"a";r=0;t=3', 5 as unknown as string] }, NOW_MS).ignored, 1);
  });

  it('takes the least that is left and the longest wait where one quota is named twice', () => {
    const hint = (headers: Headers, isRefusal = false) => readRateHints(headers, NOW_MS, isRefusal).quotaResetMs;
    assert.equal(hint({ ratelimit: '"a";r=5;t=30, "a";r=0' }), 30_000);
    assert.equal(hint({ ratelimit: '"a";r=0;t=30, "a";t=10' }), 30_000);
    assert.equal(hint({ ratelimit: 'limit=10, remaining=0', 'x-ratelimit-reset-after': '30' }), 30_000, 'one quota');
    assert.equal(
      hint({ 'x-ratelimit-remaining': ['5', '0'], 'x-ratelimit-reset-after': ['10', '20'] }),
      20_000,
      'in the same order',
    );
    assert.equal(hint({ 'x-ratelimit-remaining': 'x', 'x-ratelimit-reset-after': '30' }, true), 30_000);
    assert.equal(hint({ 'x-ratelimit-remaining': 'x', 'x-ratelimit-reset-after': '30' }), undefined);
  });

  it('takes no harm from what is not text', () => {
    const odd = { 'retry-after': 5, 'x-ratelimit-remaining': [null, Symbol('0')], ratelimit: [{}], age: [Symbol('1')] };
    assert.deepEqual(readRateHints(odd as unknown as Headers, NOW_MS, true), { ignored: 4 });
    for (const value of [undefined, null, 5, 'limit', []]) assert.equal(mayHaveRateHints(value), false);
  });

  it('takes no harm from names that objects have', () => {
    const headers: Headers = JSON.parse(`{
      "__proto__": ["x-ratelimit-reset"],
      "constructor": "0",
      "x-ratelimit-remaining-__proto__": "0",
      "x-ratelimit-reset-__proto__": "5",
      "ratelimit-remaining-constructor": "0",
      "ratelimit-reset-constructor": "3"
    }`);
    assert.deepEqual(readRateHints(headers, NOW_MS), { quotaResetMs: 5000, ignored: 0 });
    assert.deepEqual(readRateHints(Object.create({ 'retry-after': '5' }), NOW_MS), { ignored: 0 });
    assert.equal(Object.hasOwn(Object.prototype, 'remaining'), false);
  });

  it('reads megabytes in no time, over and over', () => {
    const mega = 1_000_000;
    const texts = ['9', '"', '"a",', '1.', '1s', ' ', '0;', '2026-', 'Sat, ', '\\', 'a;b=', '(', ':'].map((part) =>
      part.repeat(mega / part.length),
    );
    const startedNs = process.hrtime.bigint();
    for (const text of texts) {
      for (const tail of ['', 'x', '\u0000']) {
        const value = text + tail;
        const headers = {
          date: value,
          'retry-after': value,
          ratelimit: value,
          'ratelimit-policy': [value, value],
          'x-ratelimit-remaining': value,
          'x-ratelimit-reset': value,
          [`x-ratelimit-reset-${value}`]: '5',
          [`${value}ratelimit-remaining`]: '0',
        };
        assert.ok(readRateHints(headers, NOW_MS, true).ignored > 0);
      }
    }
    // 300 MB. Anything but linear would take days, so the bound is far from what a slow machine needs.
    assert.ok(process.hrtime.bigint() - startedNs < 60_000_000_000n);
  });

  const words = ['retry-after', 'ratelimit', 'ratelimit-policy', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'age'];
  const more = ['date', 'x-rate-limit-reset-after', 'a-ratelimit-b-remaining', 'ratelimit-resettime', '__proto__'];
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'0123456789.smh;=,"rt- :TZ') }),
    fc.double().map(String),
    fc.nat().map(String),
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
    fc.constantFrom(
      '"a";r=0;t=5',
      '"a";q=1;w=9',
      'limit=1, remaining=0, reset=4',
      '0',
      '6m0s',
      '-0',
      'Infinity',
      'NaN',
    ),
  );
  const anyHeaders = fc.dictionary(
    fc.oneof(fc.constantFrom(...words, ...more), fc.string()),
    fc.oneof(text, fc.array(text, { maxLength: 3 })),
  );

  it('says whole numbers above 0 or nothing, whatever comes', () => {
    fc.assert(
      fc.property(anyHeaders, fc.integer(), fc.boolean(), (headers, nowMs, isRefusal) => {
        const { retryAfterMs = 1, quotaResetMs = 1, ignored } = readRateHints(headers, nowMs, isRefusal);
        assert.ok(Number.isSafeInteger(retryAfterMs) && retryAfterMs > 0);
        assert.ok(Number.isSafeInteger(quotaResetMs) && quotaResetMs > 0);
        assert.ok(Number.isSafeInteger(ignored) && ignored >= 0);
        assert.ok(mayHaveRateHints(headers) || (ignored === 0 && retryAfterMs === 1 && quotaResetMs === 1));
      }),
      { numRuns: 1000 },
    );
  });

  it('does not ask to wait longer for a date when it is later', () => {
    const fields = ['retry-after', 'x-ratelimit-reset', 'anthropic-ratelimit-requests-reset'];
    const atMs = fc.integer({ min: 1e8, max: 4e9 }).map((seconds) => seconds * 1000);
    fc.assert(
      fc.property(fc.constantFrom(...fields), atMs, atMs, fc.nat(), fc.nat(2), (field, at, now, laterMs, form) => {
        const forms = [new Date(at).toUTCString(), new Date(at).toISOString(), String(at / 1000)];
        const value = field === 'retry-after' ? forms[0] : forms[form];
        const hintAt = (nowMs: number) => hintOf(readRateHints({ [field]: value ?? '' }, nowMs, true));
        assert.equal(hintAt(now), Math.max(0, at - now));
        assert.equal(hintAt(now + laterMs), Math.max(0, hintAt(now) - laterMs - Math.max(0, now - at)));
      }),
    );
  });

  it('asks for nothing less because of a further field', () => {
    fc.assert(
      fc.property(anyHeaders, fc.nat(), (headers, seconds) => {
        const { quotaResetMs = 0 } = readRateHints({ ...headers, age: '0' }, NOW_MS);
        const further = { 'x-ratelimit-further-remaining': '0', 'x-ratelimit-further-reset': `${seconds}s` };
        const both = readRateHints({ ...headers, age: '0', ...further }, NOW_MS).quotaResetMs ?? 0;
        assert.equal(both, Math.max(quotaResetMs, seconds * 1000));
      }),
    );
  });
});
