import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Batch } from '../../lib/batch/batch.ts';
import type { RetryRules } from '../../lib/batch/decide.ts';
import { entriesOf, type WorkItem } from '../../lib/batch/work-queue.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import { END, NOT_IDEMPOTENT } from '../../lib/protocol.ts';
import type { FailureRecord } from '../../lib/recover/error-record.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import type { Outcome } from '../../lib/types.ts';

const RULES: RetryRules = {
  scope: 'unfinished',
  maxAttempts: 3,
  maxRefusals: 5,
  initialMs: 1_000,
  factor: 2,
  maxMs: 32_000,
  jitter: 0,
  maxRetryAfterMs: 120_000,
};
const TIMES = { waitMs: 20, durationMs: 5, threadId: 1 };

const recordOf = (code: ErrorCode = 'NETWORK', possiblyExecuted = false): FailureRecord => ({
  code,
  name: 'ItemError',
  message: 'Gone.',
  possiblyExecuted,
});

/** A batch with its outcomes, in a time of its own. */
class Bench {
  nowMs = 1_000;
  readonly outcomes: Outcome[] = [];
  ends = 0;
  readonly retries: number[] = [];
  readonly batch: Batch;

  constructor(items: readonly unknown[], rules: Partial<RetryRules> = {}) {
    this.batch = new Batch({
      id: 1,
      rules: { ...RULES, ...rules },
      idempotent: undefined,
      sink: {
        put: (outcome) => this.outcomes.push(outcome),
        end: () => this.ends++,
      },
      nowMs: () => this.nowMs,
      random: () => 0,
      onProgress: undefined,
      progressInterval: undefined,
      groups: undefined,
      onGroup: () => {},
      onMilestone: () => {},
      onWait: () => {},
      hasLimits: true,
      onWork: () => {},
      table: new RecoveryTable([]),
      locale: 'en',
      stretch: () => 1,
      onFailure: () => {},
      onRetry: (_, __, delayMs) => this.retries.push(delayMs),
    });
    this.batch.fill(items);
  }

  take(count: number): WorkItem[] {
    const work = this.batch.queue.take(count);
    return work === undefined ? [] : [...entriesOf(work)];
  }

  succeed(entry: WorkItem, keep = false): void {
    this.batch.succeed(entry.index, entry.attempts + 1, `value of ${entry.item}`, TIMES, keep);
  }

  get indices(): number[] {
    return this.outcomes.map(({ index }) => index).sort((a, b) => a - b);
  }
}

