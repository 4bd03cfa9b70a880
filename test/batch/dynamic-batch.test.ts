import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  DYNAMIC_BATCH_DEFAULTS,
  type DynamicBatchRules,
  type DynamicBatchState,
  type GroupResult,
  initialState,
  observe,
} from '../../lib/batch/dynamic-batch.ts';

const START = { size: 50, delayMs: 1_000 };
const RULES = DYNAMIC_BATCH_DEFAULTS;

const GOOD: GroupResult = { items: 50, failedAttempts: 0, refused: 0, serviceMs: 100 };
const withErrors = (errors: number): GroupResult => ({ ...GOOD, items: 100, failedAttempts: errors });
const taking = (serviceMs: number): GroupResult => ({ ...GOOD, serviceMs });

/** The state after these groups, one every so many milliseconds, the first one so long after the start. */
function after(groups: readonly GroupResult[], everyMs = 5_000, rules = RULES, from = initialState(START, 0)) {
  let state: DynamicBatchState = from;
  let nowMs = from.changedAtMs;
  for (const group of groups) {
    nowMs += everyMs;
    state = observe(state, group, rules, nowMs);
  }
  return state;
}

const sizeAndDelay = ({ size, delayMs }: DynamicBatchState): number[] => [size, delayMs];
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('dynamic batches: when', () => {
  it('begins where it is told', () => {
    assert.deepEqual(sizeAndDelay(initialState(START, 5_000)), [50, 1_000]);
  });

  it('changes nothing before 3 groups, however late', () => {
    assert.deepEqual(sizeAndDelay(after(times(2, withErrors(100)), 60_000)), [50, 1_000]);
    assert.notDeepEqual(sizeAndDelay(after(times(3, withErrors(100)), 60_000)), [50, 1_000]);
  });

  it('changes nothing before 10 s, however many groups', () => {
    const early = after(times(99, withErrors(100)), 101);
    assert.deepEqual(sizeAndDelay(early), [50, 1_000]);
    assert.notDeepEqual(sizeAndDelay(observe(early, withErrors(100), RULES, 10_000)), [50, 1_000]);
  });

  it('waits for 3 groups and 10 s again after a change', () => {
    const changed = after(times(3, GOOD));
    assert.deepEqual(sizeAndDelay(changed), [60, 800]);
    assert.deepEqual(sizeAndDelay(after(times(2, GOOD), 60_000, RULES, changed)), [60, 800]);
    assert.deepEqual(sizeAndDelay(after(times(50, GOOD), 199, RULES, changed)), [60, 800]);
    assert.deepEqual(sizeAndDelay(after(times(3, GOOD), 5_000, RULES, changed)), [72, 640]);
  });

  it('looks at the latest 3 groups only', () => {
    // Ten bad groups in the first ten seconds, then three good ones.
    const bad = after(times(10, withErrors(100)), 900);
    assert.deepEqual(sizeAndDelay(after(times(3, GOOD), 300, RULES, { ...bad, changedAtMs: 9_000 })), [50, 1_000]);
    let state = bad;
    for (const nowMs of [9_300, 9_600, 10_000]) state = observe(state, GOOD, RULES, nowMs);
    assert.deepEqual(sizeAndDelay(state), [60, 800]);
  });

  it('does not count a group without items', () => {
    const before = after(times(2, GOOD));
    assert.equal(observe(before, { ...GOOD, items: 0 }, RULES, 1e9), before);
  });
});

