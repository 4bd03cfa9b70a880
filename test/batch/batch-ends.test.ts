import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BatchOptions } from '../../lib/batch/batch.ts';
import { inDoubt, refusedForGood } from '../../lib/batch/decide.ts';
import { Feeder } from '../../lib/batch/feeder.ts';
import { Milestones, ThroughputMeter } from '../../lib/batch/progress.ts';
import { Tally } from '../../lib/batch/tally.ts';
import { entriesOf, type WorkItem, WorkQueue } from '../../lib/batch/work-queue.ts';
import { END, NOT_IDEMPOTENT } from '../../lib/protocol.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, type PlayedBatch, RULES, recordOf, Stage, TIMES } from './played-threads.ts';

const OVER_AGAIN = { rules: { ...RULES, scope: 'batch' } } as const;

function open(count: number, options: Partial<BatchOptions> = {}) {
  const stage = new Stage([9]);
  const played = stage.batch(itemsUpTo(count), options);
  return { stage, played, batch: played.batch };
}

function take({ batch }: PlayedBatch, count: number): WorkItem[] {
  const work = batch.queue.take(count);
  return work === undefined ? [] : [...entriesOf(work)];
}

function takeOne(played: PlayedBatch): WorkItem {
  const [entry] = take(played, 1);
  assert.ok(entry);
  return entry;
}

const codes = (played: PlayedBatch) => played.results.map(([, code]) => code);

describe('a batch that starts over', () => {
  it('keeps a success of an earlier round from all that only keeps an item from running', () => {
    for (const [code, isKept] of [
      ['ABORTED', true],
      ['RATE_LIMITED', true],
      ['CIRCUIT_OPEN', true],
      ['CREDENTIALS', true],
      ['NETWORK', false],
      ['WORKER_LOST', false],
    ] as const) {
      const { played, batch } = open(3, OVER_AGAIN);
      const [one, two] = take(played, 2);
      assert.ok(one && two);
      batch.succeed(0, 1, 'value', TIMES, false);
      batch.fail(two, recordOf('HTTP_STATUS'), TIMES);
      batch.startOver();
      assert.equal(batch.done, 0);
      batch.failUnfinished(recordOf(code));
      assert.equal(batch.endIfDone(), true);
      assert.deepEqual(codes(played), [isKept ? 'ok' : code, code, code], 'a failure of an earlier round is not kept');
    }
  });

  it('runs again, as new, what failed, but not what must not run twice', () => {
    const { played, batch } = open(3, OVER_AGAIN);
    const [one, two, three] = take(played, 3);
    assert.ok(one && two && three);
    batch.fail(one, recordOf('HTTP_STATUS', true), TIMES);
    batch.fail(two, recordOf('HTTP_STATUS', true), TIMES, true);
    batch.succeed(2, 1, 'value', TIMES, false);
    batch.startOver();
    assert.deepEqual(take(played, 9), [
      { index: 0, item: 'item 0', attempts: 0, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 },
      { index: 2, item: 'item 2', attempts: 0, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 },
    ]);
  });

  it('tells of failures only at the end, when they are final', () => {
    const { played, batch } = open(2, OVER_AGAIN);
    const [one] = take(played, 2);
    assert.ok(one);
    batch.fail(one, recordOf('HTTP_STATUS'), TIMES);
    batch.succeed(1, 1, 'value', TIMES, false);
    assert.equal(played.failures.length, 0);
    batch.endIfDone();
    assert.deepEqual(
      played.failures.map(({ index, error }) => [index, error.code]),
      [[0, 'HTTP_STATUS']],
    );
  });

  it('says after how many rounds it gave up', () => {
    const { played, batch } = open(1, OVER_AGAIN);
    for (let round = 0; round < RULES.maxAttempts; round++) batch.startOver();
    batch.endIfDone();
    assert.match(played.failures[0]?.error.message ?? '', /3 rounds ended in a rate-limit error/);
  });
});

