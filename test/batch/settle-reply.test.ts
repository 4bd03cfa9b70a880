import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settleReply } from '../../lib/batch/settle-reply.ts';
import type { WorkItem } from '../../lib/batch/work-queue.ts';
import { END, NOT_IDEMPOTENT, type Reply } from '../../lib/protocol.ts';
import { itemsUpTo, Stage } from './played-threads.ts';

/** A batch of four, of which the first three are a chunk with a thread. */
function bench({ isAlone = false, scope = 'unfinished' as 'unfinished' | 'batch' } = {}) {
  const stage = new Stage();
  const base = stage.batch([]).batch.rules;
  const played = stage.batch(itemsUpTo(4), { rules: { ...base, scope } });
  const chunk = stage.chunk(played, 3, { isAlone });
  for (const position of [0, 1, 2]) chunk.slot.claim(position);
  const alone: number[] = [];
  const settle = (reply: Reply) => settleReply(chunk, reply, stage.successRate, ({ index }) => alone.push(index));
  return { stage, played, chunk, alone, settle };
}

describe('settleReply', () => {
  it('gives each item its end, with the times and the thread', () => {
    const { stage, played, settle } = bench();
    assert.equal(settle(stage.reply(1, [END.ok, END.fatal])), true);
    assert.deepEqual(played.outcomes[0], {
      ...{ ok: true, index: 0, value: 'value 0', attempts: 1, waitMs: 1, durationMs: 10, threadId: 1 },
    });
    const second = played.outcomes[1];
    assert.deepEqual([second?.waitMs, second?.durationMs, second?.threadId], [2, 11, 1]);
    assert.deepEqual(played.results, [
      [0, 'ok'],
      [1, 'NETWORK'],
    ]);
  });

  it('goes on where the reply before ended', () => {
    const { stage, played, settle } = bench();
    settle(stage.reply(1, [END.ok, END.fatal], { from: 1 }));
    assert.deepEqual(played.results, [
      [1, 'ok'],
      [2, 'NETWORK'],
    ]);
  });

  it('takes a reply without ends for successes, and one without times for no time', () => {
    const { played, settle, stage } = bench();
    settle(stage.reply(1, [END.ok, END.ok], { ends: undefined, waitsMs: undefined, durationsMs: [] }));
    assert.deepEqual(played.results, [
      [0, 'ok'],
      [1, 'ok'],
    ]);
    assert.deepEqual([played.outcomes[0]?.waitMs, played.outcomes[0]?.durationMs], [0, 0]);
  });

  it('counts attempts of items that were out before, and knows their indices', () => {
    const { stage, played, chunk } = bench();
    const entries: WorkItem[] = [0, 1].map((n) => ({
      ...{ index: 2 - n, item: '', attempts: n, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 },
    }));
    const again = stage.table.open({ ...chunk, work: { first: 2, items: ['', ''], entries } });
    settleReply(again, stage.reply(2, [END.ok, END.ok]), stage.successRate, () => {});
    assert.deepEqual(
      played.outcomes.map(({ index, attempts }) => [index, attempts]),
      [
        [2, 1],
        [1, 2],
      ],
    );
  });

  it('says that the upstream has answered only if it did', () => {
    for (const [end, isAnswered] of [
      [END.ok, true],
      [END.ok | NOT_IDEMPOTENT, true],
      [END.fatal, true],
      [END.fatal | NOT_IDEMPOTENT, true],
      [END.retry, false],
      [END.refused, false],
      [END.cancelled, false],
      [END.notStarted, false],
      [END.stale, false],
      [END.aborted, false],
    ] as const) {
      const { stage, settle } = bench();
      assert.equal(settle(stage.reply(1, [end])), isAnswered, `end ${end}`);
    }
  });

  it('tells the success rate of what the upstream did, and of nothing else', () => {
    const rateAfter = (end: number, before: number) => {
      const { stage, settle } = bench();
      for (let n = 0; n < before; n++) stage.successRate.addFailure();
      settle(stage.reply(1, [end, end, end]));
      return stage.successRate.stretch;
    };
    assert.equal(rateAfter(END.fatal, 7), 2, 'the tenth failure');
    assert.equal(rateAfter(END.retry, 7), 2);
    assert.equal(rateAfter(END.aborted, 7), 1);
    assert.equal(rateAfter(END.cancelled, 7), 1);
    assert.equal(rateAfter(END.ok, 12), 1, 'three of fifteen');
    assert.equal(rateAfter(END.ok, 13), 2, 'three of sixteen');
    assert.equal(rateAfter(END.cancelled, 8), 1, 'which is no success, either');
    assert.equal(rateAfter(END.cancelled, 9), 1);
  });

  it('runs an item alone again that came back without having run', () => {
    for (const end of [END.cancelled, END.notStarted]) {
      const { stage, played, alone, settle } = bench({ isAlone: true });
      settle(stage.reply(1, [end]));
      assert.deepEqual([alone, played.batch.pending], [[0], 1]);
    }
    const failed = bench({ isAlone: true });
    failed.settle(failed.stage.reply(1, [END.retry]));
    assert.deepEqual([failed.alone, failed.played.batch.delayed.size], [[], 1]);
    const shared = bench();
    shared.settle(shared.stage.reply(1, [END.cancelled]));
    assert.deepEqual([shared.alone, shared.played.batch.pending], [[], 2]);
    const aborted = bench({ isAlone: true });
    aborted.played.batch.isAborted = true;
    aborted.settle(aborted.stage.reply(1, [END.cancelled]));
    assert.deepEqual([aborted.alone, aborted.played.results], [[], [[0, 'ABORTED']]]);
  });

  it('keeps a success that must not run twice when the batch starts over', () => {
    const { stage, played, settle } = bench({ scope: 'batch' });
    settle(stage.reply(1, [END.ok, END.ok | NOT_IDEMPOTENT, END.ok]));
    played.batch.startOver();
    assert.deepEqual(
      played.batch.queue.takeAll().map(({ index }) => index),
      [0, 2, 3],
    );
  });

  it('gives nothing to a batch that is over', () => {
    const { stage, played, settle } = bench();
    played.batch.endWith(new Error('Over.'));
    assert.equal(settle(stage.reply(1, [END.ok, END.fatal])), false);
    assert.deepEqual(played.outcomes, []);
  });
});
