import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type LimitOptions, MAX_TOKENS, nsFromMs, planLimits } from '../../lib/limit/plan.ts';

const optionsOf = (options: Partial<LimitOptions> = {}): LimitOptions => ({
  tokens: 20,
  windowMs: 1_000,
  spacingMs: 0,
  arrivalWithinMs: Number.POSITIVE_INFINITY,
  straggleMs: 1_000,
  initial: 'full',
  ...options,
});

/** Most requests that tokens with this window let through in a window of this length. */
const mostIn = (lengthNs: bigint, tokens: number, windowNs: bigint): bigint =>
  BigInt(tokens) * ((lengthNs + windowNs - 1n) / windowNs);

describe('nsFromMs', () => {
  it('rounds up', () => {
    assert.equal(nsFromMs(0), 0n);
    assert.equal(nsFromMs(1), 1_000_000n);
    assert.equal(nsFromMs(0.000_001), 1n);
    assert.equal(nsFromMs(0.000_000_1), 1n);
    assert.equal(nsFromMs(1_000 / 3), 333_333_334n);
  });
});

describe('planLimits', () => {
  it('turns milliseconds into nanoseconds and leaves the rest as it is', () => {
    const given = optionsOf({ spacingMs: 69, arrivalWithinMs: 50, straggleMs: 700, initial: 'empty' });
    assert.deepEqual(planLimits([given]), [
      {
        tokens: 20,
        windowNs: 1_000_000_000n,
        gapNs: 69_000_000n,
        arrivalWithinNs: 50_000_000n,
        straggleNs: 700_000_000n,
        initial: 'empty',
      },
    ]);
  });

  it('assumes nothing of the network without arrivalWithin', () => {
    assert.equal(planLimits([optionsOf()])[0]?.arrivalWithinNs, undefined);
    assert.equal(planLimits([optionsOf({ arrivalWithinMs: 0 })])[0]?.arrivalWithinNs, 0n);
  });

  it('asks the scarcest limit first and does not touch the list that it was given', () => {
    const given = Object.freeze([
      optionsOf(),
      optionsOf({ tokens: 1_000, windowMs: 3_600_000 }),
      optionsOf({ tokens: 300, windowMs: 60_000 }),
    ]);
    assert.deepEqual(
      planLimits(given).map(({ tokens }) => tokens),
      [1_000, 300, 20],
    );
    assert.deepEqual(planLimits([]), []);
  });

  it('keeps a limit of up to 65 536 as it is', () => {
    const [plan] = planLimits([optionsOf({ tokens: MAX_TOKENS })]);
    assert.equal(plan?.tokens, 65_536);
    assert.equal(plan?.windowNs, 1_000_000_000n);
  });

  it('makes a larger one a smaller window with fewer tokens', () => {
    const [plan] = planLimits([optionsOf({ tokens: 100_001 })]);
    assert.equal(plan?.tokens, 50_000);
    assert.equal(plan?.windowNs, 500_000_000n);
  });

  it('lets never more through in a window than was asked for, however large the limit and long the window', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 1, max: 1_000_000_000 }), fc.integer({ min: 65_537, max: 200_000 })),
        // Thousandths of a millisecond, the unit of the options' smallest value.
        fc.oneof(
          fc.integer({ min: 1, max: 10_000_000 }),
          fc.integer({ min: 1, max: 2_678_400_000 }).map((ms) => ms * 1e3),
        ),
        (tokens, windowUs) => {
          const [plan] = planLimits([optionsOf({ tokens, windowMs: windowUs / 1e3 })]);
          assert.ok(plan);
          assert.ok(plan.tokens >= 1 && plan.tokens <= MAX_TOKENS && plan.windowNs >= 1n);
          const most = mostIn(BigInt(windowUs) * 1_000n, plan.tokens, plan.windowNs);
          assert.ok(most <= BigInt(tokens), `${most} instead of ${tokens} are possible`);
          assert.ok(Number(most) >= 0.99 * tokens || windowUs < 1e4, 'and hardly less');
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
