import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { END, NOT_IDEMPOTENT } from '../../lib/protocol.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, RULES, recordOf, Stage } from './played-threads.ts';

const items = ({ given }: Stage, from = 0) => given.slice(from).map(({ task }) => task.items);
const places = ({ given }: Stage, from = 0) => given.slice(from).map(({ thread }) => thread.place);
const batches = ({ given }: Stage) => given.map(({ task }) => task.batch);

describe('handing out', () => {
  it('gives batches turns, chunk by chunk', () => {
    const stage = new Stage([1]);
    stage.run(itemsUpTo(3));
    stage.run(itemsUpTo(2));
    stage.run(itemsUpTo(1));
    for (let number = 0; number < 6; number++) stage.finish(number);
    assert.deepEqual(batches(stage), [1, 1, 2, 3, 1, 2]);
    assert.deepEqual(
      stage.over.map(({ id }) => id),
      [3, 1, 2],
    );
    assert.ok(stage.dispatcher.isIdle && !stage.dispatcher.hasWork);
  });

  it('begins a batch with chunks of the size that the last one that ended has found to fit', () => {
    const stage = new Stage([1, 1]);
    const add = (count: number) => {
      const played = stage.batch(itemsUpTo(count));
      stage.dispatcher.add(played.batch);
      return played.batch;
    };
    add(1);
    assert.equal(stage.gift(0).task.items.length, 1);
    const beside = add(1);
    assert.equal(stage.gift(1).task.items.length, 1, 'nothing is known yet');
    stage.finish(0, [END.ok], { elapsedMs: 4 });
    beside.endWith(new Error('Nothing of it has come back.'));
    stage.dispatcher.endIfDone(beside);
    add(40);
    assert.deepEqual(
      stage.given.slice(-2).map(({ task }) => task.items.length),
      [1, 4],
    );
  });

  it('gives the next chunk to the thread with the most free lanes, never more than lanes', () => {
    const stage = new Stage([1, 3, 2]);
    stage.run(itemsUpTo(20));
    assert.deepEqual(places(stage), [1, 1, 2, 0, 1, 2]);
    stage.finish(3);
    assert.deepEqual(places(stage, 6), [0]);
  });

  it('gives threads a reserve, the same to each, and no more than that in all', () => {
    for (const [reserve, given] of [
      [0, [1, 1, 0]],
      [1, [1, 1, 0, 0]],
      [2, [1, 1, 0, 0, 1]],
      [3, [1, 1, 0, 0, 1, 1]],
      [99, [1, 1, 0, 0, 1, 1]],
    ] as const) {
      const stage = new Stage([1, 2], { reserve });
      stage.run(itemsUpTo(20));
      assert.deepEqual(places(stage).toSorted(), [...given].sort(), `${reserve}`);
      assert.ok(places(stage).slice(0, 3).includes(0), 'free lanes first');
    }
  });

  it('gives nothing to threads that are not ready, nor without any', () => {
    const stage = new Stage([1, 1]);
    for (const thread of stage.threads) thread.state = 'starting';
    const played = stage.run(itemsUpTo(3));
    assert.deepEqual([stage.given.length, played.batch.pending], [0, 3]);
    stage.thread(1).state = 'ready';
    stage.dispatcher.pump();
    assert.deepEqual(places(stage), [1]);
    stage.thread(1).state = 'dying';
    stage.finish(0);
    assert.deepEqual(places(stage), [1]);
  });

  it('tells each thread what it needs to know', () => {
    const stage = new Stage([1]);
    stage.credentials = { token: 1 };
    stage.run(itemsUpTo(5), {}, 9);
    const { credentials, generation, isProbe, first, items: own } = stage.gift(0).task;
    assert.deepEqual(
      { credentials, generation, isProbe, first, own },
      {
        ...{ credentials: { token: 1 }, generation: 0, isProbe: false, first: 0, own: ['item 0', 'item 1', 'item 2'] },
      },
    );
    assert.equal([...stage.dispatcher.chunks][0]?.sentAtMs, stage.nowMs);
  });

  it('stops while it is closed, and goes on with the generation that it is opened with', () => {
    const stage = new Stage([1]);
    const { dispatcher } = stage;
    stage.run(itemsUpTo(3));
    assert.deepEqual([dispatcher.isOpen, dispatcher.generation], [true, 0]);
    dispatcher.close();
    stage.finish(0);
    stage.nowMs += 1_000;
    dispatcher.stealTails();
    dispatcher.limitProbes(undefined);
    assert.deepEqual([stage.given.length, dispatcher.isOpen], [1, false]);
    dispatcher.open(7);
    assert.deepEqual([stage.gift(1).task.generation, dispatcher.isOpen, dispatcher.generation], [7, true, 7]);
    const outBelow = (generation: number) => [...dispatcher.outstandingBelow(generation)].length;
    assert.deepEqual([outBelow(7), outBelow(8), outBelow(6)], [0, 1, 0]);
    // Generations go round.
    assert.deepEqual([outBelow((7 + 2 ** 31 - 1) | 0), outBelow((7 - 2 ** 31 + 1) | 0)], [1, 0]);
  });

  it('does not hand out batches that are over', () => {
    const stage = new Stage([1]);
    stage.run(itemsUpTo(2));
    const over = stage.run(itemsUpTo(2));
    over.batch.endWith(new Error('Over.'));
    stage.finish(0);
    stage.finish(1);
    assert.deepEqual(batches(stage), [1, 1]);
  });

  it('has work while something is out, waits, is delayed or lost', () => {
    const stage = new Stage([1]);
    const { dispatcher } = stage;
    assert.deepEqual([dispatcher.hasWork, dispatcher.isIdle], [false, true]);
    const played = stage.run(itemsUpTo(1));
    assert.deepEqual([dispatcher.hasWork, dispatcher.isIdle], [true, false]);
    stage.finish(0, [END.retry]);
    assert.deepEqual([played.batch.delayed.size, dispatcher.hasWork, dispatcher.isIdle], [1, true, false]);
    const [entry] = played.batch.delayed.takeAll();
    assert.ok(entry);
    assert.deepEqual([dispatcher.hasWork, dispatcher.isIdle, dispatcher.batches.size], [false, false, 1]);
    played.batch.lost.push(entry);
    assert.equal(dispatcher.hasWork, true);
    played.batch.lost.length = 0;
    dispatcher.close();
    played.batch.putBack([entry]);
    assert.equal(dispatcher.hasWork, true);
    dispatcher.open(1);
    dispatcher.failAll(new Error('Over.'));
    assert.deepEqual([dispatcher.batches.size, dispatcher.hasWork, dispatcher.isIdle], [0, true, false]);
    stage.finish(1);
    assert.deepEqual([dispatcher.hasWork, dispatcher.isIdle], [false, true]);
  });

  it('ends every batch when the engine cannot go on', () => {
    const stage = new Stage([1]);
    const all = [stage.run(itemsUpTo(2)), stage.run(itemsUpTo(2))];
    const why = new Error('No threads.');
    stage.dispatcher.failAll(why);
    assert.deepEqual(
      all.map(({ ends }) => ends),
      [[why], [why]],
    );
    assert.equal(stage.over.length, 2);
    stage.finish(0);
    assert.equal(stage.given.length, 1);
  });
});

