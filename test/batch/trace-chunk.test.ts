import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TraceRecord } from '../../lib/audit/trace-line.ts';
import { lostRecords, traceReply } from '../../lib/batch/trace-chunk.ts';
import { END, NOT_IDEMPOTENT } from '../../lib/protocol.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, Stage } from './played-threads.ts';

/** A batch of five whose items 1 to 3 are a chunk with thread 1, which notes its requests. */
function bench({ isTracing = true } = {}) {
  const stage = new Stage([1], { isTracing });
  const played = stage.batch(itemsUpTo(5));
  stage.chunk(played, 1);
  const chunk = stage.chunk(played, 3);
  const cells = stage.cells[0];
  const open = (position: number, request = 0, fromNs = 10n) =>
    cells?.open(chunk.slotNumber, position, request, fromNs) ?? assert.fail('it is not traced');
  return { stage, played, chunk, open };
}

/** What a record says, without what all have in common. */
const brief = (records: readonly TraceRecord[]) =>
  records.map(({ item, verdict, traced }) => [item, verdict, traced?.request ?? '-', traced?.fromNs ?? '-']);

describe('traceReply', () => {
  it('writes a line for each attempt, with its request if there was one', () => {
    const { stage, chunk, open } = bench();
    const cells = [open(0), open(2, 0, 30n)];
    traceReply(chunk, stage.reply(2, [END.ok, END.cancelled, END.retry], { cells }), stage.tracer);
    assert.deepEqual(brief(stage.traced), [
      [1, 'ok', 0, 10n],
      [2, 'cancelled', '-', '-'],
      [3, 'retry', 0, 30n],
    ]);
    const [first] = stage.traced;
    assert.deepEqual([first?.batch, first?.attempt, first?.thread], [1, 1, 1]);
    assert.deepEqual(chunk.thread.trace?.requestsOf(chunk.slotNumber), [], 'the cells are free again');
  });

  it('writes a line for each further request', () => {
    const { stage, chunk, open } = bench();
    const cells = [open(0, 0), open(0, 1, 20n), open(1, 1, 40n)];
    traceReply(chunk, stage.reply(2, [END.ok, END.fatal], { cells }), stage.tracer);
    assert.deepEqual(brief(stage.traced), [
      [1, 'ok', 0, 10n],
      [1, 'ok', 1, 20n],
      [2, 'fatal', '-', '-'],
      [2, 'fatal', 1, 40n],
    ]);
  });

  it('has a verdict for every end', () => {
    for (const [end, verdict] of [
      [END.ok, 'ok'],
      [END.fatal, 'fatal'],
      [END.retry, 'retry'],
      [END.refused, 'refused'],
      [END.cancelled, 'cancelled'],
      [END.aborted, 'aborted'],
      [END.notStarted, 'not-started'],
      [END.stale, 'retry'],
      [15, 'fatal'],
    ] as const) {
      const { stage, chunk } = bench();
      traceReply(chunk, stage.reply(2, [end, end | NOT_IDEMPOTENT]), stage.tracer);
      assert.deepEqual(brief(stage.traced), [
        [1, verdict, '-', '-'],
        [2, verdict, '-', '-'],
      ]);
    }
  });

  it('counts positions from where the reply begins, and takes one without ends for successes', () => {
    const { stage, chunk, open } = bench();
    const reply = stage.reply(2, [END.ok, END.ok], { from: 1, ends: undefined, cells: [open(1), open(2)] });
    traceReply(chunk, reply, stage.tracer);
    assert.deepEqual(brief(stage.traced), [
      [2, 'ok', 0, 10n],
      [3, 'ok', 0, 10n],
    ]);
  });

  it('knows index and attempt of items that were out before', () => {
    const { stage, played, chunk } = bench();
    const entries = chunk.leftOver();
    const [, second] = entries;
    assert.ok(second);
    second.attempts = 4;
    played.batch.putBack([second]);
    traceReply(stage.chunk(played, 1), stage.reply(3, [END.ok]), stage.tracer);
    assert.deepEqual([stage.traced[0]?.item, stage.traced[0]?.attempt], [2, 5]);
  });

  it('writes lines also for a thread that notes nothing', () => {
    const { stage, chunk } = bench({ isTracing: false });
    traceReply(chunk, stage.reply(2, [END.ok], { cells: [0] }), stage.tracer);
    assert.deepEqual(brief(stage.traced), [[1, 'ok', '-', '-']]);
  });
});

describe('lostRecords', () => {
  it('has the requests that were under way, and of the others whether they were called', () => {
    const { stage, chunk, open } = bench();
    for (const position of [0, 1, 2]) chunk.slot.claim(position);
    chunk.slot.work = WORK.waiting;
    open(1);
    open(1, 1, 20n);
    assert.deepEqual(brief(lostRecords(chunk)), [
      [2, 'lost', 0, 10n],
      [2, 'lost', 1, 20n],
      [1, 'lost', '-', '-'],
      [3, 'not-started', '-', '-'],
    ]);
    for (const work of [WORK.called, WORK.called | WORK.sent, WORK.ended]) {
      chunk.slot.work = work;
      assert.deepEqual(brief(lostRecords(chunk)).at(-1), [3, 'lost', '-', '-']);
    }
    assert.equal(stage.traced.length, 0);
  });

  it('leaves out what was reported, and what was never claimed', () => {
    const { chunk } = bench();
    chunk.slot.claim(0);
    chunk.slot.claim(1);
    chunk.settled = 1;
    assert.deepEqual(brief(lostRecords(chunk)), [[2, 'not-started', '-', '-']]);
  });

  it('has a line for an attempt of which only a further request is known', () => {
    const { chunk, open } = bench();
    chunk.slot.claim(0);
    chunk.slot.work = WORK.called;
    open(0, 1);
    assert.deepEqual(brief(lostRecords(chunk)), [
      [1, 'lost', 1, 10n],
      [1, 'lost', '-', '-'],
    ]);
  });

  it('knows nothing of requests of a thread that notes nothing', () => {
    const { chunk } = bench({ isTracing: false });
    chunk.slot.claim(0);
    assert.deepEqual(brief(lostRecords(chunk)), [[1, 'not-started', '-', '-']]);
  });
});
