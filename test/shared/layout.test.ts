import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  BUCKETS,
  CALL_SECONDS,
  CAUSES,
  callsIndex,
  FAILURES_IN_ROW,
  FIRST_BUCKET,
  GENERATION,
  HEADER,
  HINTS_IGNORED,
  type Layout,
  LINE_BYTES,
  layOut,
  MAGIC,
  PAUSED_UNTIL_NS,
  type Sizes,
  SLOT,
  slotIndex,
  VERSION,
  WORK,
} from '../../lib/shared/layout.ts';

const sizes: fc.Arbitrary<Sizes> = fc.record({
  tokens: fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 65_536 })), { maxLength: 8 }),
  slots: fc.oneof(fc.nat(64), fc.nat(131_072)),
  threads: fc.nat(256),
});

/** Where the words stand that several threads write, with the words of one writer at a time in one place. */
function* places(layout: Layout): Generator<{ from: number; to: number }> {
  yield { from: 64, to: 128 };
  yield { from: FAILURES_IN_ROW * 4, to: FAILURES_IN_ROW * 4 + 4 };
  yield { from: FIRST_BUCKET * 8, to: (FIRST_BUCKET + BUCKETS) * 8 };
  for (const index of layout.nextStart) yield { from: index * 8, to: index * 8 + 8 };
  for (const { first, count } of layout.tokens) yield { from: first * 8, to: (first + count) * 8 };
  for (let slot = 0; slot < layout.slots; slot++) {
    const from = slotIndex(layout, slot) * 4;
    yield { from, to: from + 48 };
  }
  for (let place = 0; place < layout.threads; place++) {
    const from = callsIndex(layout, place) * 4;
    yield { from, to: from + 8 * CALL_SECONDS };
  }
}

