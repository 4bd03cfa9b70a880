import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type IdealSettings, idealElapsedMs } from '../../bench/harness/ideal.ts';
import { CONSERVATIVE, conservativeLeastMs } from '../../bench/suites/core/conservative.ts';
import { presets } from '../../lib/presets.ts';
import { resolveOptions } from '../../lib/resolve-options.ts';
import type { Arrival } from '../../lib/simulator/index.ts';

const settingsOf = (settings: Partial<IdealSettings>): IdealSettings => ({
  tokens: 10,
  windowMs: 1_000,
  concurrency: 10,
  ...settings,
});

describe('idealElapsedMs, by hand', () => {
  it('needs no time for nothing', () => {
    assert.equal(idealElapsedMs(settingsOf({}), []), 0);
  });

  it('lets a token rest for a window from the answer on', () => {
    // Starts at 0, 0; 1100, 1100; 2200.
    const settings = settingsOf({ tokens: 2, concurrency: 2 });
    assert.equal(idealElapsedMs(settings, [100, 100, 100, 100, 100]), 2_300);
  });

  it('takes the token that is free first', () => {
    // Tokens are free at 1100 and 1300, so the third one ends at 1150 and the fourth one at 1350.
    const settings = settingsOf({ tokens: 2, concurrency: 2 });
    assert.equal(idealElapsedMs(settings, [100, 300, 50, 50]), 1_350);
  });

  it('lets a token rest from the bound on, where the answer takes longer', () => {
    const settings = settingsOf({ tokens: 1, concurrency: 2, arrivalWithinMs: 50 });
    assert.equal(idealElapsedMs(settings, [400, 400]), 1_450);
    assert.equal(idealElapsedMs(settings, [20, 400]), 1_420);
  });

  it('has no more in flight than it may', () => {
    assert.equal(idealElapsedMs(settingsOf({ concurrency: 1 }), [10, 20, 30]), 60);
    // The token is free at 1050, the only lane at 2000.
    const settings = settingsOf({ tokens: 1, concurrency: 1, arrivalWithinMs: 50 });
    assert.equal(idealElapsedMs(settings, [2_000, 2_000]), 4_000);
  });

  it('keeps the distance between two starts', () => {
    assert.equal(idealElapsedMs(settingsOf({ gapMs: 69 }), [10, 10, 10, 10, 10]), 4 * 69 + 10);
  });

  it('passes a delay on to all that come after it, unlike the mean of the service times', () => {
    // Starts at 0, 100, 1050 and, a gap later, 1150, although a token is free at 1100.
    const settings = settingsOf({ tokens: 2, gapMs: 100 });
    assert.equal(idealElapsedMs(settings, [50, 0, 0, 0]), 1_150);
  });

  it('ends with the answer that comes last, not with that of the last request', () => {
    assert.equal(idealElapsedMs(settingsOf({}), [500, 10]), 500);
  });
});

describe('idealElapsedMs, beside a clock that ticks', () => {
  it('comes to the same', () => {
    const small = { min: 1, max: 6 };
    const settings = fc.record({
      tokens: fc.integer(small),
      windowMs: fc.integer({ min: 1, max: 40 }),
      arrivalWithinMs: fc.option(fc.integer({ min: 0, max: 15 }), { nil: Number.POSITIVE_INFINITY }),
      gapMs: fc.integer({ min: 0, max: 12 }),
      concurrency: fc.integer(small),
    });
    const services = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 25 });
    fc.assert(
      fc.property(settings, services, (given, serviceMs) => {
        assert.equal(idealElapsedMs(given, serviceMs), tickedElapsedMs(given, serviceMs));
      }),
    );
  });
});

/** The same by brute force: at each millisecond, start what may start. */
function tickedElapsedMs(settings: Required<IdealSettings>, serviceMs: readonly number[]): number {
  const { tokens, windowMs, arrivalWithinMs, gapMs, concurrency } = settings;
  const restsUntilMs: number[] = [];
  const busyUntilMs: number[] = [];
  let lastStartMs = Number.NEGATIVE_INFINITY;
  let endMs = 0;
  let next = 0;
  for (let nowMs = 0; next < serviceMs.length; nowMs++) {
    const isFree = () =>
      restsUntilMs.filter((untilMs) => untilMs > nowMs).length < tokens &&
      busyUntilMs.filter((untilMs) => untilMs > nowMs).length < concurrency &&
      nowMs - lastStartMs >= gapMs;
    while (next < serviceMs.length && isFree()) {
      const service = serviceMs[next++] ?? 0;
      restsUntilMs.push(nowMs + Math.min(service, arrivalWithinMs) + windowMs);
      busyUntilMs.push(nowMs + service);
      lastStartMs = nowMs;
      endMs = Math.max(endMs, nowMs + service);
    }
  }
  return endMs;
}

describe('the conservative preset in the benchmarks', () => {
  it('is the one of the package', () => {
    const { rate, concurrency } = resolveOptions(presets.conservative, import.meta.dirname);
    const [limit] = rate;
    assert.equal(rate.length, 1);
    assert.deepEqual(CONSERVATIVE, {
      tokens: limit?.tokens,
      windowMs: limit?.windowMs,
      arrivalWithinMs: limit?.arrivalWithinMs,
      gapMs: limit?.spacingMs,
      concurrency,
    });
  });

  it('needs eight rounds and three gaps for 100 requests of the same length', () => {
    const arrivals = Array.from({ length: 101 }, (_, number) => arrivalOf(number === 0 ? 'injected' : 'ok'));
    // The last answer, too. One that was refused takes part in nothing.
    assert.equal(Math.round(conservativeLeastMs(100, arrivals)), Math.round(8 * (1_000 + 17.5) + 3 * 69 + 17.5));
  });
});

function arrivalOf(outcome: Arrival['outcome']): Arrival {
  return { number: 1, atNs: 0n, answeredAtNs: 17_500_000n, outcome, path: '/' } as unknown as Arrival;
}