describe('a reply', () => {
  it('settles what it tells of; its chunk is over with the last one, and what was not claimed is put back', () => {
    const stage = new Stage([1]);
    const { dispatcher } = stage;
    let ends = 0;
    dispatcher.watchChunks(() => ends++);
    const played = stage.run(itemsUpTo(6), {}, 9);
    assert.equal(stage.gift(0).task.items.length, 3);
    stage.finish(0, [END.ok], { last: false });
    const [chunk] = dispatcher.chunks;
    assert.deepEqual([played.results.length, chunk?.settled, ends, stage.given.length], [1, 1, 0, 1]);
    assert.deepEqual(played.batch.sizing, { itemMs: 1, size: 9 });
    stage.finish(0, [END.ok], { from: 1, elapsedMs: 8 });
    assert.deepEqual([played.results.length, chunk?.settled, ends], [2, 2, 1]);
    assert.deepEqual(played.batch.sizing, { itemMs: 4, size: 4 }, 'two items in 8 ms');
    assert.deepEqual(items(stage, 1), [['item 2']]);
    assert.equal(stage.thread().load, 1);
  });

  it('counts what the chunk has counted', () => {
    const stage = new Stage([1]);
    const { batch } = stage.run(itemsUpTo(2));
    stage.gift(0).slot.countSent();
    stage.gift(0).slot.countRefused();
    stage.finish(0, [END.refused]);
    assert.deepEqual([batch.counts.sent, batch.counts.refused], [1, 1]);
  });

  it('of a chunk that is not out, or not with this thread, says nothing', () => {
    const stage = new Stage([1, 1]);
    const played = stage.run(itemsUpTo(4));
    const { task } = stage.gift(0);
    stage.dispatcher.onReply(stage.thread(1), stage.reply(task.id, [END.ok]));
    stage.dispatcher.onReply(stage.thread(0), stage.reply(999, [END.ok]));
    assert.deepEqual([played.results, stage.given.length], [[], 2]);
    stage.finish(0);
    stage.finish(0);
    assert.deepEqual(played.results, [[0, 'ok']]);
  });

  it('is not taken if the one before it is missing, nor twice: the end of its thread settles what it told of', () => {
    const stage = new Stage([1]);
    const played = stage.run(itemsUpTo(6), {}, 9);
    const { task, thread, slot } = stage.gift(0);
    for (let position = 0; position < 3; position++) slot.claim(position);
    slot.work = WORK.ended;
    stage.finish(0, [END.ok], { last: false });
    stage.dispatcher.onReply(thread, stage.reply(task.id, [END.ok], { last: false }));
    stage.dispatcher.onReply(thread, stage.reply(task.id, [END.ok], { from: 2 }));
    const [chunk] = stage.dispatcher.chunks;
    assert.deepEqual([played.results, chunk?.settled, stage.given.length], [[[0, 'ok']], 1, 1]);
    stage.lose(thread);
    // They may have killed it.
    assert.deepEqual([played.batch.lost.map(({ index }) => index), played.batch.pending], [[1, 2], 3]);
  });

  it('says of which generation the upstream has answered an item', () => {
    const stage = new Stage([1]);
    const { dispatcher } = stage;
    const answered = () => [-1, 0, 1, 2].filter((generation) => dispatcher.hasAnswered(generation));
    stage.run(itemsUpTo(9));
    stage.finish(0, [END.refused]);
    assert.deepEqual(answered(), [-1]);
    stage.finish(1);
    assert.deepEqual(answered(), [0]);
    dispatcher.close();
    dispatcher.open(1);
    // What is out is of the generation before.
    stage.finish(2);
    assert.deepEqual(answered(), [0]);
    stage.finish(3, [END.fatal]);
    assert.deepEqual(answered(), [1]);
  });

  it('is written to the trace', () => {
    const stage = new Stage([1], { isTracing: true });
    stage.run(itemsUpTo(2));
    stage.finish(0);
    assert.equal(stage.traced.length, 1);
    stage.gift(1).slot.claim(0);
    stage.gift(1).slot.work = WORK.called | WORK.sent;
    stage.lose(stage.thread());
    assert.deepEqual(
      stage.lost.map(({ threadId, records }) => [threadId, records.length]),
      [[1, 1]],
    );
  });

  it('ends a batch, also where it is not the last of its chunk', () => {
    const stage = new Stage([1]);
    const played = stage.run(itemsUpTo(1));
    stage.finish(0, [END.ok], { last: false });
    assert.deepEqual([stage.over, played.ends], [[played.batch], [undefined]]);
    assert.equal(stage.dispatcher.isIdle, false);
  });
});

