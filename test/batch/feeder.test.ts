import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Batch } from '../../lib/batch/batch.ts';
import { DYNAMIC_BATCH_DEFAULTS } from '../../lib/batch/dynamic-batch.ts';
import { Feeder, type GroupReport, type GroupRules } from '../../lib/batch/feeder.ts';
import { entriesOf, type WorkItem, WorkQueue } from '../../lib/batch/work-queue.ts';
import { END } from '../../lib/protocol.ts';
import type { FailureRecord } from '../../lib/recover/error-record.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import type { Outcome } from '../../lib/types.ts';

const itemsUpTo = (count: number): string[] => Array.from({ length: count }, (_, index) => `item ${index}`);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);
const indicesOf = (entries: readonly { readonly index: number }[]): number[] => entries.map(({ index }) => index);
const fixed = (size: number, delayMs: number): GroupRules => ({ size, delayMs, dynamic: undefined });

function take(queue: WorkQueue, count = 1_000): WorkItem[] {
  const work = queue.take(count);
  return work === undefined ? [] : [...entriesOf(work)];
}

describe('WorkQueue that holds items back', () => {
  it('hands out only what comes before the border, and counts the rest apart', () => {
    const queue = new WorkQueue(() => {});
    queue.fill(itemsUpTo(10));
    queue.holdFrom(4);
    assert.deepEqual([queue.size, queue.held, queue.nextIndex], [4, 6, 10]);
    assert.deepEqual(indicesOf(take(queue, 3)), [0, 1, 2]);
    assert.deepEqual(indicesOf(take(queue, 3)), [3]);
    assert.deepEqual(take(queue), []);
    queue.holdFrom(6);
    assert.deepEqual([queue.size, queue.held], [2, 4]);
    assert.deepEqual(indicesOf(take(queue)), [4, 5]);
  });

  it('hands out what came before again, whatever the border', () => {
    const queue = new WorkQueue(() => {});
    queue.fill(itemsUpTo(4));
    queue.holdFrom(2);
    const [zero, one] = take(queue);
    assert.ok(zero && one);
    queue.putBack([zero]);
    queue.putLast(one);
    assert.deepEqual(indicesOf(take(queue)), [0]);
    assert.deepEqual(indicesOf(take(queue)), [1]);
    assert.equal(queue.held, 2);
  });

  it('hands out an item that is pushed before the border at once', () => {
    const queue = new WorkQueue(() => {});
    queue.holdFrom(2);
    for (const item of itemsUpTo(3)) queue.push(item);
    assert.deepEqual(indicesOf(take(queue)), [0, 1]);
    assert.deepEqual([queue.size, queue.held], [0, 1]);
  });

  it('says that there is more when the border moves, if there is', () => {
    let calls = 0;
    const queue = new WorkQueue(() => calls++);
    queue.holdFrom(2);
    assert.equal(calls, 0);
    queue.fill(itemsUpTo(4));
    take(queue);
    queue.holdFrom(2);
    assert.equal(calls, 1);
    queue.holdFrom(3);
    assert.equal(calls, 2);
  });

  it('takes what is held back only when told to', () => {
    const queue = new WorkQueue(() => {});
    queue.fill(itemsUpTo(5));
    queue.holdFrom(2);
    assert.deepEqual(indicesOf(queue.takeAll()), [0, 1]);
    assert.deepEqual(indicesOf(queue.takeHeld()), [2, 3, 4]);
    assert.equal(queue.size + queue.held, 0);
    queue.push('item 5');
    assert.deepEqual([queue.size, queue.held], [0, 1], 'the border stays');
  });
});