describe('dynamic batches: errors', () => {
  const cases = [
    ['none', 0, [60, 800]],
    ['half the target', 0.5, [60, 800]],
    ['between half the target and the target', 0.75, [50, 1_000]],
    ['the target', 1, [50, 1_000]],
    ['over the target', 1.5, [40, 1_200]],
    ['twice the target', 2, [40, 1_200]],
    ['over twice the target', 2.5, [30, 1_400]],
    ['nothing but errors', 100, [30, 1_400]],
  ] as const;
  for (const [name, percent, expected] of cases) {
    it(name, () => {
      const group = { items: 400, failedAttempts: 4 * percent, refused: 0, serviceMs: 100 };
      assert.deepEqual(sizeAndDelay(after(times(3, group))), expected);
      const refused = { ...group, failedAttempts: 0, refused: 4 * percent };
      assert.deepEqual(sizeAndDelay(after(times(3, refused))), expected, 'refusals weigh as much');
    });
  }

  it('weigh by items, not by group', () => {
    const small = { items: 1, failedAttempts: 1, refused: 0, serviceMs: 100 };
    const large = { items: 1_000, failedAttempts: 0, refused: 0, serviceMs: 100 };
    assert.deepEqual(sizeAndDelay(after([small, large, large])), [60, 800]);
  });

  it('lead to the bounds, and back again', () => {
    const least = after(times(100, withErrors(100)));
    assert.deepEqual(sizeAndDelay(least), [5, 5_000]);
    assert.deepEqual(sizeAndDelay(after(times(100, GOOD), 5_000, RULES, least)), [100, 500]);
  });

  it('move a size by one item at least, and a wait away from nothing', () => {
    const rules = { ...RULES, minSize: 1, minDelayMs: 0, step: 0.01 };
    const from = initialState({ size: 2, delayMs: 0 }, 0);
    assert.deepEqual(sizeAndDelay(after(times(3, GOOD), 5_000, rules, from)), [3, 0]);
    const worse = after(times(3, withErrors(100)), 5_000, rules, from);
    assert.equal(worse.size, 1);
    assert.ok(worse.delayMs > 0);
  });
});

describe('dynamic batches: service time', () => {
  /** An upstream that took 100 ms at first. */
  const settled = after(times(3, taking(100)));

  it('up to one and a half times the baseline is no reason', () => {
    assert.deepEqual(sizeAndDelay(after(times(3, taking(150)), 5_000, RULES, settled)), [72, 640]);
  });

  it('beyond it groups shrink and wait longer, without any error', () => {
    assert.deepEqual(sizeAndDelay(after(times(3, taking(151)), 5_000, RULES, settled)), [48, 960]);
  });

  it('of the first groups is the baseline, whatever it is', () => {
    assert.deepEqual(sizeAndDelay(after(times(3, taking(20_000)))), [60, 800]);
  });

  it('a shorter one becomes the baseline at once', () => {
    const quicker = after(times(3, taking(20)), 5_000, RULES, settled);
    assert.equal(quicker.baselineMs, 20);
    assert.ok(after(times(3, taking(100)), 5_000, RULES, quicker).size < quicker.size);
  });

  it('a longer one that stays is forgiven in the end', () => {
    const slow = after(times(3, taking(300)), 5_000, RULES, settled);
    assert.ok(slow.size < settled.size);
    const later = after(times(300, taking(300)), 5_000, RULES, slow);
    assert.equal(later.size, 100);
  });

  it('growth within the noise of timers is no growth', () => {
    const quick = after(times(3, taking(1)));
    assert.deepEqual(sizeAndDelay(after(times(3, taking(4)), 5_000, RULES, quick)), [72, 640]);
  });

  it('without successes says nothing, and leaves the baseline alone', () => {
    const none: GroupResult = { items: 100, failedAttempts: 100, refused: 0, serviceMs: undefined };
    assert.equal(after(times(3, none), 5_000, RULES, settled).baselineMs, 100);
    assert.equal(after(times(3, none)).baselineMs, undefined);
  });
});

