import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ChunkTable } from '../../lib/batch/chunk-table.ts';
import type { WorkItem } from '../../lib/batch/work-queue.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { itemsUpTo, Stage } from './played-threads.ts';

const indicesOf = (entries: readonly WorkItem[]): number[] => entries.map(({ index }) => index);

describe('Chunk', () => {
  it('tells its thread all about fresh items by the index of the first', () => {
    const stage = new Stage();
    const played = stage.batch(itemsUpTo(5), { idempotent: true });
    stage.chunk(played, 2);
    const chunk = stage.chunk(played, 2, { generation: 7, isProbe: true, sentAtMs: 30 });
    assert.deepEqual(chunk.toTask({ token: 1 }), {
      kind: 'chunk',
      id: 2,
      slot: chunk.slotNumber,
      generation: 7,
      batch: 1,
      first: 2,
      indices: undefined,
      attempts: undefined,
      refreshes: undefined,
      items: ['item 2', 'item 3'],
      idempotent: true,
      credentials: { token: 1 },
      isProbe: true,
    });
    assert.deepEqual([chunk.end, chunk.settled, chunk.sentAtMs, chunk.isAlone], [2, 0, 30, false]);
  });

  it('tells its thread which attempt it is of each item that was out before', () => {
    const stage = new Stage();
    const played = stage.batch(itemsUpTo(6));
    const entries = stage.chunk(played, 6).leftOver();
    const [, one, , three] = entries;
    assert.ok(one && three);
    one.attempts = 2;
    played.batch.putBack([three, one]);
    const again = stage.chunk(played, 2).toTask(undefined);
    assert.deepEqual([again.first, again.indices, again.attempts, again.refreshes], [1, [1, 3], [3, 1], undefined]);
    assert.deepEqual(again.items, ['item 1', 'item 3']);
    three.refreshes = 1;
    played.batch.putBack([three, one]);
    assert.deepEqual(stage.chunk(played, 2).toTask(undefined).refreshes, [0, 1], 'if there were any for one of them');
  });

  it('takes back what was not claimed, and only once', () => {
    const stage = new Stage();
    const chunk = stage.chunk(stage.batch(itemsUpTo(4)), 4);
    assert.ok(chunk.slot.claim(0));
    assert.deepEqual(indicesOf(chunk.takeBackUnclaimed()), [1, 2, 3]);
    assert.equal(chunk.end, 1);
    assert.equal(chunk.slot.claim(1), false, 'what was taken back is not run here');
    assert.deepEqual(chunk.takeBackUnclaimed(), []);
    assert.deepEqual(chunk.leftOver(), []);
  });

  it('leaves over what its lane did not claim, without closing it', () => {
    const stage = new Stage();
    const chunk = stage.chunk(stage.batch(itemsUpTo(3)), 3);
    chunk.slot.claim(0);
    assert.deepEqual(indicesOf(chunk.leftOver()), [1, 2]);
    assert.deepEqual([chunk.end, chunk.leftOver().length], [1, 0]);
    assert.equal(chunk.slot.claim(1), true);
  });

  it('adds to the counts of its batch what is new since the last time', () => {
    const stage = new Stage();
    const played = stage.batch(itemsUpTo(2));
    const [one, two] = [stage.chunk(played, 1), stage.chunk(played, 1)];
    const { counts } = played.batch;
    one.slot.countSent();
    one.slot.countSent();
    one.slot.countRefused();
    one.foldCounts();
    one.foldCounts();
    assert.deepEqual([counts.sent, counts.refused, counts.cancelled], [2, 1, 0]);
    one.slot.countSent();
    one.slot.countRefused();
    one.slot.countCancelled();
    two.slot.countCancelled();
    for (const chunk of [one, two, one, two]) chunk.foldCounts();
    assert.deepEqual([counts.sent, counts.refused, counts.cancelled], [3, 2, 2]);
  });
});

describe('ChunkTable', () => {
  it('knows what is with threads until that is over', () => {
    const stage = new Stage([2, 2]);
    const played = stage.batch(itemsUpTo(3));
    const one = stage.chunk(played, 1);
    const two = stage.chunk(played, 1, { thread: stage.thread(1) });
    assert.deepEqual([stage.table.size, stage.thread(0).load, stage.thread(1).load], [2, 1, 1]);
    assert.equal(stage.table.get(one.id), one);
    assert.equal(stage.table.get(two.id), two);
    assert.deepEqual(stage.table.all, [one, two]);
    assert.deepEqual([...stage.table], [one, two]);
    assert.deepEqual([...played.batch.chunks], [one, two]);
    stage.table.close(one);
    assert.equal(stage.table.get(one.id), undefined);
    assert.deepEqual([stage.table.size, stage.thread(0).load, stage.thread(1).load], [1, 0, 1]);
    assert.deepEqual([...played.batch.chunks], [two]);
  });

  it('gives no two chunks the same slot at a time, and no slot with traces of the chunk before', () => {
    const stage = new Stage();
    const table = new ChunkTable(createControlBlock({ tokens: [], slots: 2 }));
    const { batch } = stage.batch(itemsUpTo(9));
    const open = () => {
      const work = batch.queue.take(1);
      assert.ok(work);
      const thread = stage.thread();
      return table.open({ batch, work, thread, generation: 0, isAlone: false, isProbe: false, sentAtMs: 0 });
    };
    const [one, two] = [open(), open()];
    assert.notEqual(one.slotNumber, two.slotNumber);
    assert.throws(open, /No free work slot/);
    one.slot.claim(0);
    one.slot.countSent();
    table.close(one);
    const three = open();
    assert.equal(three.slotNumber, one.slotNumber);
    assert.deepEqual([three.slot.started, three.slot.sent], [0, 0]);
    assert.deepEqual(
      [one.id, two.id, three.id < 0 || three.id > two.id],
      [1, 2, true],
      'and each has an id of its own',
    );
  });

  it('goes through a snapshot while chunks come to their end', () => {
    const stage = new Stage();
    const played = stage.batch(itemsUpTo(3));
    for (let n = 0; n < 3; n++) stage.chunk(played, 1);
    let seen = 0;
    for (const chunk of stage.table.all) {
      for (const other of stage.table.all) if (other === chunk || seen === 0) stage.table.close(other);
      seen++;
    }
    assert.equal(seen, 3);
  });
});
