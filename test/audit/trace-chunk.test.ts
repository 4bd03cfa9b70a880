import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TraceRecord } from '../../lib/audit/trace-line.ts';
import type { Tracer } from '../../lib/audit/tracer.ts';
import type { Chunk } from '../../lib/batch/chunk.ts';
import { lostRecords, traceReply } from '../../lib/batch/trace-chunk.ts';
import { END, NOT_IDEMPOTENT, type Reply } from '../../lib/protocol.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { createTraceBuffer, TraceCells, TraceReader } from '../../lib/shared/trace-cells.ts';

const SLOT = 3;

/** A chunk of five items, from item 10 on, in a thread with these cells. */
function chunkOf(started: number, work: number) {
  const buffer = createTraceBuffer();
  const reader = new TraceReader(buffer);
  const chunk = {
    batch: { id: 1 },
    thread: { threadId: 2, trace: reader },
    work: { first: 10, items: new Array<unknown>(5).fill(0) },
    slotNumber: SLOT,
    slot: { started, work },
    settled: 0,
  };
  return { cells: new TraceCells(buffer), reader, chunk, asChunk: chunk as unknown as Chunk };
}

const replyOf = (ends: readonly number[], cells: readonly number[], from = 0): Reply => ({
  kind: 'reply',
  id: 1,
  from,
  ends,
  values: new Array<unknown>(ends.length).fill(undefined),
  waitsMs: undefined,
  durationsMs: [],
  cells,
  last: false,
  elapsedMs: 0,
});

const brief = ({ item, verdict, traced }: TraceRecord) => [item, verdict, traced?.request, traced?.endNs];

function traced(chunk: Chunk, reply: Reply): ReturnType<typeof brief>[] {
  const records: TraceRecord[] = [];
  traceReply(chunk, reply, { add: (record: TraceRecord) => records.push(record) } as unknown as Tracer);
  return records.map(brief);
}

describe('the trace of a chunk', () => {
  it('has a line for each attempt, sent or not, and each further request', () => {
    const { cells, asChunk } = chunkOf(4, 0);
    const open = (position: number, request: number, endNs: bigint) => {
      const cell = cells.open(SLOT, position, request, 1n);
      cells.end(cell, endNs, true);
      return cell;
    };
    const reply = replyOf(
      [END.notStarted, END.ok, END.retry | NOT_IDEMPOTENT, END.cancelled],
      [open(1, 0, 5n), open(1, 1, 6n), open(2, 1, 7n)],
    );
    assert.deepEqual(traced(asChunk, reply), [
      [10, 'not-started', undefined, undefined],
      [11, 'ok', 0, 5n],
      [11, 'ok', 1, 6n],
      // Its first request certainly never left.
      [12, 'retry', undefined, undefined],
      [12, 'retry', 1, 7n],
      [13, 'cancelled', undefined, undefined],
    ]);
  });

  it('has what was not reported when its thread died, and nothing twice', () => {
    const { cells, chunk, asChunk } = chunkOf(4, WORK.called);
    const ended = [0, 1].map((position) => {
      const cell = cells.open(SLOT, position, 0, 1n);
      cells.end(cell, 5n, position === 1);
      return cell;
    });
    const further = cells.open(SLOT, 3, 1, 1n);
    cells.open(SLOT, 3, 0, 1n);
    cells.open(SLOT + 1, 0, 0, 1n);
    cells.sent(further, 2n);
    assert.equal(traced(asChunk, replyOf([END.ok], ended.slice(0, 1))).length, 1);
    chunk.settled = 1;
    assert.deepEqual(lostRecords(asChunk).map(brief).sort(), [
      [11, 'lost', 0, 5n],
      // Done, and without a request that could have left.
      [12, 'lost', undefined, undefined],
      [13, 'lost', 0, undefined],
      [13, 'lost', 1, undefined],
    ]);
  });

  it('has a reply that never came', () => {
    const { cells, chunk, asChunk } = chunkOf(2, 0);
    cells.open(SLOT, 0, 0, 1n);
    const [next = 0] = [cells.open(SLOT, 1, 0, 1n)];
    traced(asChunk, replyOf([END.ok], [next], 1));
    chunk.settled = 2;
    assert.deepEqual(lostRecords(asChunk).map(brief), [[10, 'lost', 0, undefined]]);
  });

  it('tells an attempt that was only claimed from one that was called', () => {
    for (const [work, verdict] of [
      [WORK.waiting, 'not-started'],
      [WORK.called, 'lost'],
    ] as const) {
      const { asChunk } = chunkOf(1, work);
      assert.deepEqual(lostRecords(asChunk).map(brief), [[10, verdict, undefined, undefined]]);
    }
  });
});
