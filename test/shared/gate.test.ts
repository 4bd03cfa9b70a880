import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { Gate } from '../../lib/shared/gate.ts';
import { GENERATION } from '../../lib/shared/layout.ts';
import type { CloserData, CloserReport } from './fixtures/gate-closer.ts';
import { runThreads } from './fixtures/run-threads.ts';
import { newStress } from './fixtures/stress.ts';

const HIGHEST = 2 ** 31 - 1;

/** The gate as several threads see it, in any generation. */
function gatesOf(threads: number, generation = 0): Gate[] {
  const block = createControlBlock({ tokens: [], slots: 0 });
  block.ints[GENERATION] = generation;
  return Array.from({ length: threads }, () => new Gate(block));
}

function gateOf(generation = 0): Gate {
  const [gate] = gatesOf(1, generation);
  assert.ok(gate);
  return gate;
}

describe('Gate', () => {
  it('is open for its generation and for no other', () => {
    const gate = gateOf();
    assert.equal(gate.generation, 0);
    assert.equal(gate.isOpenFor(0), true);
    assert.equal(gate.isOpenFor(1), false);
    assert.equal(gate.isOpenFor(-1), false);
  });

  it('is closed once per event, by the first who hears of it', () => {
    const [one, other] = gatesOf(2);
    assert.ok(one && other);
    assert.equal(one.close(0), true);
    assert.equal(other.close(0), false);
    assert.equal(one.close(0), false);
    assert.equal(other.generation, 1);
    assert.equal(other.isOpenFor(0), false);
    assert.equal(other.close(1), true);
    assert.equal(one.close(0), false, 'late news of an old event');
    assert.equal(one.generation, 2);
  });

  it('goes on at the end of its numbers', () => {
    const gate = gateOf(HIGHEST - 1);
    const seen = [];
    for (let n = 0; n < 4; n++) {
      seen.push(gate.generation);
      assert.equal(gate.isOpenFor(gate.generation), true);
      const { generation } = gate;
      assert.equal(gate.close(generation), true);
      assert.equal(gate.close(generation), false);
      assert.equal(gate.isOpenFor(generation), false);
      // Older or younger is told by the sign of the difference, across the end too.
      assert.ok(((generation - gate.generation) | 0) < 0);
    }
    assert.deepEqual(seen, [HIGHEST - 1, HIGHEST, -HIGHEST - 1, -HIGHEST]);
  });

  it('keeps the longest wish for quiet, in any order, until it is forgotten', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }), { minLength: 1, maxLength: 10 }), (wishes) => {
        const [one, other] = gatesOf(2);
        assert.ok(one && other);
        assert.equal(one.pausedUntilNs, 0n);
        let longest = 0n;
        for (const [n, wish] of wishes.entries()) {
          (n % 2 === 0 ? one : other).pauseUntil(wish);
          if (wish > longest) longest = wish;
          assert.equal(one.pausedUntilNs, longest);
        }
        one.clearPause();
        assert.equal(other.pausedUntilNs, 0n);
      }),
    );
  });

  it('takes a wish that is beyond its numbers for the longest that it knows', () => {
    const gate = gateOf();
    gate.pauseUntil(2n ** 64n + 5n);
    assert.equal(gate.pausedUntilNs, 2n ** 63n - 1n);
    gate.pauseUntil(1_000n);
    assert.equal(gate.pausedUntilNs, 2n ** 63n - 1n);
  });

  it('does not touch the generation when quiet is asked for, nor the other way round', () => {
    const gate = gateOf();
    gate.pauseUntil(2n ** 62n + 3n);
    assert.equal(gate.generation, 0);
    gate.close(0);
    assert.equal(gate.pausedUntilNs, 2n ** 62n + 3n);
  });
});

describe('Gate in real threads', () => {
  const GENERATIONS = 100_000;
  const MIN_COLLISIONS = 25;
  const PATIENCE_MS = 60_000;

  async function stress(threads: number): Promise<number> {
    const { buffer, layout, ints } = createControlBlock({ tokens: [], slots: 0 });
    // So that the numbers run out in the middle.
    const first = (HIGHEST - GENERATIONS / 2) | 0;
    ints[GENERATION] = first;
    const together = newStress(threads, MIN_COLLISIONS, GENERATIONS);
    const reports = await runThreads<CloserReport>(
      new URL('./fixtures/gate-closer.js', import.meta.url),
      Array.from(
        { length: threads },
        (_, n): CloserData => ({ ...together, buffer, layout, generations: GENERATIONS, first, seed: n }),
      ),
    );
    const winners = new Uint8Array(GENERATIONS);
    for (const { won } of reports) for (const place of won) winners[place] = (winners[place] ?? 0) + 1;
    assert.ok(
      winners.every((count) => count === 1),
      'each generation was closed by exactly one thread',
    );
    const gate = new Gate({ ints, words: new BigInt64Array(buffer) });
    assert.equal(gate.generation, (first + GENERATIONS) | 0);
    for (const { longestWishNs } of reports) assert.ok(gate.pausedUntilNs >= longestWishNs);
    assert.ok(reports.some(({ longestWishNs }) => gate.pausedUntilNs === longestWishNs));
    return reports.reduce((sum, { collisions }) => sum + collisions, 0);
  }

  for (const threads of [2, 4]) {
    it(`has exactly one winner per generation, and the longest wish wins: ${threads} threads`, async () => {
      const endMs = performance.now() + PATIENCE_MS;
      let collisions = 0;
      do collisions += await stress(threads);
      while (collisions < MIN_COLLISIONS && performance.now() < endMs);
      assert.ok(
        collisions >= MIN_COLLISIONS,
        `only ${collisions} collisions: the threads did not run at the same time`,
      );
    });
  }
});