const itemsUpTo = (count: number): string[] => Array.from({ length: count }, (_, index) => `item ${index}`);
const indicesUpTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('Batch', () => {
  it('is over at once without items', () => {
    const bench = new Bench([]);
    assert.equal(bench.batch.endIfDone(), true);
    assert.equal(bench.batch.endIfDone(), false, 'and only once');
    assert.equal(bench.ends, 1);
    const { total, errorRate, throughputPerSecond } = bench.batch.summary();
    assert.deepEqual([total, errorRate, throughputPerSecond], [0, 0, 0]);
  });

  it('gives each item one outcome, and sums them up', () => {
    const bench = new Bench(itemsUpTo(4));
    const [a, b, c, d] = bench.take(4);
    assert.ok(a && b && c && d);
    bench.succeed(a);
    bench.batch.settle(b, END.fatal, recordOf('HTTP_STATUS', true), TIMES);
    bench.batch.settle(c, END.retry | NOT_IDEMPOTENT, recordOf('TIMEOUT', true), TIMES);
    assert.equal(bench.batch.endIfDone(), false);
    bench.batch.fail(d, recordOf('HTTP_STATUS'));
    bench.nowMs += 2_000;
    assert.equal(bench.batch.endIfDone(), true);
    bench.nowMs += 5_000;

    assert.deepEqual(bench.outcomes[0], { ok: true, index: 0, value: 'value of item 0', attempts: 1, ...TIMES });
    assert.deepEqual(bench.outcomes[1], {
      ok: false,
      index: 1,
      error: {
        ...recordOf('HTTP_STATUS', true),
        ...new RecoveryTable([]).describe(recordOf('HTTP_STATUS', true), 'en'),
        attempts: 1,
      },
      attempts: 1,
      ...TIMES,
    });
    const { waitMs, durationMs, ...counts } = bench.batch.summary();
    assert.deepEqual(counts, {
      total: 4,
      succeeded: 1,
      failed: 3,
      errorRate: 0.75,
      errors: { HTTP_STATUS: 2, IN_DOUBT: 1 },
      rounds: 1,
      rateLimitEvents: 0,
      refused: 0,
      cancelled: 0,
      retried: 0,
      requestsSent: 0,
      elapsedMs: 2_000,
      throughputPerSecond: 2,
    });
    assert.ok(Math.abs(waitMs.p50 - 20) < 0.1 && Math.abs(durationMs.p99 - 5) < 0.1);
  });

  it('waits before another attempt, and brings the item back when it is due', () => {
    const bench = new Bench(itemsUpTo(1));
    for (const delayMs of [1_000, 2_000]) {
      const [entry] = bench.take(1);
      assert.ok(entry);
      bench.batch.settle(entry, END.retry, recordOf(), TIMES);
      assert.equal(bench.batch.pending, 0);
      bench.nowMs += delayMs - 1;
      bench.batch.releaseDue();
      assert.equal(bench.batch.pending, 0);
      bench.nowMs += 1;
      bench.batch.releaseDue();
      assert.equal(bench.batch.pending, 1);
    }
    const [entry] = bench.take(1);
    assert.ok(entry);
    bench.batch.settle(entry, END.retry, recordOf(), TIMES);
    assert.equal(bench.outcomes[0]?.attempts, 3);
    assert.deepEqual(bench.retries, [1_000, 2_000]);
    assert.equal(bench.batch.summary().retried, 2);
  });

  it('ends what waits, and what comes back later, when it is aborted', () => {
    const bench = new Bench(itemsUpTo(5));
    const [done, retried, out] = bench.take(3);
    assert.ok(done && retried && out);
    bench.succeed(done);
    bench.batch.settle(retried, END.retry, recordOf(), TIMES);
    bench.batch.abort();
    assert.deepEqual(bench.indices, [0, 1, 3, 4]);
    bench.batch.settle(out, END.cancelled, undefined, TIMES);
    assert.equal(bench.batch.endIfDone(), true);
    assert.deepEqual(bench.indices, indicesUpTo(5));
    assert.deepEqual(bench.batch.summary().errors, { ABORTED: 4 });
    bench.batch.settle(out, END.fatal, recordOf(), TIMES);
    bench.batch.fail(out, recordOf());
    assert.equal(bench.outcomes.length, 5, 'what comes after the end is nobody’s business');
  });

  it('says how far it is', () => {
    const bench = new Bench(itemsUpTo(10));
    bench.batch.progress(false);
    const entries = bench.take(4);
    for (const entry of entries.slice(0, 3)) bench.succeed(entry);
    const [, , , failed] = entries;
    assert.ok(failed);
    bench.batch.fail(failed, recordOf());
    bench.nowMs += 1_000;
    assert.deepEqual(bench.batch.progress(true), {
      total: 10,
      done: 4,
      succeeded: 3,
      failed: 1,
      inFlight: 0,
      waiting: 0,
      throughputPerSecond: 4,
      elapsedMs: 1_000,
      timeLeftMs: 1_500,
      rounds: 1,
      isPaused: true,
    });
  });
});