describe('Feeder', () => {
  function feederOf(count: number, rules: GroupRules) {
    const queue = new WorkQueue(() => {});
    const feeder = new Feeder(queue, rules, 0);
    queue.fill(itemsUpTo(count));
    return { queue, feeder };
  }

  it('feeds the first group at once, the next when all is done and the wait is over', () => {
    const { queue, feeder } = feederOf(25, fixed(10, 500));
    assert.deepEqual(indicesOf(take(queue)), range(0, 10));
    assert.equal(feeder.settle(9, 0, false, 100), undefined);
    assert.equal(feeder.dueMs, undefined);
    assert.equal(feeder.feedDue(9, 0, 1e6), false);

    assert.equal(feeder.settle(10, 0, false, 200)?.items, 10);
    assert.equal(feeder.dueMs, 700);
    assert.equal(feeder.settle(10, 0, false, 300), undefined, 'said once');
    assert.equal(feeder.feedDue(10, 0, 699), false);
    assert.deepEqual(take(queue), []);
    assert.equal(feeder.feedDue(10, 0, 700), true);
    assert.equal(feeder.dueMs, undefined);
    assert.deepEqual(indicesOf(take(queue)), range(10, 20));
  });

  it('reports what became of a group', () => {
    const { feeder } = feederOf(13, fixed(10, 500));
    for (const serviceMs of [10, 20, 30]) feeder.noteSuccess(serviceMs);
    feeder.noteRefusal();
    feeder.noteRefusal();
    feeder.noteFailedAttempt();
    assert.deepEqual(feeder.settle(10, 7, false, 400), {
      size: 10,
      delayMs: 0,
      items: 10,
      failed: 7,
      failedAttempts: 1,
      refused: 2,
      elapsedMs: 400,
      serviceMs: 20,
    });
    feeder.feedDue(10, 7, 1_000);
    assert.deepEqual(feeder.settle(13, 8, true, 1_250), {
      size: 10,
      delayMs: 500,
      items: 3,
      failed: 1,
      failedAttempts: 0,
      refused: 0,
      elapsedMs: 250,
      serviceMs: undefined,
    });
  });

  it('reports no group that never had an item', () => {
    const { feeder } = feederOf(10, fixed(10, 0));
    assert.ok(feeder.settle(10, 0, false, 1));
    feeder.feedDue(10, 0, 1);
    assert.equal(feeder.settle(10, 0, true, 2), undefined);
  });

  it('lets the controller say how many are next, and when', () => {
    const dynamic = { ...DYNAMIC_BATCH_DEFAULTS, minBatches: 1, minIntervalMs: 0 };
    const { queue, feeder } = feederOf(1_000, { size: 50, delayMs: 1_000, dynamic });
    assert.equal(take(queue).length, 50);
    feeder.settle(50, 0, false, 100);
    assert.equal(feeder.dueMs, 900, 'it went well: a shorter wait');
    feeder.feedDue(50, 0, 900);
    assert.equal(take(queue).length, 60);
    for (let n = 0; n < 5; n++) feeder.noteRefusal();
    const report = feeder.settle(110, 0, false, 2_000);
    assert.deepEqual([report?.size, report?.delayMs], [60, 800], 'as it was when the group was fed');
    assert.equal(feeder.dueMs, 2_000 + 1.4 * 800);
    feeder.feedDue(110, 0, 1e5);
    assert.equal(take(queue).length, 36);
  });

  it('has one group out at a time, in order, a wait between them, and forgets no item', () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(50),
        fc.array(fc.tuple(fc.nat(9), fc.nat(30)), { maxLength: 80, size: 'max' }),
        (count, size, delayMs, steps) => {
          const { queue, feeder } = feederOf(count, fixed(size, delayMs));
          const out: WorkItem[] = [];
          const handedOut: number[] = [];
          let [done, nowMs, doneAtMs, reported] = [0, 0, Number.NEGATIVE_INFINITY, 0];
          const step = (ends: number, takesMs: number): void => {
            nowMs += takesMs;
            feeder.feedDue(done, 0, nowMs);
            for (const entry of take(queue, 7)) {
              if (entry.index % size === 0) {
                assert.equal(out.length, 0, 'a group began before the one before it was done');
                assert.ok(nowMs >= doneAtMs + delayMs, 'too soon');
              }
              out.push(entry);
              handedOut.push(entry.index);
            }
            done += out.splice(0, ends).length;
            const report = feeder.settle(done, 0, done === count, nowMs);
            if (report === undefined) return;
            assert.equal(report.items, Math.min(size, count - reported));
            reported += report.items;
            doneAtMs = nowMs;
          };
          for (const [ends, takesMs] of steps) step(ends, takesMs);
          // Each step can end 9 items, and one in two may be a wait.
          for (let n = 0; n < 4 * (count + 2); n++) step(9, delayMs);
          assert.deepEqual(handedOut, range(0, count));
          assert.deepEqual([done, reported, queue.held], [count, count, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });
});

const recordOf = (code: FailureRecord['code'] = 'RATE_LIMITED'): FailureRecord => ({
  code,
  name: 'ItemError',
  message: 'Gone.',
  possiblyExecuted: false,
});
const TIMES = { waitMs: 0, durationMs: 5, threadId: 1 };

/** A batch in groups, in a time of its own. */
class Bench {
  nowMs = 0;
  readonly outcomes: Outcome[] = [];
  readonly groups: GroupReport[] = [];
  readonly waits: number[] = [];
  readonly milestones: number[] = [];
  isOver = false;
  readonly batch: Batch;

  constructor(
    count: number | undefined,
    groups: GroupRules | undefined,
    options: { scope?: 'batch'; progressInterval?: number; maxAttempts?: number } = {},
  ) {
    this.batch = new Batch({
      id: 1,
      rules: {
        scope: options.scope ?? 'unfinished',
        maxAttempts: options.maxAttempts ?? 3,
        maxRefusals: 5,
        initialMs: 100,
        factor: 1,
        maxMs: 100,
        jitter: 0,
        maxRetryAfterMs: 0,
      },
      idempotent: undefined,
      sink: { put: (outcome) => this.outcomes.push(outcome), end: () => (this.isOver = true) },
      hasLimits: false,
      nowMs: () => this.nowMs,
      random: () => 0,
      table: new RecoveryTable([]),
      locale: 'en',
      stretch: () => 1,
      onProgress: undefined,
      progressInterval: options.progressInterval,
      groups,
      onGroup: (group) => this.groups.push(group),
      onMilestone: ({ done }) => this.milestones.push(done),
      onWait: (delayMs) => this.waits.push(delayMs),
      onWork: () => {},
      onRetry: () => {},
      onFailure: () => {},
    });
    if (count !== undefined) this.batch.fill(itemsUpTo(count));
  }

  take(count?: number): WorkItem[] {
    return take(this.batch.queue, count);
  }

  succeed(entries: readonly WorkItem[], keep = false): void {
    for (const { index, attempts, item } of entries) this.batch.succeed(index, attempts + 1, item, TIMES, keep);
    this.batch.endIfDone();
  }

  /** Go to the time when something is due. */
  wait(): void {
    this.nowMs = this.batch.nextDueMs ?? assert.fail('nothing is due');
    this.batch.releaseDue();
  }

  get ends(): string[] {
    const byIndex = this.outcomes.toSorted((a, b) => a.index - b.index);
    return byIndex.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code));
  }
}

