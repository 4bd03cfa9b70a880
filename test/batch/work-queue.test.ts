import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { entriesOf, entryAt, type WorkItem, WorkQueue } from '../../lib/batch/work-queue.ts';

const queueOf = (items: readonly unknown[] = []): WorkQueue => {
  const queue = new WorkQueue(() => {});
  if (items.length > 0) queue.fill(items);
  return queue;
};

const itemsUpTo = (count: number): string[] => Array.from({ length: count }, (_, index) => `item ${index}`);

function take(queue: WorkQueue, count: number): WorkItem[] {
  const work = queue.take(count);
  return work === undefined ? [] : [...entriesOf(work)];
}

const indicesOf = (entries: readonly WorkItem[]): number[] => entries.map(({ index }) => index);

describe('WorkQueue', () => {
  it('hands out fresh items in a row', () => {
    const queue = queueOf(itemsUpTo(5));
    assert.equal(queue.size, 5);
    assert.equal(queue.nextIndex, 5);
    assert.deepEqual(queue.take(2), { first: 0, items: ['item 0', 'item 1'], entries: undefined });
    assert.deepEqual(queue.take(9), { first: 2, items: ['item 2', 'item 3', 'item 4'], entries: undefined });
    assert.equal(queue.take(1), undefined);
    assert.equal(queue.size, 0);
    assert.equal(queue.nextIndex, 5);
  });

  it('leaves the array that it was filled with as it was', () => {
    const items = Object.freeze(itemsUpTo(5));
    const queue = queueOf(items);
    take(queue, 3);
    queue.putBack(take(queue, 2));
    queue.takeAll();
    assert.deepEqual(items, itemsUpTo(5));
  });

  it('takes back in front of all others, refuses to the end', () => {
    const queue = queueOf(itemsUpTo(6));
    const [zero, one, two, three] = take(queue, 4);
    assert.ok(zero && one && two && three);
    queue.putLast(zero);
    queue.putBack([three, one]);
    queue.putLast(two);
    assert.deepEqual(indicesOf(take(queue, 10)), [1, 3]);
    assert.deepEqual(indicesOf(take(queue, 10)), [4, 5]);
    assert.deepEqual(indicesOf(take(queue, 10)), [0, 2]);
  });

  it('keeps what an item has been through', () => {
    const queue = queueOf(itemsUpTo(2));
    const [zero, one] = take(queue, 2);
    assert.ok(zero && one);
    zero.attempts = 2;
    one.refusals = 3;
    queue.putBack([zero]);
    queue.putLast(one);
    assert.equal(take(queue, 1)[0], zero);
    const work = queue.take(1);
    assert.ok(work?.entries);
    assert.deepEqual(work.items, ['item 1']);
    assert.equal(entryAt(work, 0), one);
  });

  it('says whenever there is more, and only then', () => {
    let calls = 0;
    const queue = new WorkQueue(() => calls++);
    queue.push('a');
    assert.equal(calls, 1);
    queue.fill(['b', 'c']);
    assert.equal(calls, 2);
    const entries = take(queue, 2);
    queue.putBack([]);
    assert.equal(calls, 2);
    queue.putBack(entries);
    assert.equal(calls, 3);
    const [again] = take(queue, 1);
    assert.ok(again);
    queue.putLast(again);
    assert.equal(calls, 4);
  });

  it('keeps its numbers through a long stream, in which most is gone already', () => {
    const queue = queueOf();
    let expected = 0;
    let pushed = 0;
    for (let round = 0; round < 200; round++) {
      for (let n = 0; n < 100 + (round % 7); n++) queue.push(`item ${pushed++}`);
      for (const { index, item } of take(queue, 90 + (round % 31))) {
        assert.equal(index, expected);
        assert.equal(item, `item ${expected++}`);
      }
      assert.equal(queue.size, pushed - expected);
      assert.equal(queue.nextIndex, pushed);
    }
    assert.deepEqual(
      indicesOf(queue.takeAll()),
      Array.from({ length: pushed - expected }, (_, n) => expected + n),
    );
  });

  it('loses nothing, doubles nothing and keeps its order, against a model', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 8 }) }) },
      { weight: 2, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 5 }) }) },
      { weight: 2, arbitrary: fc.record({ putBack: fc.array(fc.nat(), { maxLength: 4 }) }) },
      { weight: 2, arbitrary: fc.record({ putLast: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ finish: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant('all' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
        const queue = queueOf();
        let total = 0;
        let again: WorkItem[] = [];
        let fresh: number[] = [];
        let refused: WorkItem[] = [];
        const out: WorkItem[] = [];
        const finished: number[] = [];
        const pick = (place: number): WorkItem | undefined => out.splice(place % Math.max(1, out.length), 1)[0];
        for (const action of steps) {
          if (action === 'all') {
            const left = queue.takeAll();
            assert.deepEqual(
              indicesOf(left),
              [...indicesOf(again), ...fresh, ...indicesOf(refused)],
              'what is left, in order',
            );
            again = [];
            fresh = [];
            refused = [];
            out.push(...left);
          } else if ('push' in action) {
            for (let n = 0; n < action.push; n++) {
              fresh.push(total);
              queue.push(`item ${total++}`);
            }
          } else if ('take' in action) {
            const taken = take(queue, action.take);
            const from = again.length > 0 ? again : fresh.length > 0 ? fresh : refused;
            const expected = from.splice(0, action.take).map((one) => (typeof one === 'number' ? one : one.index));
            assert.deepEqual(indicesOf(taken), expected);
            for (const { index, item } of taken) assert.equal(item, `item ${index}`);
            out.push(...taken);
          } else if ('putBack' in action) {
            const back = action.putBack.map(pick).filter((entry) => entry !== undefined);
            queue.putBack(back);
            again = [...again, ...back].sort((a, b) => a.index - b.index);
          } else if ('putLast' in action) {
            const entry = pick(action.putLast);
            if (entry === undefined) continue;
            queue.putLast(entry);
            refused.push(entry);
          } else {
            const entry = pick(action.finish);
            if (entry !== undefined) finished.push(entry.index);
          }
          assert.equal(queue.size, again.length + fresh.length + refused.length);
          assert.equal(queue.nextIndex, total);
        }
        const all = [...finished, ...indicesOf(out), ...indicesOf(queue.takeAll())].sort((a, b) => a - b);
        assert.deepEqual(
          all,
          Array.from({ length: total }, (_, index) => index),
        );
        assert.equal(queue.size, 0);
      }),
      { numRuns: 300 },
    );
  });
});

describe('entriesOf', () => {
  it('starts where it is told, with a clean record for fresh items', () => {
    const work = queueOf(itemsUpTo(4)).take(4);
    assert.ok(work);
    assert.deepEqual(
      [...entriesOf(work, 3)],
      [{ index: 3, item: 'item 3', attempts: 0, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 }],
    );
    assert.deepEqual([...entriesOf(work, 4)], []);
  });
});
