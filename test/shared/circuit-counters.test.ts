import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { BUCKETS } from '../../lib/shared/layout.ts';
import type { CounterData, CounterReport } from './fixtures/circuit-counter.ts';
import { Meeting } from './fixtures/meeting.ts';
import { runThreads } from './fixtures/run-threads.ts';

const TAGS = 2n ** 24n;
const NEVER: FailureLimits = { failureThreshold: 1e6, failureRate: 1, minimumCalls: 1e6, windowMs: 8_000 };
const BUCKET_NS = 1_000_000_000n;

function countersOf(limits: Partial<FailureLimits> = {}): CircuitCounters {
  return new CircuitCounters(createControlBlock({ tokens: [], slots: 0 }), { ...NEVER, ...limits });
}

/** What the counters have to know, remembered call by call and for ever. */
class Model {
  readonly #bucketNs: bigint;
  readonly #calls: { readonly bucket: bigint; readonly isFailure: boolean; readonly count: number }[] = [];
  inRow = 0;

  constructor(bucketNs: bigint) {
    this.#bucketNs = bucketNs;
  }

  add(isFailure: boolean, count: number, nowNs: bigint): void {
    this.#calls.push({ bucket: nowNs / this.#bucketNs, isFailure, count });
    if (isFailure) this.inRow++;
  }

  recent(nowNs: bigint) {
    const newest = nowNs / this.#bucketNs;
    const seen = { calls: 0, failures: 0 };
    for (const { bucket, isFailure, count } of this.#calls) {
      if (bucket <= newest - BigInt(BUCKETS)) continue;
      seen.calls += count;
      if (isFailure) seen.failures += count;
    }
    return seen;
  }

  isTooMuch(nowNs: bigint, limits: FailureLimits): boolean {
    const { calls, failures } = this.recent(nowNs);
    const isRateHigh = calls >= limits.minimumCalls && failures >= limits.failureRate * calls;
    return this.inRow >= limits.failureThreshold || isRateHigh;
  }
}

/** Where a clock may stand: anywhere, and often where the tags begin anew or are half through. */
const starts = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 62n }),
  fc.tuple(fc.bigInt({ min: 0n, max: 200n }), fc.bigInt({ min: -20n, max: 20n })).map(([halves, off]) => {
    const at = (halves * TAGS * BUCKET_NS) / 2n + (off * BUCKET_NS) / 2n;
    return at < 0n ? 0n : at;
  }),
);

const steps = fc.array(
  fc.record({
    /** Since the step before. */
    passedNs: fc.oneof(
      fc.constant(0n),
      fc.bigInt({ min: 0n, max: 2n * BUCKET_NS }),
      fc.bigInt({ min: 0n, max: 20n * BUCKET_NS }),
      fc.bigInt({ min: 0n, max: (TAGS * BUCKET_NS) / 64n }),
    ),
    does: fc.oneof(
      { weight: 4, arbitrary: fc.constant('failure') },
      { weight: 2, arbitrary: fc.constant('end of a row') },
      { weight: 2, arbitrary: fc.nat(40) },
    ),
  }),
  { maxLength: 60 },
);

