import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { reserveOf } from '../../lib/batch/reserve.ts';
import { Totals } from '../../lib/batch/totals.ts';
import { END } from '../../lib/protocol.ts';
import { itemsUpTo, recordOf, Stage, TIMES } from './played-threads.ts';

describe('Totals', () => {
  it('add up what batches have counted that are over, and those that are not', () => {
    const stage = new Stage();
    const totals = new Totals();
    assert.deepEqual(totals.with([]), { succeeded: 0, failed: 0, sent: 0, refused: 0, cancelled: 0, retried: 0 });
    const batchOf = (succeeded: number, failed: number) => {
      const { batch } = stage.batch(itemsUpTo(20));
      for (let n = 0; n < succeeded; n++) batch.succeed(n, 1, '', TIMES, false);
      const work = batch.queue.take(failed);
      const entry = { item: '', attempts: 0, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 };
      for (const n of work?.items.keys() ?? []) {
        batch.settle({ ...entry, index: succeeded + n }, END.fatal, recordOf('HTTP_STATUS'), TIMES);
      }
      return batch;
    };
    const over = batchOf(3, 2);
    Object.assign(over.counts, { sent: 7, refused: 11, cancelled: 13, retried: 17 });
    totals.add(over);
    const running = batchOf(1, 4);
    Object.assign(running.counts, { sent: 100, refused: 200, cancelled: 300, retried: 400 });
    const all = { succeeded: 4, failed: 6, sent: 107, refused: 211, cancelled: 313, retried: 417 };
    assert.deepEqual(totals.with([running]), all);
    assert.deepEqual(totals.with([running]), all, 'asking changes nothing');
    totals.add(running);
    assert.deepEqual(totals.with([]), all);
  });
});

describe('reserveOf', () => {
  const reserve = (concurrency: number, ...rate: readonly (readonly [tokens: number, windowMs: number])[]) =>
    reserveOf({
      concurrency,
      rate: rate.map(([tokens, windowMs]) => ({ tokens, windowMs })) as unknown as Parameters<
        typeof reserveOf
      >[0]['rate'],
    });

  it('is a chunk for each lane where there is no limit', () => {
    assert.deepEqual([reserve(1), reserve(64)], [1, 64]);
  });

  it('is what the tightest limit lets through in a quarter of a second, and one at least', () => {
    assert.equal(reserve(64, [40, 1_000]), 10);
    assert.equal(reserve(64, [41, 1_000]), 11);
    assert.equal(reserve(64, [40, 1_000], [16, 2_000]), 2);
    assert.equal(reserve(64, [16, 2_000], [40, 1_000]), 2);
    assert.equal(reserve(8, [40, 1_000]), 8);
    assert.equal(reserve(64, [1, 3_600_000]), 1);
  });
});
