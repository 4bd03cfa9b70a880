import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Batch } from '../../lib/batch/batch.ts';
import { OutcomeStream } from '../../lib/batch/outcome-stream.ts';
import type { Outcome } from '../../lib/types.ts';
import { Stage, TIMES } from './played-threads.ts';

function open(source: Iterator<unknown> | AsyncIterator<unknown>, lanes = 2) {
  const stage = new Stage([1]);
  let pumps = 0;
  const aborted: Batch[] = [];
  const stream = new OutcomeStream({
    source,
    lanes,
    pump: () => pumps++,
    endIfDone: (batch) => batch.endIfDone(),
    abort: (batch) => {
      aborted.push(batch);
      batch.abort();
      batch.endIfDone();
    },
  });
  const { batch } = stage.batch(undefined, { sink: stream });
  stream.attach(batch);
  const run = (count: number) => {
    const work = batch.queue.take(count);
    for (const [n, item] of work?.items.entries() ?? []) {
      batch.succeed((work?.first ?? 0) + n, 1, `value of ${item}`, TIMES, false);
    }
    batch.endIfDone();
    return work?.items.length ?? 0;
  };
  return { stream, batch, aborted, run, pumps: () => pumps };
}

/** Numbers from 0 on, and how many were pulled. */
function numbers(end = Number.POSITIVE_INFINITY) {
  const state = { pulled: 0, returns: 0 };
  const source: Iterator<number> = {
    next: () => (state.pulled < end ? { done: false, value: state.pulled++ } : { done: true, value: undefined }),
    return: () => {
      state.returns++;
      return { done: true, value: undefined };
    },
  };
  return { state, source };
}

const indexOf = (result: IteratorResult<Outcome, unknown>) => (result.done === true ? 'end' : result.value.index);