describe('CircuitCounters', () => {
  it('knows what a window knows that remembers every call, at any time of any clock', () => {
    const limitsOf = fc.record({
      failureThreshold: fc.integer({ min: 1, max: 12 }),
      failureRate: fc.double({ min: 0.01, max: 1, noNaN: true }),
      minimumCalls: fc.integer({ min: 1, max: 60 }),
      windowMs: fc.constantFrom(8_000, 8_000, 7_999.5, 1_000 / 3, 1),
    });
    const alarms = { yes: 0, no: 0 };
    fc.assert(
      fc.property(limitsOf, starts, steps, (limits, startNs, history) => {
        const bucketNs = BigInt(Math.ceil((limits.windowMs * 1e6) / BUCKETS));
        const scale = (ns: bigint) => (ns * bucketNs) / BUCKET_NS;
        const counters = countersOf(limits);
        const model = new Model(bucketNs);
        let nowNs = scale(startNs);
        for (const { passedNs, does } of history) {
          nowNs += scale(passedNs);
          if (does === 'failure') {
            model.add(true, 1, nowNs);
            const isTooMuch = model.isTooMuch(nowNs, limits);
            assert.equal(counters.addFailure(nowNs), isTooMuch);
            alarms[isTooMuch ? 'yes' : 'no']++;
          } else if (typeof does === 'number') {
            counters.addSuccesses(does, nowNs);
            model.add(false, does, nowNs);
          } else {
            counters.endRow();
            model.inRow = 0;
          }
          assert.deepEqual(counters.recent(nowNs), model.recent(nowNs));
          assert.equal(counters.failuresInRow, model.inRow);
        }
      }),
      { numRuns: 400 },
    );
    assert.ok(alarms.yes > 50 && alarms.no > 50, `both answers were given: ${JSON.stringify(alarms)}`);
  });

  it('counts also where its clock has gone on for half of all tags since its last call', () => {
    for (const idleBuckets of [TAGS / 2n - 1n, TAGS / 2n, TAGS / 2n + 8n, TAGS - 200n]) {
      const counters = countersOf();
      let nowNs = 12n * BUCKET_NS;
      for (let n = 0; n < BUCKETS; n++) counters.addFailure(nowNs + BigInt(n) * BUCKET_NS);
      nowNs += idleBuckets * BUCKET_NS;
      counters.addFailure(nowNs);
      assert.deepEqual(counters.recent(nowNs), { calls: 1, failures: 1 }, `after ${idleBuckets} buckets`);
    }
  });

  it('gives a call that was timed just before a bucket began to that bucket, and loses none that is there', () => {
    fc.assert(
      fc.property(starts, fc.integer({ min: 1, max: 4 }), (startNs, windowsLate) => {
        const counters = countersOf();
        const lateNs = startNs + BUCKET_NS;
        const nowNs = lateNs + BigInt(windowsLate * BUCKETS) * BUCKET_NS;
        counters.addSuccesses(5, nowNs);
        counters.addFailure(nowNs);
        counters.addFailure(lateNs);
        assert.deepEqual(counters.recent(nowNs), { calls: 7, failures: 2 });
      }),
    );
  });

  it('does so up to sixteen windows late: that old is no reading of a clock', () => {
    const most = 16 * BUCKETS;
    for (const [bucketsLate, calls] of [
      [most, 2],
      [most + BUCKETS, 0],
    ] as const) {
      const counters = countersOf();
      const nowNs = BigInt(1_000 + bucketsLate) * BUCKET_NS;
      counters.addFailure(nowNs);
      counters.addFailure(1_000n * BUCKET_NS);
      assert.equal(counters.recent(nowNs).calls, calls, `${bucketsLate} buckets late`);
    }
  });

  it('covers between seven and eight eighths of its window', () => {
    const counters = countersOf();
    counters.addFailure(0n);
    assert.equal(counters.recent(8n * BUCKET_NS - 1n).calls, 1);
    assert.equal(counters.recent(8n * BUCKET_NS).calls, 0);
    counters.addFailure(9n * BUCKET_NS - 1n);
    assert.equal(counters.recent(16n * BUCKET_NS - 1n).calls, 1);
    assert.equal(counters.recent(16n * BUCKET_NS).calls, 0);
  });

  it('alarms at the last failure of a row and at each one after it, until the row has ended', () => {
    const counters = countersOf({ failureThreshold: 3 });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => counters.addFailure(0n)),
      [false, false, true, true],
    );
    counters.addSuccesses(100, 0n);
    assert.equal(counters.addFailure(0n), true, 'successes that are told later do not end a row');
    counters.endRow();
    assert.deepEqual(
      [1, 2, 3].map(() => counters.addFailure(0n)),
      [false, false, true],
    );
  });

  it('says nothing of a share while there are too few calls, and alarms exactly at the share', () => {
    const few = countersOf({ failureRate: 0.5, minimumCalls: 10 });
    for (let n = 0; n < 9; n++) assert.equal(few.addFailure(0n), false);
    assert.equal(few.addFailure(0n), true);
    const exact = countersOf({ failureRate: 0.25, minimumCalls: 8 });
    exact.addSuccesses(6, 0n);
    assert.deepEqual([exact.addFailure(0n), exact.addFailure(0n)], [false, true]);
    const below = countersOf({ failureRate: 0.25, minimumCalls: 8 });
    below.addSuccesses(7, 0n);
    assert.deepEqual([below.addFailure(0n), below.addFailure(0n)], [false, false]);
  });

  it('forgets everything when it is told to', () => {
    const counters = countersOf({ failureThreshold: 2 });
    for (let n = 0n; n < 8n; n++) counters.addFailure(n * BUCKET_NS);
    counters.reset();
    assert.deepEqual([counters.failuresInRow, counters.recent(7n * BUCKET_NS)], [0, { calls: 0, failures: 0 }]);
    assert.equal(counters.addFailure(7n * BUCKET_NS), false);
  });

  it('keeps the share when a bucket is full', () => {
    const counters = countersOf();
    for (let n = 0; n < 1_000; n++) counters.addFailure(0n);
    // Far more than 20 bits hold, in steps of all sizes.
    for (let n = 0; n < 300; n++) {
      counters.addSuccesses(9_000, 0n);
      for (let m = 0; m < 1_000; m++) counters.addFailure(0n);
    }
    const { calls, failures } = counters.recent(0n);
    assert.ok(calls < 2 ** 20 && calls >= 2 ** 19, `${calls} calls`);
    assert.ok(Math.abs(failures / calls - 0.1) < 0.005, `${failures} of ${calls} failed`);
    assert.deepEqual(counters.recent(7n * BUCKET_NS), { calls, failures });
    assert.deepEqual(counters.recent(8n * BUCKET_NS), { calls: 0, failures: 0 });
  });

  it('counts exactly up to what a bucket holds', () => {
    const counters = countersOf();
    const half = 2 ** 19 - 1;
    for (const count of [half, half, 1]) counters.addSuccesses(count, 0n);
    assert.equal(counters.recent(0n).calls, 2 ** 20 - 1);
    counters.addSuccesses(1, 0n);
    assert.equal(counters.recent(0n).calls, half + 1);
  });

  it('holds any number of successes without harm to its neighbours', () => {
    for (const count of [2 ** 19 - 1, 2 ** 19, 2 ** 20, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const counters = countersOf();
      counters.addFailure(5n * BUCKET_NS);
      for (let n = 0; n < 5; n++) {
        counters.addSuccesses(count, 5n * BUCKET_NS);
        const { calls, failures } = counters.recent(5n * BUCKET_NS);
        assert.ok(calls >= 2 ** 19 - 1 && calls < 2 ** 20 && failures <= 1, `${calls} calls, ${failures} failures`);
      }
      assert.deepEqual(counters.recent(13n * BUCKET_NS), { calls: 0, failures: 0 });
    }
  });
});

