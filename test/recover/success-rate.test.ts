import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SuccessRate } from '../../lib/recover/success-rate.ts';

type Result = number | 'failure';

const failures = (count: number): Result[] => new Array<'failure'>(count).fill('failure');

/** What is added: so many successes at once, or failures one by one. Long runs of them, so that both sides are seen. */
const steps: fc.Arbitrary<Result[]> = fc
  .array(fc.tuple(fc.nat(120), fc.oneof(fc.nat(3), fc.nat(40), fc.nat(250))), { minLength: 1, maxLength: 8 })
  .map((runs) => runs.flatMap(([failed, succeeded]) => [...failures(failed), succeeded]));

function rateOf(results: readonly Result[]): SuccessRate {
  const rate = new SuccessRate();
  for (const result of results) {
    if (result === 'failure') rate.addFailure();
    else rate.addSuccesses(result);
  }
  return rate;
}

describe('SuccessRate', () => {
  it('stretches waits exactly while fewer than 20% of the last 100 succeeded, and there are at least 10', () => {
    let stretched = 0;
    fc.assert(
      fc.property(steps, (history) => {
        const rate = new SuccessRate();
        let last: number[] = [];
        for (const result of history) {
          if (result === 'failure') rate.addFailure();
          else rate.addSuccesses(result);
          // The same, told one by one and remembered for ever.
          last = [...last, ...(result === 'failure' ? [0] : new Array<number>(result).fill(1))].slice(-100);
          const successes = last.filter((one) => one === 1).length;
          const isLow = last.length >= 10 && successes / last.length < 0.2;
          assert.equal(rate.stretch, isLow ? 2 : 1, `${successes} of ${last.length}`);
          if (isLow) stretched++;
        }
      }),
    );
    assert.ok(stretched > 100, 'both sides were seen');
  });

  it('says nothing before there is enough to go by', () => {
    assert.equal(rateOf([]).stretch, 1);
    assert.equal(rateOf(failures(9)).stretch, 1);
    assert.equal(rateOf(failures(10)).stretch, 2);
  });

  it('takes 20% for enough, and one less not', () => {
    assert.equal(rateOf([...failures(80), 20]).stretch, 1);
    assert.equal(rateOf([...failures(81), 19]).stretch, 2);
    assert.equal(rateOf([20, ...failures(80)]).stretch, 1);
    assert.equal(rateOf([20, ...failures(81)]).stretch, 2, 'the oldest was a success, and is forgotten');
  });

  it('forgets what is more than 100 ago, also when very many come at once', () => {
    assert.equal(rateOf([...failures(1_000), 1_000_000_000]).stretch, 1);
    assert.equal(rateOf([1_000_000_000, ...failures(80)]).stretch, 1);
    assert.equal(rateOf([1_000_000_000, ...failures(81)]).stretch, 2);
  });
});