describe('idle lanes', () => {
  it('take a chunk that another thread has in reserve, unless that has begun', () => {
    for (const isBegun of [false, true]) {
      const stage = new Stage([1, 1], { reserve: 2 });
      const played = stage.run(itemsUpTo(4));
      assert.deepEqual(places(stage).sort(), [0, 0, 1, 1]);
      const [inWork, inReserve] = stage.given.filter(({ thread }) => thread.place === 0);
      inWork?.slot.claim(0);
      if (isBegun) inReserve?.slot.claim(0);
      for (const [number, { thread }] of stage.given.entries()) if (thread.place === 1) stage.finish(number);
      assert.deepEqual(places(stage, 4), isBegun ? [] : [1]);
      if (isBegun) continue;
      assert.deepEqual(items(stage, 4), [inReserve?.task.items]);
      // The thread that had it finds it closed.
      assert.equal(inReserve?.slot.claim(0), false);
      stage.dispatcher.onReply(stage.thread(0), stage.reply(inReserve?.task.id ?? 0, []));
      assert.equal(played.batch.pending, 0);
      assert.equal(stage.given.length, 5);
    }
  });

  it('take no chunk from a thread that has no more than lanes, and none twice', () => {
    const stage = new Stage([2, 2], { reserve: 4 });
    stage.run(itemsUpTo(4));
    for (const [number, { thread }] of stage.given.entries()) if (thread.place === 1) stage.finish(number);
    assert.deepEqual(stage.given.length, 4, 'thread 0 has two lanes and two chunks');
  });

  it('take the tail of a chunk that has been out for more than 20 ms', () => {
    const stage = new Stage([1, 1]);
    const played = stage.run(itemsUpTo(5), {}, 9);
    assert.deepEqual(items(stage), [['item 0', 'item 1'], ['item 2']]);
    stage.gift(0).slot.claim(0);
    const steal = (afterMs: number) => {
      stage.nowMs = 1_000 + afterMs;
      stage.dispatcher.stealTails();
      return items(stage, 4);
    };
    for (const number of [1, 2]) stage.finish(number, undefined, { elapsedMs: 99 });
    assert.equal(played.batch.pending, 0);
    assert.deepEqual(steal(21), [], 'no lane is free');
    assert.equal([...stage.dispatcher.chunks].find(({ work }) => work.first === 0)?.end, 2);
    stage.nowMs = 1_000;
    stage.finish(3, undefined, { elapsedMs: 99 });
    assert.deepEqual([played.batch.pending, stage.given.length], [0, 4]);
    assert.deepEqual(steal(20), []);
    assert.deepEqual(steal(21), [['item 1']]);
    stage.finish(0, [END.ok]);
    stage.finish(4);
    assert.deepEqual([played.results.length, stage.over.length], [5, 1]);
  });

  it('take no tail while a batch has more to hand out, nor of a chunk that is claimed whole', () => {
    const stage = new Stage([1, 1]);
    stage.run(itemsUpTo(5), {}, 9);
    const { slot } = stage.gift(0);
    slot.claim(0);
    slot.claim(1);
    for (const number of [1, 2, 3]) stage.finish(number, undefined, { elapsedMs: 99 });
    stage.nowMs += 1_000;
    stage.dispatcher.stealTails();
    assert.equal(stage.given.length, 4);
    assert.equal(slot.claim(2), true, 'it was not closed');
  });
});

