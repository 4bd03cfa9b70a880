import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Chunk } from '../../lib/batch/chunk.ts';
import { settleDeadChunk } from '../../lib/batch/dead-chunk.ts';
import type { WorkItem } from '../../lib/batch/work-queue.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, type PlayedBatch, Stage } from './played-threads.ts';

const { called, sent, idempotent, ended, waiting } = WORK;

/** A chunk of three items, of which so many were claimed and the last is in work, whose thread dies. */
function die(
  claimed: number,
  work: number,
  prepare: (chunk: Chunk, played: PlayedBatch) => void = () => {},
  fields: { isAlone?: boolean } = {},
) {
  const stage = new Stage();
  const played = stage.batch(itemsUpTo(3));
  const { batch } = played;
  const chunk = stage.chunk(played, 3, fields);
  for (let position = 0; position < claimed; position++) chunk.slot.claim(position);
  chunk.slot.work = work;
  prepare(chunk, played);
  settleDeadChunk(chunk, 500);
  const indices = (entries: readonly WorkItem[]) => entries.map(({ index }) => index).sort();
  const delayed = batch.delayed.takeAll();
  return {
    played,
    error: played.failures[0]?.error,
    outcome: played.outcomes[0],
    results: played.results,
    lost: indices(batch.lost),
    entries: [...batch.lost, ...delayed],
    delayed: indices(delayed),
    waiting: indices(batch.queue.takeAll()),
  };
}

const killed = (because: string) => (chunk: Chunk) => {
  chunk.thread.killedBecause = because;
};

