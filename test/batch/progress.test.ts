import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ThroughputMeter } from '../../lib/batch/progress.ts';

/** Sample every 100 ms up to a time; returns the last figure. */
function run(meter: ThroughputMeter, fromMs: number, toMs: number, done: (atMs: number) => number): number {
  let rate = Number.NaN;
  for (let atMs = fromMs; atMs <= toMs; atMs += 100) rate = meter.sample(atMs, done(atMs));
  return rate;
}

const assertAbout = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) < 1e-6 * Math.max(1, expected), `${actual} instead of ${expected}`);

describe('ThroughputMeter', () => {
  it('says 0 while it has seen one moment only', () => {
    const meter = new ThroughputMeter();
    assert.equal(meter.sample(5_000, 10), 0);
    assert.equal(meter.sample(5_000, 20), 0);
  });

  it('says what a steady rate is', () => {
    const meter = new ThroughputMeter();
    assertAbout(
      run(meter, 0, 10_000, (ms) => ms * 0.02),
      20,
    );
  });

  it('forgets what is more than two seconds ago', () => {
    const meter = new ThroughputMeter();
    run(meter, 0, 10_000, (ms) => ms);
    const slower = (ms: number) => 10_000 + (ms - 10_000) * 0.005;
    assert.ok(run(meter, 10_100, 11_000, slower) > 5, 'not at once');
    assertAbout(run(meter, 11_100, 12_200, slower), 5);
    assertAbout(
      run(meter, 12_300, 14_400, () => 1e4),
      0,
    );
  });

  it('still knows a rate when it is asked rarely', () => {
    const meter = new ThroughputMeter();
    meter.sample(0, 0);
    assertAbout(meter.sample(60_000, 600), 10);
    assertAbout(meter.sample(120_000, 1_800), 20);
  });

  it('starts over with a batch that starts over', () => {
    const meter = new ThroughputMeter();
    run(meter, 0, 3_000, (ms) => ms);
    assert.equal(meter.sample(3_100, 0), 0);
    assertAbout(meter.sample(3_200, 5), 50);
  });

  it('says a number between the slowest and the quickest that there was', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 5_000 }), fc.nat(10_000)), { minLength: 1, maxLength: 60 }),
        (steps) => {
          const meter = new ThroughputMeter();
          let atMs = 0;
          let done = 0;
          let slowest = Number.POSITIVE_INFINITY;
          let quickest = 0;
          meter.sample(atMs, done);
          for (const [passMs, more] of steps) {
            atMs += passMs;
            done += more;
            slowest = Math.min(slowest, (more * 1e3) / passMs);
            quickest = Math.max(quickest, (more * 1e3) / passMs);
            const rate = meter.sample(atMs, done);
            assert.ok(rate >= slowest * (1 - 1e-9) && rate <= quickest * (1 + 1e-9), `${rate} items/s`);
          }
        },
      ),
    );
  });
});