describe('a chunk that was not sent', () => {
  const why = new Error('It cannot be cloned.');

  it('fails the items that cannot be cloned, and hands out the others again', () => {
    const stage = new Stage([1]);
    const played = stage.run([() => {}, 'item 1', 'item 2', 'item 3'], {}, 9);
    assert.equal(stage.gift(0).task.items.length, 2);
    stage.dispatcher.onNotSent(stage.gift(0).task.id, stage.thread(), why);
    assert.deepEqual(played.results, [[0, 'NOT_CLONEABLE']]);
    const error = played.failures[0]?.error;
    assert.deepEqual(error?.cause, { name: 'Error', message: 'It cannot be cloned.' });
    assert.deepEqual([error?.possiblyExecuted, error?.attempts], [false, 0]);
    assert.deepEqual(items(stage, 1), [['item 1']]);
    assert.equal(stage.thread().load, 1);
  });

  it('is closed, so that its thread, if it has got it after all, begins none of its items', () => {
    const stage = new Stage([1]);
    const played = stage.run([() => {}]);
    stage.dispatcher.onNotSent(stage.gift(0).task.id, stage.thread(), why);
    assert.deepEqual(played.results, [[0, 'NOT_CLONEABLE']]);
    assert.equal(stage.gift(0).slot.claim(0), false);
  });

  it('fails also an item that could be cloned here, after three times', () => {
    const stage = new Stage([1]);
    const played = stage.run(itemsUpTo(1));
    for (let number = 0; number < 3; number++) {
      assert.deepEqual(played.results, []);
      stage.dispatcher.onNotSent(stage.gift(number).task.id, stage.thread(), why);
    }
    assert.deepEqual([played.results, stage.over.length, stage.given.length], [[[0, 'NOT_CLONEABLE']], 1, 3]);
  });

  it('is not judged if its thread is dying, has begun it, or it is over', () => {
    const stage = new Stage([1, 1]);
    const played = stage.run(itemsUpTo(2));
    const [one, two] = [stage.gift(0), stage.gift(1)];
    one.thread.state = 'dying';
    stage.dispatcher.onNotSent(one.task.id, one.thread, why);
    assert.equal(one.slot.claim(0), true, 'it is not closed');
    two.slot.claim(0);
    stage.dispatcher.onNotSent(two.task.id, two.thread, why);
    stage.dispatcher.onNotSent(999, two.thread, why);
    assert.deepEqual([played.results, stage.given.length, [...stage.dispatcher.chunks].length], [[], 2, 2]);
  });
});