describe('settleDeadChunk', () => {
  it('hands out again what was never claimed, and what was claimed but not called', () => {
    assert.deepEqual(die(0, 0).waiting, [0, 1, 2]);
    assert.deepEqual(die(1, waiting).waiting, [0, 1, 2]);
    const { waiting: left, lost, results } = die(1, called);
    assert.deepEqual([left, lost, results], [[1, 2], [0], []]);
  });

  it('calls an item lost that may have killed it, and remembers if it was sent', () => {
    const unsent = die(1, called | idempotent);
    assert.deepEqual([unsent.lost, unsent.entries[0]?.possiblyExecuted], [[0], false]);
    const wasSent = die(1, called | sent | idempotent);
    assert.deepEqual([wasSent.lost, wasSent.entries[0]?.possiblyExecuted], [[0], true]);
    assert.equal(wasSent.entries[0]?.attempts, 0);
    assert.deepEqual(wasSent.results, []);
  });

  it('leaves alone what has its end already', () => {
    const {
      lost,
      waiting: left,
      results,
    } = die(2, called | idempotent, (chunk) => {
      chunk.settled = 1;
    });
    assert.deepEqual([lost, left, results], [[1], [2], []]);
  });

  it('takes items before the one in work for sent and safe to repeat', () => {
    const { lost, entries } = die(3, called);
    assert.deepEqual(lost, [0, 1, 2]);
    const isSent = new Map(entries.map(({ index, possiblyExecuted }) => [index, possiblyExecuted]));
    assert.deepEqual([isSent.get(0), isSent.get(1), isSent.get(2)], [true, true, false]);
  });

  it('takes the last one for sent and safe to repeat, too, if it has ended', () => {
    const { lost, entries } = die(1, ended);
    assert.deepEqual([lost, entries[0]?.possiblyExecuted], [[0], true]);
  });

  it('fails an item that was sent and must not be sent twice, and asks its user', () => {
    const { results, error, outcome, lost } = die(1, called | sent);
    assert.deepEqual([results, lost], [[[0, 'IN_DOUBT']], []]);
    assert.equal(error?.cause?.code, 'WORKER_LOST');
    assert.deepEqual([error?.possiblyExecuted, error?.attempts], [true, 1]);
    assert.deepEqual([outcome?.waitMs, outcome?.durationMs, outcome?.threadId], [0, 0, 1]);
  });

  it('does not run it again in a batch that starts over, either', () => {
    const { played, results } = die(1, called | sent);
    assert.equal(results.length, 1);
    const stage = new Stage();
    const again = stage.batch(itemsUpTo(1), { rules: { ...played.batch.rules, scope: 'batch' } });
    const chunk = stage.chunk(again, 1);
    chunk.slot.claim(0);
    chunk.slot.work = called | sent;
    settleDeadChunk(chunk, 500);
    again.batch.startOver();
    assert.equal(again.batch.pending, 0);
  });

  it('blames the item that ran alone when the thread died by itself', () => {
    const cause = { name: 'Error', message: 'Boom.' };
    const { results, error } = die(1, called | idempotent, (chunk) => {
      Object.assign(chunk, { isAlone: true });
      chunk.thread.cause = cause;
    });
    assert.deepEqual(results, [[0, 'WORKER_LOST']]);
    assert.equal(error?.name, 'WorkerLostError');
    assert.equal(error?.message, 'The worker thread died while it ran this item.');
    assert.deepEqual([error?.attempts, error?.possiblyExecuted, error?.cause], [1, false, cause]);
    const other = die(1, called | sent | idempotent, (chunk) => {
      Object.assign(chunk, { isAlone: true });
    });
    assert.deepEqual([other.error?.possiblyExecuted, 'cause' in (other.error ?? {})], [true, false]);
  });

  it('says why the engine ended the thread', () => {
    const { error } = die(1, called | sent, killed('a test'));
    assert.match(error?.cause?.message ?? '', /^The worker thread was ended because of a test while/);
  });

  it('runs the item alone again if the engine ended the thread for another reason', () => {
    const { lost, results } = die(1, called | idempotent, (chunk) => {
      Object.assign(chunk, { isAlone: true });
      chunk.thread.killedBecause = 'a test';
    });
    assert.deepEqual([lost, results], [[0], []]);
  });

  it('puts innocent items back when the engine ended the thread because of another one', () => {
    const { lost, waiting: left } = die(1, called | sent | idempotent, killed('a test'));
    assert.deepEqual([lost, left], [[], [0, 1, 2]]);
    const suspect = die(1, called | idempotent, (chunk) => {
      chunk.thread.killedBecause = 'a test';
      chunk.blame = 'suspect';
    });
    assert.deepEqual([suspect.lost, suspect.waiting], [[0], [1, 2]]);
  });

  it('times out the one item that is guilty', () => {
    const { delayed, lost, entries, results, played } = die(2, called | sent | idempotent, (chunk) => {
      chunk.blame = 'guilty';
      chunk.thread.killedBecause = 'an item that ignored its timeout';
    });
    assert.deepEqual([delayed, lost, results, played.retries], [[1], [], [], [{ index: 1, delayMs: 1_000 }]]);
    const guilty = entries.find(({ index }) => index === 1);
    assert.deepEqual([guilty?.attempts, guilty?.possiblyExecuted], [1, true]);
    const unsafe = die(1, called | sent, (chunk) => {
      chunk.blame = 'guilty';
    });
    assert.deepEqual(unsafe.results, [[0, 'IN_DOUBT']]);
    assert.match(unsafe.error?.cause?.message ?? '', /timeoutMs \(500 ms\); the request was sent/);
    const unsent = die(1, called, (chunk) => {
      chunk.blame = 'guilty';
    });
    assert.deepEqual([unsent.delayed, unsent.entries[0]?.possiblyExecuted], [[0], false]);
  });

  it('says of an aborted batch that its items were aborted, and if they may have been executed', () => {
    for (const isSent of [true, false]) {
      const { results, played, lost } = die(1, isSent ? called | sent | idempotent : called, (_, { batch }) => {
        batch.isAborted = true;
      });
      assert.deepEqual(results, [
        [0, 'ABORTED'],
        [1, 'ABORTED'],
        [2, 'ABORTED'],
      ]);
      assert.deepEqual(lost, []);
      const inWork = played.failures.find(({ index }) => index === 0)?.error;
      assert.deepEqual([inWork?.name, inWork?.possiblyExecuted], ['AbortError', isSent]);
    }
  });

  it('gives nothing to a batch that is over', () => {
    const { results, lost, waiting: left } = die(2, called | sent, (_, { batch }) => batch.endWith(new Error('Over.')));
    assert.deepEqual([results, lost, left], [[], [], []]);
  });

  it('never repeats what may have to run once only, when the report of it could not be read', () => {
    const mute = (chunk: Chunk) => {
      chunk.thread.isMute = true;
    };
    const { results, error, outcome, lost } = die(2, called | idempotent | WORK.once, mute);
    assert.deepEqual([results, lost], [[[0, 'NOT_CLONEABLE']], [1]]);
    assert.deepEqual(error?.cause, { name: 'DataCloneError', message: 'Its thread could not tell what became of it.' });
    assert.equal(outcome?.threadId, 1);
    for (const work of [WORK.once, ended | WORK.once]) {
      assert.deepEqual(
        die(1, work, mute).results,
        [[0, 'NOT_CLONEABLE']],
        'nor the last one, if it is not in work any more',
      );
    }
  });

  it('runs alone what may run again when the report of it could not be read, and then never again', () => {
    const mute = (chunk: Chunk) => {
      chunk.thread.isMute = true;
    };
    for (const work of [0, ended]) {
      const { results, lost } = die(2, work, mute);
      assert.deepEqual([results, lost], [[], [0, 1]]);
      const alone = die(1, work, mute, { isAlone: true });
      assert.deepEqual([alone.results, alone.lost], [[[0, 'NOT_CLONEABLE']], []]);
      const guilty = die(1, work, (chunk) => {
        mute(chunk);
        chunk.blame = 'guilty';
      });
      assert.deepEqual(guilty.results, [[0, 'NOT_CLONEABLE']]);
    }
  });
});
