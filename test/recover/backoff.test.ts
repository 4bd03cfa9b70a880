import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BackoffOptions, backoffMs } from '../../lib/recover/backoff.ts';

const OPTIONS: BackoffOptions = { initialMs: 1_000, factor: 2, maxMs: 32_000, jitter: 0.1 };

/** Whatever the options allow. */
const options: fc.Arbitrary<BackoffOptions> = fc
  .record({
    initialMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 31 - 1 })),
    factor: fc.double({ min: 1, max: 100, noNaN: true }),
    more: fc.nat(2 ** 31 - 1),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ more, ...rest }) => ({ ...rest, maxMs: Math.min(rest.initialMs + more, 2 ** 31 - 1) }));
const step = fc.oneof(fc.nat(10), fc.nat(1_000_000));
const random = fc.double({ min: 0, max: 1, noNaN: true });

describe('backoffMs', () => {
  it('doubles up to its maximum', () => {
    const waits = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => backoffMs(OPTIONS, n, 0));
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
  });

  it('adds up to the jitter on top, also of the maximum', () => {
    assert.equal(backoffMs(OPTIONS, 0, 0.5), 1_050);
    assert.equal(backoffMs(OPTIONS, 9, 1), 35_200);
    assert.equal(backoffMs({ ...OPTIONS, jitter: 0 }, 3, 1), 8_000);
  });

  it('never shortens a hint, and adds the jitter to it too', () => {
    assert.equal(backoffMs(OPTIONS, 0, 0, 5_000), 5_000);
    assert.equal(backoffMs(OPTIONS, 0, 1, 60_000), 66_000);
    assert.equal(backoffMs(OPTIONS, 3, 0, 5_000), 8_000);
  });

  it('is a time between what was asked for and that plus jitter, for any options and however often', () => {
    fc.assert(
      fc.property(options, step, random, fc.option(fc.nat(2 ** 31), { nil: undefined }), (given, n, chance, hintMs) => {
        const waitMs = backoffMs(given, n, chance, hintMs);
        const least = Math.max(hintMs ?? 0, Math.min(given.initialMs, given.maxMs));
        const most = Math.max(hintMs ?? 0, given.maxMs) * (1 + given.jitter);
        assert.ok(waitMs >= least && waitMs <= most * (1 + 1e-12), `${waitMs} ms`);
      }),
      { numRuns: 1_000 },
    );
  });

  it('never waits less after more failures', () => {
    fc.assert(
      fc.property(options, step, random, (given, n, chance) => {
        assert.ok(backoffMs(given, n + 1, chance) >= backoffMs(given, n, chance));
      }),
    );
  });
});