describe('a thread that is gone', () => {
  it('gives back what it had, to others', () => {
    const stage = new Stage([1, 1], { reserve: 2 });
    const played = stage.run(itemsUpTo(4));
    let ends = 0;
    stage.dispatcher.watchChunks(() => ends++);
    stage.lose(stage.thread(0));
    assert.deepEqual([ends, stage.thread(0).load, played.batch.pending], [2, 0, 2]);
    assert.deepEqual(stage.timeouts, [], 'nobody ended it');
    for (const [number, { thread }] of stage.given.entries()) if (thread.place === 1) stage.finish(number);
    assert.ok(places(stage, 4).every((place) => place === 1));
    assert.equal(played.results.length + [...stage.dispatcher.chunks].length, 4);
  });

  it('tells of items that ignored their timeout, and if they were probes, but not of aborted ones', () => {
    for (const isAborted of [false, true]) {
      for (const isProbe of [false, true]) {
        const stage = new Stage([1]);
        if (isProbe) stage.dispatcher.limitProbes(1);
        const played = stage.run(itemsUpTo(1));
        stage.gift(0).slot.claim(0);
        stage.gift(0).slot.work = WORK.called | WORK.idempotent;
        const [chunk] = stage.dispatcher.chunks;
        assert.ok(chunk);
        chunk.blame = 'guilty';
        played.batch.isAborted = isAborted;
        stage.lose(stage.thread());
        assert.deepEqual(stage.timeouts, isAborted ? [] : [isProbe]);
      }
    }
  });

  it('folds its counts, and ends a batch that has all its outcomes now', () => {
    const stage = new Stage([1]);
    const played = stage.run(itemsUpTo(1));
    const { slot } = stage.gift(0);
    slot.claim(0);
    slot.countSent();
    slot.work = WORK.called | WORK.sent;
    stage.lose(stage.thread());
    assert.deepEqual([played.batch.counts.sent, played.results], [1, [[0, 'IN_DOUBT']]]);
    assert.deepEqual(stage.over, [played.batch]);
  });
});