const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('Batch in groups', () => {
  it('hands out group by group, and is over without a last wait', () => {
    const bench = new Bench(5, fixed(2, 300));
    const { batch } = bench;
    assert.deepEqual([batch.total, batch.pending, batch.held], [5, 2, 3]);
    bench.succeed(bench.take());
    assert.deepEqual([batch.pending, batch.held, batch.nextDueMs], [0, 3, 300]);
    bench.wait();
    bench.succeed(bench.take());
    bench.wait();
    assert.equal(bench.isOver, false);
    bench.succeed(bench.take());
    assert.ok(bench.isOver);
    assert.deepEqual(bench.waits, [300, 300]);
    assert.deepEqual(
      bench.groups.map(({ items }) => items),
      [2, 2, 1],
    );
    assert.equal(batch.progress(false).total, 5);
  });

  it('waits for items that are tried again, and counts their failed attempts', () => {
    const bench = new Bench(3, fixed(2, 1_000));
    const [zero, one] = bench.take();
    assert.ok(zero && one);
    bench.succeed([zero]);
    bench.batch.settle(one, END.retry, recordOf('NETWORK'), TIMES);
    bench.batch.endIfDone();
    assert.equal(bench.batch.nextDueMs, 100, 'the item, not a group');
    bench.wait();
    const [again] = bench.take();
    assert.equal(again, one);
    bench.batch.settle(one, END.refused, recordOf(), TIMES);
    bench.succeed(bench.take());
    assert.equal(bench.batch.nextDueMs, 1_100);
    const { failed, failedAttempts, refused, serviceMs } = bench.groups[0] ?? assert.fail();
    assert.deepEqual(
      { failed, failedAttempts, refused, serviceMs },
      {
        failed: 0,
        failedAttempts: 1,
        refused: 1,
        serviceMs: 5,
      },
    );
  });

  it('gives up nothing because of an item that is itself to blame', () => {
    const bench = new Bench(2, fixed(2, 0));
    for (const entry of bench.take()) bench.batch.settle(entry, END.fatal, recordOf('HTTP_STATUS'), TIMES);
    bench.batch.endIfDone();
    assert.deepEqual([bench.groups[0]?.failed, bench.groups[0]?.failedAttempts], [2, 0]);
  });

  it('ends what was never fed at once when it is aborted, in a group and between two', () => {
    for (const isBetween of [false, true]) {
      const bench = new Bench(10, fixed(4, 1_000));
      const entries = bench.take();
      if (isBetween) bench.succeed(entries);
      bench.batch.abort();
      bench.batch.endIfDone();
      if (!isBetween) {
        assert.deepEqual(bench.ends, repeat(6, 'ABORTED'));
        for (const entry of entries) bench.batch.settle(entry, END.cancelled, undefined, TIMES);
        bench.batch.endIfDone();
      }
      assert.ok(bench.isOver);
      assert.deepEqual(bench.ends, [...repeat(4, isBetween ? 'ok' : 'ABORTED'), ...repeat(6, 'ABORTED')]);
      assert.deepEqual(
        bench.groups.map(({ items, failed }) => [items, failed]),
        [[4, isBetween ? 0 : 4]],
      );
    }
  });

  it('fails what was never fed together with the rest', () => {
    const bench = new Bench(10, fixed(4, 1_000));
    bench.batch.putBack(bench.take());
    bench.batch.failUnfinished(recordOf());
    bench.batch.endIfDone();
    assert.ok(bench.isOver);
    assert.deepEqual(bench.ends, repeat(10, 'RATE_LIMITED'));
    assert.deepEqual([bench.groups[0]?.items, bench.groups[0]?.failed], [4, 4]);
  });

  it('of a stream: each item as it comes, those beyond the group later', () => {
    const bench = new Bench(undefined, fixed(2, 500));
    const { queue } = bench.batch;
    queue.push('item 0');
    bench.succeed(bench.take());
    assert.equal(bench.batch.nextDueMs, undefined, 'the group has room for one more');
    for (const item of ['item 1', 'item 2', 'item 3']) queue.push(item);
    assert.deepEqual([bench.batch.pending, bench.batch.held], [1, 2]);
    bench.succeed(bench.take());
    bench.wait();
    bench.succeed(bench.take());
    bench.batch.total = queue.nextIndex;
    bench.batch.endIfDone();
    assert.ok(bench.isOver);
    assert.deepEqual(
      bench.groups.map(({ items }) => items),
      [2, 2],
    );
  });

  it('of a stream that fails in the middle goes on with groups of what comes then', () => {
    const bench = new Bench(undefined, fixed(2, 500));
    const { queue } = bench.batch;
    for (const item of itemsUpTo(5)) queue.push(item);
    bench.batch.failUnfinished(recordOf());
    bench.batch.endIfDone();
    assert.deepEqual(bench.ends, repeat(5, 'RATE_LIMITED'));
    bench.wait();
    for (const item of ['item 5', 'item 6', 'item 7']) queue.push(item);
    assert.deepEqual(indicesOf(bench.take()), [5, 6]);
  });
});