describe('OutcomeStream', () => {
  it('pulls nothing before it is read, then as much as two rounds of the lanes need', async () => {
    const { state, source } = numbers();
    const { stream, batch, run, pumps } = open(source);
    const outcomes = stream.outcomes();
    assert.equal(state.pulled, 0);
    const first = outcomes.next();
    await nextTurn();
    assert.deepEqual([state.pulled, batch.pending, pumps()], [4, 4, 1]);
    run(2);
    assert.equal(indexOf(await first), 0);
    assert.equal(state.pulled, 4, 'what nobody has read has not left');
    assert.equal(indexOf(await outcomes.next()), 1);
    assert.equal(state.pulled, 5);
    batch.sizing = { itemMs: 1, size: 10 };
    run(1);
    assert.equal(indexOf(await outcomes.next()), 2);
    await nextTurn();
    assert.equal(state.pulled, 42, 'two rounds of ten for each lane beyond those two that were read');
    assert.equal(pumps(), 2, 'once in a turn of the event loop');
  });

  it('never has more than 4096 items between its two ends, unless there are that many lanes', async () => {
    for (const [lanes, most] of [
      [2, 4_096],
      [3_000, 6_000],
    ] as const) {
      const { state, source } = numbers();
      const { stream, batch } = open(source, lanes);
      batch.sizing = { itemMs: 1, size: 100_000 };
      const outcomes = stream.outcomes();
      void outcomes.next();
      await nextTurn();
      assert.equal(state.pulled, most);
    }
  });

  it('gives every outcome, as it comes, and ends when the source has ended and all is done', async () => {
    const { state, source } = numbers(5);
    const { stream, batch, run } = open(source);
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { index } of stream.outcomes()) seen.push(index);
    })();
    for (let left = 100; left > 0 && seen.length < 5; left--) {
      await nextTurn();
      run(1);
    }
    await reading;
    assert.deepEqual([seen, state.pulled, state.returns, batch.total, batch.isOver], [[0, 1, 2, 3, 4], 5, 0, 5, true]);
  });

  it('gives what is there before it ends', async () => {
    const { source } = numbers(3);
    const { stream, run } = open(source);
    const outcomes = stream.outcomes();
    const first = outcomes.next();
    await nextTurn();
    assert.equal(run(3), 3);
    const all = [await first, await outcomes.next(), await outcomes.next(), await outcomes.next()];
    assert.deepEqual(all.map(indexOf), [0, 1, 2, 'end']);
  });

  it('is over at once where the source is empty', async () => {
    const { source } = numbers(0);
    const { stream, batch } = open(source);
    assert.equal(indexOf(await stream.outcomes().next()), 'end');
    assert.deepEqual([batch.total, batch.isOver], [0, true]);
  });

  it('takes items of a source that is asynchronous, one at a time', async () => {
    const waiting: ((result: IteratorResult<unknown>) => void)[] = [];
    const { stream, batch, run } = open({ next: () => new Promise((resolve) => waiting.push(resolve)) });
    const outcomes = stream.outcomes();
    const first = outcomes.next();
    await nextTurn();
    assert.equal(waiting.length, 1);
    waiting[0]?.({ done: false, value: 'a' });
    await nextTurn();
    assert.deepEqual([waiting.length, batch.pending], [2, 1]);
    run(1);
    assert.equal(indexOf(await first), 0);
    const second = outcomes.next();
    await nextTurn();
    assert.equal(waiting.length, 2, 'while it is asked it is not asked again');
    waiting[1]?.({ done: true, value: undefined });
    assert.equal(indexOf(await second), 'end');
  });

  it('awaits what is like a promise', async () => {
    const items = ['a', 'b'];
    const next = () => ({
      // biome-ignore lint/suspicious/noThenProperty: what is tested is a source that gives these
      then: (resolve: (result: IteratorResult<unknown>) => void) => {
        const value = items.shift();
        resolve(value === undefined ? { done: true, value } : { done: false, value });
      },
    });
    const { stream, batch } = open({ next } as unknown as AsyncIterator<unknown>);
    void stream.outcomes().next();
    await nextTurn();
    assert.deepEqual([batch.total, batch.queue.take(9)?.items], [2, ['a', 'b']]);
  });

  it('fails with the error of its source, after the outcomes that there are, and stops what is in work', async () => {
    const why = new Error('No more.');
    let pulled = 0;
    const { stream, batch, aborted } = open({
      next: () => {
        if (pulled === 2) throw why;
        return { done: false, value: pulled++ };
      },
    });
    const outcomes = stream.outcomes();
    const all = [await outcomes.next(), await outcomes.next()];
    assert.deepEqual(
      all.map((result) => result.done !== true && !result.value.ok && result.value.error.code),
      ['ABORTED', 'ABORTED'],
    );
    await assert.rejects(outcomes.next(), (error) => error === why);
    assert.deepEqual([aborted, batch.total], [[batch], 2]);
  });

  it('fails with the error that ended its batch, but first with that of its source', async () => {
    const ended = new Error('Over.');
    const { source } = numbers();
    const { stream } = open(source);
    const first = assert.rejects(stream.outcomes().next(), (error) => error === ended);
    await nextTurn();
    stream.end(ended);
    stream.end(new Error('Again.'));
    await first;
    const none = open(numbers().source);
    none.stream.end();
    assert.equal(indexOf(await none.stream.outcomes().next()), 'end');
  });

  it('pulls nothing more once it is stopped, and tells its source once', async () => {
    const { state, source } = numbers();
    const { stream, batch, run } = open(source);
    const outcomes = stream.outcomes();
    const first = outcomes.next();
    await nextTurn();
    run(1);
    await first;
    stream.stop();
    stream.stop();
    assert.deepEqual([state.pulled, state.returns, batch.total], [4, 1, 4]);
    run(3);
    const rest = [await outcomes.next(), await outcomes.next(), await outcomes.next(), await outcomes.next()];
    assert.deepEqual(rest.map(indexOf), [1, 2, 3, 'end']);
    assert.equal(state.pulled, 4);
  });

  it('stops whatever its source makes of that', async () => {
    const failing = () => {
      throw new Error('Its own clean-up failed.');
    };
    for (const back of [undefined, failing, async () => failing()]) {
      const { stream, batch } = open({ ...numbers().source, return: back } as unknown as Iterator<unknown>);
      const first = stream.outcomes().next();
      await nextTurn();
      stream.stop();
      // A rejection that nobody hears would fail this test.
      await nextTurn();
      batch.abort();
      batch.endIfDone();
      assert.equal(indexOf(await first), 0);
    }
  });

  it('takes nothing from a source that answers after it was stopped, no item, no end and no error', async () => {
    const answers: [settle: 'resolve' | 'reject', what: unknown][] = [
      ['resolve', { done: false, value: 'late' }],
      ['resolve', { done: true, value: undefined }],
      ['reject', new Error('Late.')],
    ];
    for (const [settle, what] of answers) {
      const pulls: { resolve: (what: never) => void; reject: (what: unknown) => void }[] = [];
      const { stream, batch, aborted } = open({
        next: () => new Promise((resolve, reject) => pulls.push({ resolve, reject })),
      });
      const first = stream.outcomes().next();
      await nextTurn();
      stream.stop();
      pulls[0]?.[settle](what as never);
      assert.equal(indexOf(await first), 'end');
      assert.deepEqual([pulls.length, batch.total, batch.pending, aborted], [1, 0, 0, []]);
    }
  });

  it('lets go of what was read, also where it never runs empty', async () => {
    const { source } = numbers(1_000);
    const { stream, batch } = open(source);
    const outcomes = stream.outcomes();
    const seen: unknown[] = [];
    const put = (index: number) => stream.put({ ok: true, index, value: '', attempts: 1, ...TIMES });
    for (let index = 0; index < 3; index++) put(index);
    for (let index = 3; index < 300; index++) {
      seen.push(indexOf(await outcomes.next()));
      put(index);
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 297 }, (_, index) => index),
    );
    assert.equal(batch.isOver, false);
  });
});