describe('an item that was lost', () => {
  /** Thread 0 has died with an item that may have killed it; thread 1 has two lanes at work. */
  function lose(count = 6) {
    const stage = new Stage([1, 2]);
    const played = stage.run(itemsUpTo(count));
    const number = stage.given.findIndex(({ thread }) => thread.place === 0);
    const { slot, task } = stage.gift(number);
    slot.claim(0);
    slot.work = WORK.called | WORK.idempotent;
    stage.lose(stage.thread(0));
    const others = [...stage.given.keys()].filter((at) => at !== number);
    return { stage, played, item: task.items[0], others };
  }

  it('runs alone, in a thread that has become empty for it, and then the others go on', () => {
    const { stage, item, others, played } = lose();
    assert.equal(stage.given.length, 3);
    stage.finish(others[0] ?? 0);
    assert.equal(stage.given.length, 3, 'one is still there');
    stage.finish(others[1] ?? 0);
    assert.deepEqual(items(stage, 3), [[item]]);
    const [chunk] = stage.dispatcher.chunks;
    assert.deepEqual([chunk?.isAlone, places(stage, 3), stage.gift(3).task.attempts], [true, [1], [1]]);
    stage.nowMs += 1_000;
    stage.dispatcher.stealTails();
    stage.dispatcher.pump();
    assert.equal(stage.given.length, 4, 'nothing beside it');
    stage.finish(3);
    assert.deepEqual([places(stage, 4), played.results.length], [[1, 1], 3]);
    const all = [...stage.dispatcher.chunks];
    assert.ok(all.every(({ isAlone }) => !isAlone));
  });

  it('runs alone again if it came back without having run', () => {
    const { stage, item, others } = lose();
    for (const other of others) stage.finish(other);
    stage.finish(3, [END.cancelled]);
    assert.deepEqual([items(stage, 4), [...stage.dispatcher.chunks][0]?.isAlone], [[[item]], true]);
    // Also if its lane did not come to it at all.
    stage.dispatcher.onReply(stage.thread(1), stage.reply(stage.gift(4).task.id, []));
    assert.deepEqual([items(stage, 5), [...stage.dispatcher.chunks][0]?.isAlone], [[[item]], true]);
  });

  it('ends with its batch if that is aborted before its lane came to it', () => {
    const { stage, others, played } = lose(3);
    for (const other of others) stage.finish(other);
    played.batch.isAborted = true;
    stage.dispatcher.onReply(stage.thread(1), stage.reply(stage.gift(3).task.id, []));
    assert.deepEqual(played.results.map(([, end]) => end).sort(), ['ABORTED', 'ok', 'ok']);
    assert.deepEqual([played.batch.lost, stage.over], [[], [played.batch]]);
  });

  it('gets the thread with the least to do, or another one if that dies', () => {
    const stage = new Stage([1, 3, 2, 2]);
    stage.run(itemsUpTo(30));
    const at = (place: number) => [...stage.given.entries()].filter(([, { thread }]) => thread.place === place);
    const [[, suspect] = [undefined, undefined]] = at(0);
    suspect?.slot.claim(0);
    if (suspect !== undefined) suspect.slot.work = WORK.called | WORK.idempotent;
    stage.lose(stage.thread(0));
    const before = stage.given.length;
    // Thread 2 is the first with two; the others get more.
    for (const [number] of at(3).slice(0, 1)) stage.finish(number);
    assert.deepEqual(places(stage, before), [3]);
    for (const [number] of at(2).slice(0, 1)) stage.finish(number);
    assert.deepEqual(places(stage, before), [3], 'nothing more for thread 2');
    stage.lose(stage.thread(2));
    const then = stage.given.length;
    for (const [number] of at(3).slice(-2)) stage.finish(number);
    assert.deepEqual(
      stage.given.slice(then).map(({ thread, task }) => [thread.place, task.items]),
      [[3, suspect?.task.items]],
    );
  });
});