describe('Batch in groups with scope "batch"', () => {
  it('starts the group over and nothing else', () => {
    const bench = new Bench(6, fixed(2, 0), { scope: 'batch' });
    bench.succeed(bench.take());
    assert.deepEqual(bench.ends, ['ok', 'ok'], 'a group that is done can be given');
    bench.wait();
    const [two, three] = bench.take();
    assert.ok(two && three);
    bench.succeed([two]);
    bench.batch.settle(three, END.refused, recordOf(), TIMES);
    bench.batch.startOver();
    bench.batch.endIfDone();
    assert.deepEqual([bench.batch.done, bench.batch.rounds, bench.batch.held], [2, 2, 2]);
    assert.deepEqual(indicesOf(bench.take()), [2, 3]);
  });

  it('gives each group its rounds, and goes on after one that used them up', () => {
    const bench = new Bench(6, fixed(2, 0), { scope: 'batch', maxAttempts: 2 });
    for (const isRefused of [true, true, false]) {
      for (let round = 0; round < (isRefused ? 2 : 1); round++) {
        const [first, second] = bench.take();
        assert.ok(first && second);
        bench.succeed([first]);
        if (!isRefused) bench.succeed([second]);
        else {
          bench.batch.settle(second, END.refused, recordOf(), TIMES);
          bench.batch.startOver();
          bench.batch.endIfDone();
        }
      }
      if (!bench.isOver) bench.wait();
    }
    assert.ok(bench.isOver);
    assert.deepEqual(bench.ends, ['ok', 'RATE_LIMITED', 'ok', 'RATE_LIMITED', 'ok', 'ok']);
    assert.equal(bench.batch.rounds, 3, 'one more for each time that it went on');
    assert.deepEqual(
      bench.groups.map(({ refused, failed }) => [refused, failed]),
      [
        [2, 1],
        [2, 1],
        [0, 0],
      ],
    );
  });

  it('has nothing to start over between two groups', () => {
    const bench = new Bench(4, fixed(2, 1_000), { scope: 'batch', maxAttempts: 1 });
    bench.succeed(bench.take());
    bench.batch.startOver();
    bench.batch.endIfDone();
    assert.deepEqual([bench.batch.done, bench.batch.pending, bench.batch.nextDueMs], [2, 0, 1_000]);
    bench.wait();
    bench.succeed(bench.take());
    assert.deepEqual(bench.ends, repeat(4, 'ok'));
  });
});