describe('dynamic batches, whatever happens', () => {
  const rules = fc
    .record({
      sizes: fc.tuple(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 1_000 })),
      delays: fc.tuple(fc.nat(20_000), fc.nat(20_000)),
      targetErrorRate: fc.double({ min: 0, max: 1, noNaN: true }),
      step: fc.double({ min: 0.001, max: 0.5, noNaN: true }),
      minBatches: fc.integer({ min: 1, max: 6 }),
      minIntervalMs: fc.nat(20_000),
      slowdown: fc.double({ min: 1, max: 10, noNaN: true }),
    })
    .map(
      ({ sizes, delays, ...rest }): DynamicBatchRules => ({
        minSize: Math.min(...sizes),
        maxSize: Math.max(...sizes),
        minDelayMs: Math.min(...delays),
        maxDelayMs: Math.max(...delays),
        ...rest,
      }),
    );
  const group = fc.record({
    items: fc.nat(200),
    failedAttempts: fc.nat(10),
    refused: fc.nat(10),
    serviceMs: fc.option(fc.double({ min: 0, max: 1e5, noNaN: true }), { nil: undefined }),
    afterMs: fc.nat(8_000),
  });
  const groups = fc.array(group, { minLength: 1, maxLength: 60, size: 'max' });

  it('size and delay stay within their bounds, and change neither too soon nor in opposite directions', () => {
    let changes = 0;
    fc.assert(
      fc.property(rules, groups, fc.double({ min: 0, max: 1, noNaN: true }), (given, sequence, start) => {
        const { minSize, maxSize, minDelayMs, maxDelayMs } = given;
        let state = initialState(
          {
            size: Math.round(minSize + start * (maxSize - minSize)),
            delayMs: minDelayMs + start * (maxDelayMs - minDelayMs),
          },
          0,
        );
        let nowMs = 0;
        let changedAtMs = 0;
        let groupsSince = 0;
        for (const { afterMs, ...result } of sequence) {
          nowMs += afterMs;
          const next = observe(state, result, given, nowMs);
          if (result.items > 0) groupsSince++;
          assert.ok(Number.isSafeInteger(next.size) && next.size >= minSize && next.size <= maxSize, `${next.size}`);
          assert.ok(next.delayMs >= minDelayMs && next.delayMs <= maxDelayMs, `${next.delayMs}`);
          assert.ok(next.recent.length <= given.minBatches, 'memory is bounded');
          if (next.size !== state.size || next.delayMs !== state.delayMs) {
            changes++;
            assert.ok(groupsSince >= given.minBatches && nowMs - changedAtMs >= given.minIntervalMs, 'too soon');
            assert.ok(Math.sign(next.size - state.size) * Math.sign(next.delayMs - state.delayMs) <= 0);
            changedAtMs = nowMs;
            groupsSince = 0;
          }
          state = next;
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(changes > 300, `only ${changes} changes were looked at`);
  });

  it('more errors never make groups larger or waits shorter', () => {
    fc.assert(
      fc.property(rules, fc.nat(50), fc.nat(50), (given, a, b) => {
        const sure = { ...given, minBatches: 1, minIntervalMs: 0 };
        const from = initialState({ size: given.minSize, delayMs: given.minDelayMs }, 0);
        const [fewer, more] = [Math.min(a, b), Math.max(a, b)].map((errors) =>
          observe(from, withErrors(errors), sure, 1),
        );
        assert.ok(fewer && more);
        assert.ok(more.size <= fewer.size && more.delayMs >= fewer.delayMs);
      }),
    );
  });

  it('is a function of its arguments: the state that it is given does not change', () => {
    fc.assert(
      fc.property(rules, groups, (given, sequence) => {
        let state = initialState({ size: given.maxSize, delayMs: given.minDelayMs }, 0);
        let nowMs = 0;
        for (const { afterMs, ...result } of sequence) {
          nowMs += afterMs;
          const before = structuredClone(state);
          const next = observe(state, result, given, nowMs);
          assert.deepEqual(observe(state, result, given, nowMs), next);
          assert.deepEqual(state, before);
          state = next;
        }
      }),
      { numRuns: 50 },
    );
  });
});