describe('CircuitCounters in real threads', () => {
  const ROUNDS = 400;
  const FAILURES = 40;
  const SUCCESSES = 2;
  const MIN_COLLISIONS = 25;
  const PATIENCE_MS = 60_000;

  /** Each round begins a bucket that was used eight rounds before; the tags begin anew in the middle. */
  const TIMES_NS = Array.from({ length: ROUNDS }, (_, round) => (TAGS + BigInt(round - ROUNDS / 2)) * BUCKET_NS);

  async function stress(threads: number, limits: FailureLimits): Promise<CounterReport[]> {
    const { buffer, layout } = createControlBlock({ tokens: [], slots: 0 });
    const meeting = Meeting.newCells();
    return runThreads<CounterReport>(
      new URL('./fixtures/circuit-counter.js', import.meta.url),
      Array.from(
        { length: threads },
        (_, id): CounterData => ({
          buffer,
          layout,
          limits,
          meeting,
          threads,
          id,
          timesNs: TIMES_NS,
          failures: FAILURES,
          successes: SUCCESSES,
        }),
      ),
    );
  }

  for (const threads of [2, 4]) {
    it(`lose no count, also where all begin a bucket at once: ${threads} threads`, async () => {
      const endMs = performance.now() + PATIENCE_MS;
      const failuresInAll = threads * FAILURES * ROUNDS;
      const limits = { ...NEVER, failureThreshold: failuresInAll - 9 };
      let collisions = 0;
      do {
        const reports = await stress(threads, limits);
        collisions += reports.reduce((sum, report) => sum + report.collisions, 0);
        const [first] = reports;
        assert.equal(first?.seen.length, ROUNDS);
        for (const [round, seen] of first.seen.entries()) {
          const failures = threads * FAILURES * Math.min(round + 1, BUCKETS);
          assert.deepEqual(seen, {
            calls: failures * (1 + SUCCESSES),
            failures,
            inRow: threads * FAILURES * (round + 1),
          });
        }
        // Exactly the last ten failures of all were told that they are too many, whichever threads had them.
        assert.equal(
          reports.reduce((sum, report) => sum + report.alarms, 0),
          10,
        );
      } while (collisions < MIN_COLLISIONS && performance.now() < endMs);
      assert.ok(
        collisions >= MIN_COLLISIONS,
        `only ${collisions} collisions: the threads did not run at the same time`,
      );
    });
  }
});