describe('Batch that reports by count', () => {
  it('says so at each multiple, and its end only if that is none', () => {
    const bench = new Bench(25, undefined, { progressInterval: 10 });
    bench.succeed(bench.take());
    assert.deepEqual([bench.milestones, bench.batch.milestones?.includes(25)], [[10, 20], false]);
    const even = new Bench(20, undefined, { progressInterval: 10 });
    even.succeed(even.take());
    assert.deepEqual([even.milestones, even.batch.milestones?.includes(20)], [[10, 20], true]);
    const none = new Bench(0, undefined, { progressInterval: 10 });
    none.batch.endIfDone();
    assert.deepEqual([none.milestones, none.batch.milestones?.includes(0)], [[], false]);
  });

  it('says so again in a new round', () => {
    const bench = new Bench(4, undefined, { progressInterval: 2, scope: 'batch' });
    bench.succeed(bench.take(3));
    bench.batch.putBack(bench.take());
    bench.batch.startOver();
    bench.succeed(bench.take());
    assert.deepEqual(bench.milestones, [2, 2, 4]);
  });
});

describe('Batch in groups, whatever happens', () => {
  it('has exactly one outcome for each item, and never more than a group in work', () => {
    const end = fc.constantFrom('ok', 'kept', 'back', END.fatal, END.retry, END.refused, END.cancelled);
    const step = fc.oneof(
      { weight: 12, arbitrary: fc.array(end, { minLength: 1, maxLength: 4 }) },
      { weight: 1, arbitrary: fc.constantFrom('abort' as const, 'event' as const, 'give up' as const) },
    );
    fc.assert(
      fc.property(
        fc.nat(30),
        fc.constantFrom(undefined, 'batch' as const),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(2_000),
        fc.array(step, { maxLength: 60, size: 'max' }),
        (count, scope, size, delayMs, steps) => {
          const bench = new Bench(count, fixed(size, delayMs), scope === undefined ? {} : { scope });
          const { batch } = bench;
          let lastDone = 0;
          const checkOut = (entries: readonly WorkItem[]): WorkItem[] => {
            // Whatever is out or has been out belongs to the group after those that are done.
            for (const { index } of entries) assert.ok(batch.isAborted || index < lastDone + size, `item ${index}`);
            return [...entries];
          };
          const settled = (): void => {
            const before = bench.groups.length;
            batch.endIfDone();
            if (bench.groups.length > before) lastDone += bench.groups.at(-1)?.items ?? 0;
          };
          for (const action of steps) {
            bench.nowMs += 500;
            batch.releaseDue();
            if (action === 'abort') batch.abort();
            else if (action === 'event') batch.startOver();
            else if (action === 'give up') batch.failUnfinished(recordOf());
            else {
              checkOut(bench.take(action.length)).forEach((entry, n) => {
                const how = action[n] ?? 'ok';
                const record = how === END.cancelled ? undefined : recordOf('NETWORK');
                if (how === 'ok' || how === 'kept')
                  batch.succeed(entry.index, entry.attempts + 1, 0, TIMES, how === 'kept');
                else if (how === 'back') batch.putBack([entry]);
                else batch.settle(entry, Number(how), record, TIMES);
              });
            }
            settled();
          }
          for (let turn = 0; !batch.isOver; turn++) {
            assert.ok(turn < 200, 'it never ends');
            bench.nowMs += 5_000;
            batch.releaseDue();
            for (const entry of checkOut(bench.take())) batch.succeed(entry.index, entry.attempts + 1, 0, TIMES, false);
            settled();
          }
          assert.deepEqual(
            indicesOf(bench.outcomes).sort((a, b) => a - b),
            range(0, count),
          );
          assert.ok(bench.groups.every(({ items, failed }) => items <= size && failed <= items && failed >= 0));
          const { total, failed } = batch.summary();
          assert.deepEqual([total, failed], [count, bench.outcomes.filter(({ ok }) => !ok).length]);
        },
      ),
      { numRuns: 500 },
    );
  });
});
