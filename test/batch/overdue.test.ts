import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Chunk } from '../../lib/batch/chunk.ts';
import { blameOverdue } from '../../lib/batch/overdue.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, Stage } from './played-threads.ts';

const { called, toldTimeout, waiting } = WORK;
const NOW_NS = 1_000n;

/** Chunks of one item each, given by thread, what the item has reached, and its deadline. */
function blame(...items: readonly (readonly [place: number, work: number, deadlineNs: bigint])[]) {
  const stage = new Stage([9, 9, 9]);
  const played = stage.batch(itemsUpTo(items.length));
  const chunks = items.map(([place, work, deadlineNs]): Chunk => {
    const chunk = stage.chunk(played, 1, { thread: stage.thread(place) });
    chunk.slot.work = work;
    chunk.slot.deadlineNs = deadlineNs;
    return chunk;
  });
  return (prepare: (stage: Stage) => void = () => {}) => {
    prepare(stage);
    const threads = [...blameOverdue(chunks, NOW_NS)].map(({ place }) => place);
    return { threads, blames: chunks.map((chunk) => chunk.blame) };
  };
}

describe('blameOverdue', () => {
  it('finds nobody while all are in time, or have no deadline', () => {
    const all = blame([0, called, 0n], [0, called | toldTimeout, NOW_NS + 1n], [1, called, NOW_NS + 1n]);
    assert.deepEqual(all(), { threads: [], blames: [undefined, undefined, undefined] });
  });

  it('blames the one that ran on after it was told, and only that', () => {
    const all = blame([0, called, 1n], [0, called | toldTimeout, NOW_NS], [0, called, 0n]);
    assert.deepEqual(all(), { threads: [0], blames: [undefined, 'guilty', undefined] });
  });

  it('blames the only one that is called when nobody was told', () => {
    const all = blame([0, called, 1n], [0, waiting, 1n], [1, called, NOW_NS + 1n]);
    assert.deepEqual(all(), { threads: [0], blames: ['guilty', undefined, undefined] });
  });

  it('suspects all that are called when nobody was told, also those that are in time', () => {
    const all = blame([0, called, 1n], [0, called, NOW_NS + 1n], [0, called, 0n], [1, called, 0n]);
    assert.deepEqual(all(), { threads: [0], blames: ['suspect', 'suspect', 'suspect', undefined] });
  });

  it('judges each thread for itself', () => {
    const all = blame([0, called | toldTimeout, 1n], [1, called, 1n], [1, called, 1n], [2, called, 0n]);
    assert.deepEqual(all(), { threads: [0, 1], blames: ['guilty', 'suspect', 'suspect', undefined] });
  });

  it('does not look at items that are not called, nor at threads that are ending', () => {
    assert.deepEqual(blame([0, waiting | toldTimeout, 1n])(), { threads: [], blames: [undefined] });
    const all = blame([0, called | toldTimeout, 1n], [1, called, 1n]);
    const dying = (stage: Stage) => {
      stage.thread(0).state = 'dying';
    };
    assert.deepEqual(all(dying), { threads: [1], blames: [undefined, 'guilty'] });
  });
});