describe('the memory map', () => {
  it('says "SLUI", version 1', () => {
    assert.equal(Buffer.from(Uint32Array.of(MAGIC).buffer).toString('latin1'), 'SLUI');
    assert.equal(VERSION, 1);
    assert.equal(LINE_BYTES, 64);
  });

  it('stands where its table says', () => {
    const byteOf = (index: number, bytes: number): number => index * bytes;
    assert.deepEqual(HEADER, { magic: 0, version: 1, limits: 2, tokens: 3, slots: 4, threads: 5 });
    assert.equal(byteOf(GENERATION, 4), 64);
    assert.equal(byteOf(PAUSED_UNTIL_NS, 8), 72);
    assert.equal(byteOf(HINTS_IGNORED, 4), 68);
    assert.equal(byteOf(CAUSES, 8), 80);
    assert.equal(byteOf(FAILURES_IN_ROW, 4), 128);
    assert.equal(byteOf(FIRST_BUCKET, 8), 192);
    assert.equal(BUCKETS * 8, LINE_BYTES);
    // Of the slot's words the first five are 32 bits wide, the other one 64.
    assert.deepEqual(SLOT, { cursor: 0, work: 1, sent: 2, refused: 3, cancelled: 4, deadlineNs: 4 });
    assert.ok(byteOf(SLOT.cancelled, 4) + 4 <= byteOf(SLOT.deadlineNs, 8));
    assert.ok(byteOf(SLOT.deadlineNs, 8) + 8 <= LINE_BYTES);
  });

  it('has a bit of its own for everything that an item can have reached', () => {
    const bits: number[] = Object.values(WORK);
    assert.deepEqual(
      bits,
      bits.map((_, place) => 2 ** place),
    );
  });

  const table: readonly (readonly [Sizes, Layout])[] = [
    [
      { tokens: [], slots: 0 },
      { byteLength: 256, nextStart: [], tokens: [], firstSlot: 64, slots: 0, firstCalls: 64, threads: 0 },
    ],
    [
      { tokens: [1], slots: 1, threads: 3 },
      {
        byteLength: 448 + 3 * 512,
        nextStart: [32],
        tokens: [{ first: 40, count: 1 }],
        firstSlot: 96,
        slots: 1,
        firstCalls: 112,
        threads: 3,
      },
    ],
    [
      { tokens: [20], slots: 40 },
      {
        byteLength: 3_072,
        nextStart: [32],
        tokens: [{ first: 40, count: 20 }],
        firstSlot: 128,
        slots: 40,
        firstCalls: 768,
        threads: 0,
      },
    ],
    [
      { tokens: [8, 9, 16], slots: 2 },
      {
        byteLength: 896,
        nextStart: [32, 40, 48],
        tokens: [
          { first: 56, count: 8 },
          { first: 64, count: 9 },
          { first: 80, count: 16 },
        ],
        firstSlot: 192,
        slots: 2,
        firstCalls: 224,
        threads: 0,
      },
    ],
    [
      { tokens: [65_536], slots: 131_072 },
      {
        byteLength: 256 + 64 + 8 * 65_536 + 64 * 131_072,
        nextStart: [32],
        tokens: [{ first: 40, count: 65_536 }],
        firstSlot: (256 + 64 + 8 * 65_536) / 4,
        slots: 131_072,
        firstCalls: (256 + 64 + 8 * 65_536) / 4 + 16 * 131_072,
        threads: 0,
      },
    ],
  ];
  for (const [given, layout] of table) {
    it(`has room for ${given.tokens.join(' + ') || 'no'} tokens and ${given.slots} slots`, () => {
      assert.deepEqual(layOut(given), layout);
    });
  }

  it('gives each thread a ring of 64 seconds', () => {
    const layout = layOut({ tokens: [20], slots: 3, threads: 2 });
    assert.equal(CALL_SECONDS, 64);
    assert.deepEqual(
      [0, 1].map((place) => callsIndex(layout, place) * 4),
      [704, 704 + 512],
    );
  });

  it('gives each slot a line', () => {
    const layout = layOut({ tokens: [20], slots: 3 });
    assert.deepEqual(
      [0, 1, 2].map((slot) => slotIndex(layout, slot) * 4),
      [512, 576, 640],
    );
  });

  it('aligns every section to a line, leaves nothing outside, and wastes less than a line per limit', () => {
    fc.assert(
      fc.property(sizes, (given) => {
        const layout = layOut(given);
        for (const index of layout.nextStart) assert.equal((index * 8) % LINE_BYTES, 0);
        for (const { first } of layout.tokens) assert.equal((first * 8) % LINE_BYTES, 0);
        assert.equal((layout.firstSlot * 4) % LINE_BYTES, 0);
        assert.equal(layout.byteLength % LINE_BYTES, 0);
        const { slots, threads = 0 } = given;
        assert.equal(slotIndex(layout, slots), layout.firstCalls, 'the rings begin where the last slot ends');
        assert.equal(callsIndex(layout, threads) * 4, layout.byteLength, 'the last ring ends where the block ends');
        const tokens = given.tokens.reduce((sum, count) => sum + count, 0);
        const least = 256 + LINE_BYTES * given.tokens.length + 8 * tokens + LINE_BYTES * slots + 512 * threads;
        assert.ok(layout.byteLength >= least && layout.byteLength < least + LINE_BYTES * (given.tokens.length + 1));
      }),
    );
  });

  it('keeps what different threads write on different lines, and nothing in two places', () => {
    fc.assert(
      fc.property(
        sizes.filter(({ slots }) => slots <= 64),
        (given) => {
          const layout = layOut(given);
          let endOfLast = LINE_BYTES;
          for (const { from, to } of places(layout)) {
            assert.ok(from >= endOfLast, `byte ${from} is on the line of something else`);
            assert.equal(from % LINE_BYTES, 0);
            endOfLast = Math.ceil(to / LINE_BYTES) * LINE_BYTES;
          }
          assert.equal(endOfLast, layout.byteLength);
        },
      ),
    );
  });
});