describe('times and counts of a batch', () => {
  it('has the times of attempts, and none of items that were not run', () => {
    const { played, batch } = open(3);
    const [one, two, three] = take(played, 3);
    assert.ok(one && two && three);
    batch.fail(one, recordOf('CREDENTIALS'));
    const { waitMs, durationMs, threadId } = played.outcomes[0] ?? {};
    assert.deepEqual([waitMs, durationMs, threadId], [0, 0, -1]);
    const shortest = () => [batch.summary().waitMs.min, batch.summary().durationMs.min, batch.summary().durationMs.max];
    assert.deepEqual(shortest(), [0, 0, 0]);
    batch.fail(two, recordOf('HTTP_STATUS'), TIMES);
    assert.ok(
      shortest().every((ms) => ms >= 4.9),
      `${shortest()}`,
    );
    batch.succeed(2, 1, 'value', { ...TIMES, durationMs: 500 }, false);
    assert.ok(batch.summary().durationMs.max >= 499);
  });

  it('stands still when it is over', () => {
    const { stage, played, batch } = open(1);
    stage.nowMs += 30;
    assert.equal(batch.elapsedMs, 30);
    batch.fail(takeOne(played), recordOf());
    batch.endIfDone();
    stage.nowMs += 30;
    assert.equal(batch.elapsedMs, 30);
  });

  it('knows if it has groups, milestones, and something to wait for', () => {
    const { batch, played, stage } = open(2);
    assert.deepEqual([batch.hasGroups, batch.milestones, batch.nextDueMs], [false, undefined, undefined]);
    const entry = takeOne(played);
    batch.settle(entry, END.retry, recordOf(), TIMES);
    assert.equal(batch.nextDueMs, stage.nowMs + 1_000);
    const grouped = open(2, { groups: { size: 1, delayMs: 5, dynamic: undefined }, progressInterval: 2 });
    assert.ok(grouped.batch.hasGroups && grouped.batch.milestones !== undefined);
  });

  it('waits once between two groups, however often it is asked', () => {
    const waits: number[] = [];
    const groups = { size: 1, delayMs: 100, dynamic: undefined };
    const { played, batch } = open(2, { groups, onWait: (delayMs) => waits.push(delayMs) });
    takeOne(played);
    batch.succeed(0, 1, 'value', TIMES, false);
    batch.endIfDone();
    batch.endIfDone();
    assert.deepEqual(waits, [100]);
  });

  it('says whenever there is more to hand out', () => {
    const { played, batch } = open(2);
    const before = played.works;
    assert.ok(before > 0);
    batch.putBack([takeOne(played)]);
    assert.equal(played.works, before + 1);
    batch.putBack([]);
    assert.equal(played.works, before + 1);
  });

  it('sees in shared memory what its items are doing', () => {
    const { stage, played, batch } = open(5);
    const doing = [WORK.called, WORK.called | WORK.sent, WORK.waiting, 0];
    for (const work of doing) stage.chunk(played, 1).slot.work = work;
    const { inFlight, waiting, total, done, isPaused } = batch.progress(true);
    assert.deepEqual([inFlight, waiting, total, done, isPaused], [2, 1, 5, 0, true]);
  });

  it('counts what its chunks have counted until its end', () => {
    const { stage, played, batch } = open(1);
    const chunk = stage.chunk(played, 1);
    chunk.slot.countSent();
    chunk.slot.countCancelled();
    batch.succeed(0, 1, 'value', TIMES, false);
    assert.equal(batch.counts.sent, 0);
    batch.endIfDone();
    assert.deepEqual([batch.counts.sent, batch.counts.cancelled], [1, 1]);
  });

  it('counts attempts that are made again, and tells of those whose error is known', () => {
    const { played, batch } = open(3);
    const [one, two, three] = take(played, 3);
    assert.ok(one && two && three);
    batch.settle(one, END.stale, recordOf('HTTP_STATUS'), TIMES);
    assert.deepEqual([batch.counts.retried, played.retries], [1, [{ index: 0, delayMs: 0 }]]);
    batch.settle(two, END.cancelled, undefined, TIMES);
    assert.deepEqual([batch.counts.retried, played.retries.length], [1, 1]);
    batch.settle(three, END.retry, recordOf(), TIMES);
    assert.deepEqual([batch.counts.retried, played.retries[1]], [2, { index: 2, delayMs: 1_000 }]);
  });
});

describe('the end of a batch', () => {
  it('comes once, with its error, and nothing comes after it', () => {
    const { played, batch } = open(2);
    const [one, two] = take(played, 2);
    assert.ok(one && two);
    let overs = 0;
    batch.onOver = () => overs++;
    const why = new Error('Over.');
    batch.endWith(why);
    batch.endWith(new Error('Again.'));
    batch.settle(one, END.fatal, recordOf(), TIMES);
    batch.settle(two, END.retry, recordOf(), TIMES);
    batch.putBack([two]);
    batch.fail(two, recordOf());
    batch.abort();
    assert.deepEqual([played.ends, overs, played.outcomes, batch.pending], [[why], 1, [], 0]);
    assert.deepEqual([batch.delayed.size, batch.isAborted, batch.endIfDone()], [0, false, false]);
  });

  it('is not near where a source may bring more', () => {
    const { batch } = open(0, {});
    const stream = new Stage().batch(undefined).batch;
    assert.deepEqual([stream.endIfDone(), stream.isOver], [false, false]);
    assert.equal(batch.endIfDone(), true);
  });

  it('by an abort is at once for what no lane has claimed, in chunks too, and nothing of it was executed', () => {
    const { stage, played, batch } = open(5);
    const chunk = stage.chunk(played, 3);
    chunk.slot.claim(0);
    const entry = takeOne(played);
    batch.settle(entry, END.retry, recordOf(), TIMES);
    batch.abort();
    batch.abort();
    assert.deepEqual(
      played.results,
      [1, 2, 3, 4].map((index) => [index, 'ABORTED']),
    );
    const [claimed] = [...entriesOf(chunk.work)];
    assert.ok(claimed);
    batch.putBack([claimed]);
    assert.equal(codes(played).length, 5);
    for (const { error } of played.failures) assert.equal(error.possiblyExecuted, false, error.code);
  });

  it('by an abort comes for an item that is cancelled when that is told', () => {
    const { played, batch } = open(2);
    const [one, two] = take(played, 2);
    assert.ok(one && two);
    batch.abort();
    batch.settle(one, END.cancelled, undefined, TIMES);
    batch.settle(two, END.retry, recordOf('NETWORK', false), TIMES);
    assert.deepEqual(codes(played), ['ABORTED', 'ABORTED']);
    assert.deepEqual(
      played.failures.map(({ error }) => error.possiblyExecuted),
      [false, false],
    );
  });

  it('by an abort that handlers do not heed says which items may have been executed', () => {
    for (const [work, last] of [
      [WORK.called | WORK.sent, true],
      [WORK.called, false],
    ] as const) {
      const { stage, played, batch } = open(6);
      const chunk = stage.chunk(played, 6);
      for (let position = 0; position < 4; position++) chunk.slot.claim(position);
      chunk.slot.work = work;
      chunk.slot.countSent();
      batch.succeed(0, 1, 'value', TIMES, false);
      chunk.settled = 1;
      batch.abort();
      assert.deepEqual(codes(played), ['ok', 'ABORTED', 'ABORTED']);
      batch.abandonClaimed();
      assert.equal(batch.counts.sent, 1);
      assert.equal(batch.endIfDone(), true);
      assert.deepEqual(played.failures.map(({ index, error }) => [index, error.possiblyExecuted]).sort(), [
        [1, true],
        [2, true],
        [3, last],
        [4, false],
        [5, false],
      ]);
    }
  });
});

