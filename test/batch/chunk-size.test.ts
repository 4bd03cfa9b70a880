import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ChunkSizing, INITIAL_SIZING, inherit, learn, nextChunkSize } from '../../lib/batch/chunk-size.ts';

const TARGET_MS = 16;
const WORTH_MS = 0.25;
const MAX_ITEMS = 1_024;

const chunk = fc.record({
  items: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: MAX_ITEMS })),
  itemMs: fc.oneof(
    fc.constant(0),
    fc.double({ min: 0, max: 0.1, noNaN: true }),
    fc.double({ min: 0, max: 60_000, noNaN: true }),
  ),
});
const history = fc.array(chunk, { maxLength: 30 });
const learnAll = (chunks: readonly { items: number; itemMs: number }[]): ChunkSizing =>
  chunks.reduce((sizing, { items, itemMs }) => learn(sizing, items, items * itemMs), INITIAL_SIZING);

describe('the size of chunks', () => {
  it('is one item while nothing is known', () => {
    assert.equal(nextChunkSize(INITIAL_SIZING, 1_000_000, 8), 1);
  });

  it('is never more than fits into a few milliseconds, but at least one item', () => {
    fc.assert(
      fc.property(history, chunk, (chunks, { items, itemMs }) => {
        const sizing = learn(learnAll(chunks), items, items * itemMs);
        assert.ok(Number.isSafeInteger(sizing.size) && sizing.size >= 1 && sizing.size <= MAX_ITEMS);
        if (sizing.size > 1) {
          assert.ok(sizing.size * (sizing.itemMs ?? Number.NaN) <= TARGET_MS, 'by what is known');
          // The average lags behind items that have become slower by nothing.
          assert.ok(sizing.size * itemMs <= TARGET_MS * (1 + 1e-9), 'by what was seen last');
        }
      }),
      { numRuns: 500 },
    );
  });

  it('goes down at once when items become slow', () => {
    const quick = learnAll(new Array(12).fill({ items: 512, itemMs: 0.002 }));
    assert.ok(quick.size > 500);
    assert.equal(learn(quick, 4, 4 * 2).size, 8);
    assert.equal(learn(quick, 4, 4 * 100).size, 1);
  });

  it('goes up gradually when items become quick', () => {
    fc.assert(
      fc.property(history, chunk, (chunks, { items, itemMs }) => {
        const before = learnAll(chunks);
        const after = learn(before, items, items * itemMs);
        assert.ok(after.size <= Math.max(1, 4 * items), 'four times the last chunk');
        if (before.itemMs !== undefined) {
          assert.ok((after.itemMs ?? Number.NaN) >= before.itemMs / 2 - 1e-12, 'half of what was known');
        }
      }),
      { numRuns: 500 },
    );
  });

  it('comes to what fits within a few chunks', () => {
    for (const [itemMs, size] of [
      [0, 1_024],
      [0.001, 1_024],
      [0.04, 400],
      [0.5, 32],
      [1.5, 10],
      [6, 2],
      [12, 1],
      [500, 1],
    ] as const) {
      let sizing = INITIAL_SIZING;
      for (let n = 0; n < 6; n++) sizing = learn(sizing, sizing.size, sizing.size * itemMs);
      assert.ok(Math.abs(sizing.size - size) <= 1, `${sizing.size} items of ${itemMs} ms`);
    }
  });

  it('recovers from one slow item', () => {
    let sizing = learnAll([...new Array(12).fill({ items: 512, itemMs: 0.002 }), { items: 1, itemMs: 1_000 }]);
    assert.equal(sizing.size, 1);
    let chunks = 0;
    for (; sizing.size < 500 && chunks < 100; chunks++) sizing = learn(sizing, sizing.size, sizing.size * 0.002);
    assert.ok(chunks < 30, `it took ${chunks} chunks`);
  });

  it('learns nothing from a chunk of which nothing was done', () => {
    const known = learn(INITIAL_SIZING, 4, 2);
    assert.equal(learn(known, 0, 500), known);
  });
});

describe('the size of the next chunk', () => {
  it('leaves something for every lane', () => {
    fc.assert(
      fc.property(history, fc.nat(1_000_000), fc.integer({ min: 1, max: 64 }), (chunks, pending, lanes) => {
        const sizing = learnAll(chunks);
        const size = nextChunkSize(sizing, pending, lanes);
        assert.ok(size >= 1 && size <= sizing.size);
        const isWorthSharing = size * (sizing.itemMs ?? 0) > WORTH_MS * (1 + 1e-9);
        assert.ok(!isWorthSharing || size === 1 || size <= Math.ceil(pending / (2 * lanes)), 'half of an even share');
      }),
      { numRuns: 500 },
    );
  });

  it('lets all lanes work to the end: the last chunks are single items', () => {
    const sizing: ChunkSizing = { itemMs: 0.2, size: 80 };
    const lanes = 4;
    const sizes: number[] = [];
    for (let pending = 10_000; pending > 0; pending -= sizes.at(-1) ?? 1)
      sizes.push(nextChunkSize(sizing, pending, lanes));
    assert.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      10_000,
    );
    assert.deepEqual(
      sizes,
      sizes.toSorted((a, b) => b - a),
    );
    assert.deepEqual(sizes.slice(-2 * lanes), new Array(2 * lanes).fill(1));
  });

  it('is not cut up for the sake of all lanes where the message would cost more than the items', () => {
    const quick: ChunkSizing = { itemMs: 0.001, size: MAX_ITEMS };
    assert.equal(nextChunkSize(quick, 100, 16), 250);
    assert.equal(nextChunkSize({ itemMs: 0.001, size: 40 }, 100, 16), 40, 'never more than is known to fit');
    assert.equal(nextChunkSize({ itemMs: 1, size: 16 }, 100, 16), 4);
    assert.equal(nextChunkSize(INITIAL_SIZING, 100, 16), 1);
  });
});

describe('what a batch begins with', () => {
  it('is what fits by all that the one before it has learnt, not the small chunks that it ended with', () => {
    for (const [itemMs, size] of [
      [0, 1_024],
      [0.04, 400],
      [1.5, 10],
      [500, 1],
    ] as const) {
      assert.deepEqual(inherit(learn({ itemMs, size: 1_024 }, 1, itemMs)), { itemMs: undefined, size });
    }
  });

  it('shares a few items among all lanes: they may be slow, whatever those before them were', () => {
    assert.equal(nextChunkSize(inherit({ itemMs: 0.001, size: 1_024 }), 16, 16), 1);
    assert.equal(nextChunkSize(inherit({ itemMs: 0.001, size: 1_024 }), 3_200, 16), 100);
  });

  it('is a single item where nothing is known', () => {
    assert.deepEqual(inherit(INITIAL_SIZING), INITIAL_SIZING);
  });
});
