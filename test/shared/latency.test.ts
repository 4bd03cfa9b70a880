import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLatencyHistogram, LatencyMeter, latencyOf, recordMs } from '../../lib/shared/latency.ts';

const NONE = { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
const HOUR_MS = 3_600_000;

describe('latency', () => {
  it('is all 0 where nothing was recorded', () => {
    assert.deepEqual(latencyOf(undefined), NONE);
    assert.deepEqual(latencyOf(createLatencyHistogram()), NONE);
  });

  it('takes any time: what is too short counts as a microsecond, what is too long as an hour', () => {
    for (const [ms, counted] of [
      [0, 0.001],
      [-5, 0.001],
      [0.0004, 0.001],
      [0.0027, 0.003],
      [2 * HOUR_MS, HOUR_MS],
      [Number.POSITIVE_INFINITY, HOUR_MS],
    ] as const) {
      const histogram = createLatencyHistogram();
      recordMs(histogram, ms);
      const { min, max } = latencyOf(histogram);
      assert.equal(histogram.count, 1);
      assert.ok(
        Math.abs(min - counted) <= counted / 1e3 && Math.abs(max - counted) <= counted / 1e3,
        `${ms} ms: ${max}`,
      );
    }
  });

  it('is right to three digits', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.001, max: HOUR_MS, noNaN: true }), { minLength: 1, maxLength: 60 }),
        (times) => {
          const histogram = createLatencyHistogram();
          for (const ms of times) recordMs(histogram, ms);
          const sorted = times.toSorted((a, b) => a - b);
          const latency = latencyOf(histogram);
          const isAbout = (name: keyof typeof latency, ms: number) =>
            assert.ok(Math.abs(latency[name] - ms) <= ms / 500 + 0.001, `${name} is ${latency[name]}, not ${ms}`);
          isAbout('min', sorted[0] ?? Number.NaN);
          isAbout('max', sorted.at(-1) ?? Number.NaN);
          isAbout('mean', times.reduce((sum, ms) => sum + ms, 0) / times.length);
          for (const percent of [50, 90, 99] as const) {
            // Between two of them either may be meant.
            const rank = (percent / 100) * times.length;
            const least = sorted[Math.max(0, Math.floor(rank) - 1)] ?? Number.NaN;
            const most = sorted[Math.ceil(rank) - 1] ?? Number.NaN;
            const ms = latency[`p${percent}`];
            assert.ok(ms >= least - least / 500 - 0.001 && ms <= most + most / 500 + 0.001, `p${percent} is ${ms}`);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('LatencyMeter', () => {
  /** Times of all sizes, different for each meter. */
  const timesOf = (meter: number, count: number): number[] =>
    Array.from({ length: count }, (_, n) => 0.5 + ((n * 7_919 + meter * 104_729) % 60_000));

  it('has the figures of all its times, few or many, at any moment, whatever other meters are asked in between', () => {
    const counts = [0, 1, 2, 511, 512, 513, 5_000];
    const meters = counts.map(() => new LatencyMeter());
    for (const share of [0.5, 1]) {
      for (const [at, meter] of meters.entries()) {
        const times = timesOf(at, counts[at] ?? 0);
        const half = Math.ceil(times.length / 2);
        for (const ms of share === 1 ? times.slice(half) : times.slice(0, half)) meter.record(ms);
      }
      for (const [at, meter] of meters.entries()) {
        const times = timesOf(at, counts[at] ?? 0);
        const histogram = createLatencyHistogram();
        for (const ms of share === 1 ? times : times.slice(0, Math.ceil(times.length / 2))) recordMs(histogram, ms);
        assert.deepEqual(meter.latency, latencyOf(histogram), `${counts[at]} times`);
      }
    }
  });

  it('does not remember each time when there are many', () => {
    const meter = new LatencyMeter();
    meter.record(1);
    const { heapUsed } = process.memoryUsage();
    for (let n = 0; n < 8_000_000; n++) meter.record(3);
    const grownBytes = process.memoryUsage().heapUsed - heapUsed;
    // As a list they would take 64 million.
    assert.ok(grownBytes < 32e6, `${grownBytes} bytes more`);
  });
});