describe('a half-open circuit', () => {
  it('lets so many items be out at a time, one by one', () => {
    const stage = new Stage([3]);
    const { dispatcher } = stage;
    dispatcher.limitProbes(1);
    stage.run(itemsUpTo(9), {}, 9);
    assert.deepEqual(items(stage), [['item 0']]);
    assert.equal(stage.gift(0).task.isProbe, true);
    dispatcher.limitProbes(2);
    assert.deepEqual(items(stage, 1), [['item 1']]);
    stage.finish(0);
    assert.equal(stage.given.length, 3);
    dispatcher.limitProbes(undefined);
    assert.ok(stage.given.length > 3 && stage.gift(3).task.isProbe === false);
  });

  it('is told how each probe ended, as far as that says something of the upstream', () => {
    const network = recordOf('NETWORK');
    const handler = recordOf('HANDLER');
    for (const [end, value, told] of [
      [END.ok, 'value', ['success']],
      [END.ok | NOT_IDEMPOTENT, 'value', ['success']],
      [END.fatal, network, ['failure']],
      [END.fatal | NOT_IDEMPOTENT, network, ['failure']],
      [END.retry, network, ['failure']],
      [END.fatal, handler, []],
      [END.cancelled, undefined, []],
      [END.notStarted, undefined, []],
    ] as const) {
      const stage = new Stage([1]);
      stage.dispatcher.limitProbes(1);
      stage.run(itemsUpTo(1));
      stage.finish(0, [end], { values: [value] });
      assert.deepEqual(stage.probes, told, `end ${end}`);
    }
    const stage = new Stage([1]);
    stage.dispatcher.limitProbes(1);
    stage.run(itemsUpTo(1));
    stage.finish(0, [END.ok], { ends: undefined });
    assert.deepEqual(stage.probes, ['success']);
  });

  it('hears nothing of items that were no probes, nor of a probe whose lane did not come to it', () => {
    const stage = new Stage([1]);
    stage.run(itemsUpTo(3));
    stage.dispatcher.limitProbes(1);
    stage.finish(0);
    stage.dispatcher.onReply(stage.thread(), stage.reply(stage.gift(1).task.id, []));
    assert.deepEqual(stage.probes, []);
    assert.deepEqual(items(stage, 2), [['item 1']]);
  });

  it('lets a lost item be a probe, too', () => {
    const stage = new Stage([1, 1]);
    stage.run(itemsUpTo(2));
    const { slot, thread } = stage.gift(0);
    slot.claim(0);
    slot.work = WORK.called | WORK.idempotent;
    stage.dispatcher.limitProbes(1);
    stage.lose(thread);
    assert.equal(stage.given.length, 2);
    stage.finish(1);
    assert.deepEqual([items(stage, 2), stage.gift(2).task.isProbe], [[['item 0']], true]);
  });
});

describe('rules of a batch', () => {
  it('are its own, whatever others have', () => {
    const stage = new Stage([1]);
    const once = stage.run(itemsUpTo(1), { rules: { ...RULES, maxAttempts: 1 } });
    const again = stage.run(itemsUpTo(1));
    stage.finish(0, [END.retry]);
    stage.finish(1, [END.retry]);
    assert.deepEqual([once.results, again.results, again.retries.length], [[[0, 'NETWORK']], [], 1]);
  });
});
