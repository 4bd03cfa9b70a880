import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { createTraceBuffer, TraceCells, type TracedRequest, TraceReader } from '../../lib/shared/trace-cells.ts';

/** One that is under way. */
const request = (position: number, number: number, fromNs: bigint): TracedRequest => ({
  position,
  request: number,
  fromNs,
  sentNs: undefined,
  endNs: undefined,
  isAnswered: false,
});

function open() {
  const buffer = createTraceBuffer();
  return { buffer, cells: new TraceCells(buffer), reader: new TraceReader(buffer) };
}

describe('the cells of a trace', () => {
  it('tell what was noted in them', () => {
    const { cells, reader } = open();
    const big = 2n ** 62n;
    const cell = cells.open(7, 1_023, 5, big);
    assert.deepEqual(reader.read(cell), request(1_023, 5, big));
    cells.sent(cell, big + 1n);
    assert.deepEqual(reader.read(cell), { ...request(1_023, 5, big), sentNs: big + 1n });
    cells.end(cell, big + 2n, true);
    const answered = { ...request(1_023, 5, big), sentNs: big + 1n, endNs: big + 2n, isAnswered: true };
    assert.deepEqual(reader.read(cell), answered);
    const silent = cells.open(7, 0, 0, 1n);
    cells.end(silent, 3n, false);
    assert.deepEqual(reader.read(silent), { ...request(0, 0, 1n), endNs: 3n });
    assert.deepEqual(reader.requestsOf(7), [answered, reader.read(silent)]);
  });

  it('hold what is in them until it is read or dropped, however many there are', () => {
    type Held = { readonly slot: number; readonly traced: TracedRequest };
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.tuple(fc.constant('open' as const), fc.integer({ min: 1, max: 900 })) },
      { weight: 3, arbitrary: fc.tuple(fc.constantFrom('free' as const, 'drop' as const), fc.nat(900)) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
        const { cells, reader } = open();
        const held = new Map<number, Held>();
        let next = 0;
        for (const [what, count] of steps) {
          if (what === 'open') {
            for (let n = 0; n < count; n++) {
              const traced = request(next % 1_024, next % 3, BigInt(++next));
              const slot = next % 2;
              const cell = cells.open(slot, traced.position, traced.request, traced.fromNs);
              assert.ok(!held.has(cell), 'a cell is one request’s only');
              held.set(cell, { slot, traced });
            }
          } else {
            for (const [cell, { traced }] of [...held].slice(0, count)) {
              if (what === 'free') {
                assert.deepEqual(reader.read(cell), traced);
                reader.free(cell);
              } else {
                cells.drop(cell);
              }
              held.delete(cell);
            }
          }
        }
        for (const [cell, { traced }] of held) assert.deepEqual(reader.read(cell), traced);
        for (const slot of [0, 1]) {
          const own = [...held.values()].filter((one) => one.slot === slot).map(({ traced }) => traced.fromNs);
          const found = reader.requestsOf(slot).map(({ fromNs }) => fromNs);
          assert.deepEqual(new Set(found), new Set(own));
          assert.equal(found.length, own.length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('grow only where less than half can be used again', () => {
    const { buffer, cells, reader } = open();
    const bytes = buffer.byteLength;
    for (let round = 0; round < 20; round++) {
      const taken = Array.from({ length: 512 }, () => cells.open(0, 0, 0, 1n));
      for (const cell of taken) reader.free(cell);
    }
    assert.equal(buffer.byteLength, bytes);
    const taken = Array.from({ length: 1_500 }, () => cells.open(0, 0, 0, 1n));
    assert.equal(new Set(taken).size, 1_500);
    assert.equal(buffer.byteLength, 2 * bytes);
  });

  it('are all used before there are more, and no more are made while half of them are free', () => {
    const { buffer, cells, reader } = open();
    const bytes = buffer.byteLength;
    const take = (count: number) => Array.from({ length: count }, () => cells.open(0, 0, 0, 1n));
    const first = take(1_024);
    assert.deepEqual([buffer.byteLength, new Set(first).size, Math.max(...first)], [bytes, 1_024, 1_023]);
    for (const cell of first.slice(0, 512)) reader.free(cell);
    take(512);
    assert.equal(buffer.byteLength, bytes);
    for (const cell of first.slice(0, 511)) reader.free(cell);
    take(511 + 1_024);
    assert.equal(buffer.byteLength, 2 * bytes);
    take(1);
    assert.equal(buffer.byteLength, 4 * bytes);
  });

  it('say nothing of the request that had them before', () => {
    const { cells, reader } = open();
    const cell = cells.open(0, 1, 2, 3n);
    cells.sent(cell, 4n);
    cells.end(cell, 5n, true);
    cells.drop(cell);
    assert.deepEqual(reader.requestsOf(0), []);
    assert.equal(cells.open(0, 6, 7, 8n), cell, 'the one that was dropped is the next');
    assert.deepEqual(reader.read(cell), request(6, 7, 8n));
  });

  it('outlive the thread that wrote them, also those that it has added', async () => {
    const buffer = createTraceBuffer();
    const reader = new TraceReader(buffer);
    const url = new URL('./fixtures/trace-cells.js', import.meta.url);
    const [code] = (await once(new Worker(url, { workerData: buffer }), 'exit')) as [number];
    assert.equal(code, 3);
    const found = reader.requestsOf(1);
    assert.equal(found.length, 5_000);
    for (const [n, traced] of found.sort((a, b) => a.position - b.position).entries()) {
      assert.deepEqual(traced, { ...request(n, 0, BigInt(n)), sentNs: BigInt(n + 1) });
    }
  });
});