describe('Batch with scope "batch"', () => {
  const rules = { scope: 'batch' as const, maxAttempts: 3 };

  it('keeps its outcomes to itself until the last round', () => {
    const bench = new Bench(itemsUpTo(2), rules);
    for (const entry of bench.take(2)) bench.succeed(entry);
    assert.deepEqual(bench.outcomes, []);
    bench.batch.endIfDone();
    assert.deepEqual(bench.indices, [0, 1]);
  });

  it('runs everything again but what must not be sent twice', () => {
    const bench = new Bench(itemsUpTo(5), rules);
    const [a, b, c, refused] = bench.take(4);
    assert.ok(a && b && c && refused);
    bench.succeed(a);
    bench.succeed(b, true);
    bench.batch.settle(c, END.fatal | NOT_IDEMPOTENT, recordOf('HTTP_STATUS', true), TIMES);
    bench.batch.settle(refused, END.refused, recordOf('RATE_LIMITED'), TIMES);
    bench.batch.startOver();
    assert.equal(bench.batch.rounds, 2);
    assert.equal(bench.batch.done, 2);
    const again = bench.take(10);
    assert.deepEqual(
      again.map(({ index }) => index),
      [0, 3, 4],
    );
    for (const entry of again) bench.succeed(entry);
    assert.equal(bench.batch.endIfDone(), true);
    assert.deepEqual(bench.indices, indicesUpTo(5));
    const { succeeded, failed, errors, rounds } = bench.batch.summary();
    assert.deepEqual(
      { succeeded, failed, errors, rounds },
      { succeeded: 4, failed: 1, errors: { HTTP_STATUS: 1 }, rounds: 2 },
    );
  });

  it('counts a failure of an earlier round no more', () => {
    const bench = new Bench(itemsUpTo(1), rules);
    const [entry] = bench.take(1);
    assert.ok(entry);
    bench.batch.settle(entry, END.fatal, recordOf('HANDLER'), TIMES);
    bench.batch.startOver();
    for (const again of bench.take(1)) bench.succeed(again);
    bench.batch.endIfDone();
    assert.deepEqual(bench.batch.summary().errors, {});
    assert.deepEqual(
      bench.outcomes.map(({ ok }) => ok),
      [true],
    );
  });

  it('gives up after the last round, and keeps what an earlier round had', () => {
    const bench = new Bench(itemsUpTo(3), rules);
    for (let round = 1; round <= 3; round++) {
      const [first, second] = bench.take(2);
      assert.ok(first && second);
      if (round === 1) bench.succeed(first);
      else bench.batch.putBack([first]);
      bench.batch.settle(second, END.refused, recordOf('RATE_LIMITED'), TIMES);
      bench.batch.startOver();
    }
    assert.equal(bench.batch.endIfDone(), true);
    assert.deepEqual(bench.indices, [0, 1, 2]);
    const { succeeded, errors, rounds } = bench.batch.summary();
    assert.deepEqual({ succeeded, errors, rounds }, { succeeded: 1, errors: { RATE_LIMITED: 2 }, rounds: 3 });
  });
});

describe('Batch, whatever happens', () => {
  it('has exactly one outcome for each item, and a summary that says the same', () => {
    const end = fc.constantFrom<number | 'ok' | 'kept' | 'back' | 'lost'>(
      'ok',
      'ok',
      'kept',
      'back',
      'lost',
      END.fatal,
      END.retry,
      END.retry | NOT_IDEMPOTENT,
      END.refused,
      END.cancelled,
      END.notStarted,
    );
    const step = fc.oneof(
      {
        weight: 12,
        arbitrary: fc.record({
          takes: fc.integer({ min: 1, max: 4 }),
          ends: fc.array(end, { minLength: 4, maxLength: 4 }),
        }),
      },
      { weight: 1, arbitrary: fc.constantFrom('abort' as const, 'event' as const, 'give up' as const) },
    );
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.constantFrom('unfinished' as const, 'batch' as const),
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.boolean(),
        (count, scope, steps, possiblyExecuted) => {
          const bench = new Bench(itemsUpTo(count), { scope });
          const { batch } = bench;
          const finish = (entry: WorkItem, how: number | 'ok' | 'kept' | 'back' | 'lost'): void => {
            const isWithout = how === END.cancelled || how === END.notStarted;
            if (how === 'ok' || how === 'kept') bench.succeed(entry, how === 'kept');
            else if (how === 'back') batch.putBack([entry]);
            else if (how === 'lost' && !batch.isAborted) batch.lost.push(entry);
            else if (how === 'lost') batch.putBack([entry]);
            else batch.settle(entry, how, isWithout ? undefined : recordOf('NETWORK', possiblyExecuted), TIMES);
          };
          for (const action of steps) {
            bench.nowMs += 500;
            batch.releaseDue();
            if (action === 'abort') batch.abort();
            else if (action === 'event') batch.startOver();
            else if (action === 'give up') batch.failUnfinished(recordOf('RATE_LIMITED'));
            else
              bench.take(action.takes).forEach((entry, n) => {
                finish(entry, action.ends[n] ?? 'ok');
              });
            batch.endIfDone();
          }
          // Then all goes well.
          while (!batch.endIfDone() && !batch.isOver) {
            bench.nowMs += 60_000;
            batch.releaseDue();
            const entries = [...bench.take(100), ...batch.lost.splice(0)];
            assert.ok(entries.length > 0, 'an item was lost');
            for (const entry of entries) bench.succeed(entry);
          }
          assert.deepEqual(bench.indices, indicesUpTo(count));
          assert.equal(bench.ends, 1);
          const { total, succeeded, failed, errors } = batch.summary();
          assert.equal(total, count);
          assert.equal(succeeded, bench.outcomes.filter(({ ok }) => ok).length);
          assert.equal(failed, count - succeeded);
          assert.equal(
            Object.values(errors).reduce((sum, n) => sum + n, 0),
            failed,
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});