describe('records of what is given up', () => {
  const cause = { name: 'Error', message: 'Underneath.' };
  const all = { ...recordOf('NETWORK', true), upstreamCode: 'E1', status: 503, cause };

  it('keep what the upstream said', () => {
    const refused = refusedForGood(all, 'so it is');
    assert.deepEqual([refused.upstreamCode, refused.cause], ['E1', cause]);
    const { upstreamCode, status, cause: asCause } = inDoubt(all);
    const { name, message, code } = all;
    assert.deepEqual([upstreamCode, status, asCause], ['E1', 503, { name, message, code, cause }]);
    const bare = [inDoubt(recordOf('NETWORK', true)), refusedForGood(undefined, 'so it is')];
    for (const record of bare)
      for (const field of ['upstreamCode', 'status']) assert.equal(field in record, false, field);
    assert.ok(!('cause' in (bare[0]?.cause ?? {})) && !('cause' in (bare[1] ?? {})));
  });

  it('say how often an item was refused', () => {
    const { played, batch } = open(1);
    const entry = takeOne(played);
    for (let n = 0; n < RULES.maxRefusals; n++) batch.settle(entry, END.refused | NOT_IDEMPOTENT, recordOf(), TIMES);
    assert.match(played.failures[0]?.error.message ?? '', /refused 5 times/);
  });
});

describe('what is left of a batch', () => {
  it('takes as long as its throughput says, no time at its end, and nobody knows how long without one', () => {
    const left = (total: number | undefined, done: number, afterMs = 1_000) => {
      const tally = new Tally(0);
      for (let index = 0; index < done; index++) {
        tally.count({ ok: true, index, value: '', attempts: 1, ...TIMES });
      }
      return tally.progress(afterMs, total).timeLeftMs;
    };
    assert.deepEqual([left(30, 10), left(10, 10), left(0, 0)], [2_000, 0, 0]);
    assert.deepEqual(
      [left(30, 0), left(undefined, 10), left(undefined, 0), left(30, 10, 0)],
      [...[undefined, undefined, undefined, undefined]],
    );
  });

  it('is reached again after it went back into the middle of a stretch', () => {
    const milestones = new Milestones(3);
    assert.deepEqual(
      [3, 6].map((done) => milestones.reach(done)),
      [true, true],
    );
    milestones.goBack(4);
    assert.deepEqual(
      [4, 5, 6, 7].map((done) => milestones.reach(done)),
      [false, false, true, false],
    );
    milestones.goBack(3);
    assert.deepEqual(
      [5, 6].map((done) => milestones.reach(done)),
      [false, true],
    );
  });

  it('slows down while nothing is done', () => {
    const meter = new ThroughputMeter();
    meter.sample(0, 0);
    assert.equal(meter.sample(1_000, 10), 10);
    assert.equal(meter.sample(1_250, 10), 8);
  });
});

describe('a group', () => {
  it('has the times of its own items only', () => {
    const queue = new WorkQueue(() => {});
    queue.fill(itemsUpTo(2));
    const feeder = new Feeder(queue, { size: 1, delayMs: 10, dynamic: undefined }, 0);
    feeder.noteSuccess(100);
    assert.equal(feeder.settle(1, 0, false, 5)?.serviceMs, 100);
    assert.equal(feeder.feedDue(1, 0, 15), true);
    feeder.noteSuccess(30);
    assert.equal(feeder.settle(2, 0, true, 20)?.serviceMs, 30);
  });
});
