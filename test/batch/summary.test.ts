import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BatchSummary, formatSummary } from '../../lib/batch/summary.ts';

const EMPTY: BatchSummary = {
  total: 0,
  succeeded: 0,
  failed: 0,
  errorRate: 0,
  errors: {},
  rounds: 1,
  rateLimitEvents: 0,
  refused: 0,
  cancelled: 0,
  retried: 0,
  requestsSent: 0,
  elapsedMs: 0,
  throughputPerSecond: 0,
  waitMs: { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 },
  durationMs: { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 },
};

describe('formatSummary', () => {
  it('says all that there is to say', () => {
    const text = formatSummary({
      ...EMPTY,
      total: 100,
      succeeded: 97,
      failed: 3,
      errorRate: 0.03,
      errors: { TIMEOUT: 1, HTTP_STATUS: 2 },
      rounds: 3,
      rateLimitEvents: 2,
      refused: 4,
      cancelled: 5,
      retried: 6,
      requestsSent: 118,
      elapsedMs: 8_349.6,
      throughputPerSecond: 11.976,
      waitMs: { min: 0, mean: 200, p50: 180.04, p90: 300, p99: 420.55, max: 431 },
      durationMs: { min: 5, mean: 10, p50: 10.2, p90: 14.9, p99: 29, max: 31.25 },
    });
    assert.deepEqual(text.split('\n'), [
      'items             100 (97 succeeded, 3 failed)',
      'error rate        3.0 % (TIMEOUT 1, HTTP_STATUS 2)',
      'elapsed           8.35 s',
      'throughput        12.0 items/s',
      'requests sent     118',
      'rate limit        2 events, 4 refused, 5 cancelled, 3 rounds',
      'retried           6',
      'waiting           p50 180.0 ms, p90 300.0 ms, p99 420.6 ms, max 431.0 ms',
      'service           p50 10.2 ms, p90 14.9 ms, p99 29.0 ms, max 31.3 ms',
    ]);
  });

  it('says so where nothing happened, and counts one as one', () => {
    const lines = formatSummary(EMPTY).split('\n');
    assert.equal(lines[0], 'items             0 (0 succeeded, 0 failed)');
    assert.equal(lines[1], 'error rate        0.0 %');
    assert.equal(lines[5], 'rate limit        0 events, 0 refused, 0 cancelled, 1 round');
    assert.match(formatSummary({ ...EMPTY, rateLimitEvents: 1, rounds: 2 }), /1 event, .* 2 rounds/);
  });

  it('gives fewer digits of longer times', () => {
    assert.match(formatSummary({ ...EMPTY, elapsedMs: 123_456 }), /^elapsed +123\.5 s$/m);
    assert.match(formatSummary({ ...EMPTY, elapsedMs: 45 }), /^elapsed +0\.0[45] s$/m);
  });
});
