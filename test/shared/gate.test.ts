import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE, Gate, namesOfCauses } from '../../lib/shared/gate.ts';
import { CAUSES, GENERATION, PAUSED_UNTIL_NS } from '../../lib/shared/layout.ts';
import type { AdderData, AdderReport } from './fixtures/cause-adder.ts';
import type { CloserData, CloserReport } from './fixtures/gate-closer.ts';
import { Meeting } from './fixtures/meeting.ts';
import { runThreads } from './fixtures/run-threads.ts';
import { newStress } from './fixtures/stress.ts';
import { meanwhile } from './meanwhile.ts';

const HIGHEST = 2 ** 31 - 1;

/** The gate as several threads see it, in any generation. */
function gatesOf(threads: number, generation = 0): Gate[] {
  const block = createControlBlock({ tokens: [], slots: 0 });
  block.ints[GENERATION] = generation;
  return Array.from({ length: threads }, () => new Gate(block));
}

/** The same, with a word of causes that is not older than the generations that the test goes through. */
function gateAt(generation: number): Gate {
  const block = createControlBlock({ tokens: [], slots: 0 });
  block.ints[GENERATION] = generation;
  block.words[CAUSES] = BigInt(generation) << 8n;
  return new Gate(block);
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

  it('keeps the longest wish of two threads that ask at the same moment', () => {
    const [one, other] = gatesOf(2);
    assert.ok(one && other);
    meanwhile(
      'compareExchange',
      PAUSED_UNTIL_NS,
      () => other.pauseUntil(500n),
      () => one.pauseUntil(700n),
    );
    assert.equal(one.pausedUntilNs, 700n);
    meanwhile(
      'compareExchange',
      PAUSED_UNTIL_NS,
      () => other.pauseUntil(900n),
      () => one.pauseUntil(800n),
    );
    assert.equal(one.pausedUntilNs, 900n);
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

describe('the causes of a closed gate', () => {
  it('have a bit each, and a name', () => {
    const bits: number[] = Object.values(CAUSE);
    assert.deepEqual(
      bits,
      bits.map((_, place) => 2 ** place),
    );
    assert.deepEqual(namesOfCauses(0), []);
    assert.deepEqual(namesOfCauses(CAUSE.circuit | CAUSE.refused), ['refused', 'circuit']);
    assert.deepEqual(namesOfCauses(255), ['refused', 'quota', 'credentials', 'circuit']);
  });

  it('belong to the generation that begins, and to no other', () => {
    const gate = gateOf();
    assert.equal(gate.causesOf(0), 0);
    gate.close(0, CAUSE.quota);
    assert.deepEqual(
      [-1, 0, 1, 2].map((generation) => gate.causesOf(generation)),
      [0, 0, CAUSE.quota, 0],
    );
    gate.close(1, CAUSE.circuit);
    assert.deepEqual(
      [1, 2].map((generation) => gate.causesOf(generation)),
      [0, CAUSE.circuit],
    );
    gate.close(2);
    assert.equal(gate.causesOf(3), CAUSE.refused, 'a refusal, where nothing else is said');
  });

  it('are those of all who closed it, also of those who came second', () => {
    const gate = gateOf();
    assert.equal(gate.close(0, CAUSE.credentials), true);
    assert.equal(gate.close(0, CAUSE.circuit), false);
    assert.equal(gate.close(0, CAUSE.circuit | CAUSE.refused), false);
    assert.equal(gate.causesOf(1), CAUSE.credentials | CAUSE.circuit | CAUSE.refused);
    assert.equal(gate.generation, 1);
  });

  it('are there before the gate is closed, and stay true if nobody closes it', () => {
    const block = createControlBlock({ tokens: [], slots: 0 });
    const gate = new Gate(block);
    const exchange = Atomics.compareExchange;
    let seen: number | undefined;
    // A thread that looks right before the step.
    const watched = (...args: [Int32Array, number, number, number]) => {
      if (args[1] === GENERATION && args[0] === block.ints) seen = gate.causesOf(1);
      return exchange(...args);
    };
    Object.defineProperty(Atomics, 'compareExchange', { value: watched, configurable: true, writable: true });
    try {
      gate.close(0, CAUSE.quota);
    } finally {
      Object.defineProperty(Atomics, 'compareExchange', { value: exchange, configurable: true, writable: true });
    }
    assert.equal(seen, CAUSE.quota);
  });

  it('do not change because of late news, whatever comes in whatever order, across the end of the numbers too', () => {
    const closings = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 15 })), {
      maxLength: 60,
    });
    const firsts = fc.oneof(
      fc.integer({ min: -(2 ** 31), max: HIGHEST }),
      fc.integer({ min: HIGHEST - 20, max: HIGHEST }),
    );
    fc.assert(
      fc.property(firsts, closings, (first, history) => {
        const gate = gateAt(first);
        let generation = first;
        let causes = 0;
        for (const [ago, bits] of history) {
          const isNow = ago === 0;
          // Of the event that began the current generation more may be said while it is being dealt with.
          const isMore = ago === 1;
          assert.equal(gate.close((generation - ago) | 0, bits), isNow);
          if (isNow) generation = (generation + 1) | 0;
          causes = isNow ? bits : isMore ? causes | bits : causes;
          assert.equal(gate.generation, generation);
          assert.equal(gate.causesOf(generation), causes);
          assert.equal(gate.causesOf((generation - 1) | 0), 0);
          assert.equal(gate.causesOf((generation + 1) | 0), 0);
        }
      }),
    );
  });

  it('count hints that are ignored, for all', () => {
    const [one, other] = gatesOf(2);
    assert.ok(one && other);
    one.ignoreHints(2);
    other.ignoreHints(3);
    one.close(0, CAUSE.quota);
    assert.deepEqual([one.hintsIgnored, other.hintsIgnored, one.generation], [5, 5, 1]);
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

  const ROUNDS = 5_000;

  /** Each thread has causes of its own in each generation, or none, in which case it comes too late with all of them. */
  async function stressCauses(threads: number): Promise<number> {
    const { buffer, layout, ints, words } = createControlBlock({ tokens: [], slots: 0 });
    const first = (HIGHEST - ROUNDS / 2) | 0;
    ints[GENERATION] = first;
    words[CAUSES] = BigInt(first) << 8n;
    const meeting = Meeting.newCells();
    // Thread n closes for bit n, but in every seventh generation, in which one of them is late.
    const causes = Array.from({ length: threads }, (_, id) =>
      Uint8Array.from({ length: ROUNDS }, (_, n) => (n % 7 === 6 && n % threads === id ? 0 : 1 << id)),
    );
    const reports = await runThreads<AdderReport>(
      new URL('./fixtures/cause-adder.js', import.meta.url),
      causes.map(
        (own, id): AdderData => ({ buffer, layout, meeting, threads, id, first, generations: ROUNDS, causes: own }),
      ),
    );
    const wanted = Uint8Array.from({ length: ROUNDS }, (_, n) => causes.reduce((all, own) => all | (own[n] ?? 0), 0));
    assert.deepEqual(reports[0]?.seen, wanted);
    assert.equal(
      reports.reduce((sum, { closed }) => sum + closed, 0),
      ROUNDS,
    );
    return reports.reduce((sum, { collisions }) => sum + collisions, 0);
  }

  for (const threads of [2, 4]) {
    it(`ends with the causes of all, and with none of an older event: ${threads} threads`, async () => {
      const endMs = performance.now() + PATIENCE_MS;
      let collisions = 0;
      do collisions += await stressCauses(threads);
      while (collisions < MIN_COLLISIONS && performance.now() < endMs);
      assert.ok(
        collisions >= MIN_COLLISIONS,
        `only ${collisions} collisions: the threads did not run at the same time`,
      );
    });
  }
});
