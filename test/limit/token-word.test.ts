import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  earliestFreeNs,
  heldBy,
  isFree,
  wordWhenAbandoned,
  wordWhenAnswered,
  wordWhenSent,
} from '../../lib/limit/token-word.ts';
import { limitOf } from './worlds.ts';

describe('the word of a token', () => {
  it('names its holder, and is never free while it is held', () => {
    assert.equal(heldBy(0), -1n);
    assert.equal(heldBy(7), -8n);
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 62n }), (one, other, nowNs) => {
        assert.equal(isFree(heldBy(one), nowNs), false);
        assert.equal(heldBy(one) === heldBy(other), one === other);
      }),
    );
  });

  it('is free from its time on, to the nanosecond', () => {
    assert.equal(isFree(0n, 0n), true);
    assert.equal(isFree(100n, 99n), false);
    assert.equal(isFree(100n, 100n), true);
    assert.equal(isFree(100n, 101n), true);
  });

  it('rests for a window after the answer', () => {
    assert.equal(wordWhenAnswered(1_000n, limitOf({ windowNs: 100n })), 1_100n);
  });

  it('stays held at sending without arrivalWithin, and rests from the latest arrival on with it', () => {
    assert.equal(wordWhenSent(1_000n, limitOf({ windowNs: 100n })), undefined);
    assert.equal(wordWhenSent(1_000n, limitOf({ windowNs: 100n, arrivalWithinNs: 0n })), 1_100n);
    assert.equal(wordWhenSent(1_000n, limitOf({ windowNs: 100n, arrivalWithinNs: 30n })), 1_130n);
  });

  it('rests for straggle longer when no answer came', () => {
    assert.equal(wordWhenAbandoned(1_000n, limitOf({ windowNs: 100n, straggleNs: 40n })), 1_140n);
  });
});

describe('earliestFreeNs', () => {
  /**
   * Every time at which a token with this word can be free, as far as `times` goes: nothing happens, or its request is
   * answered or given up at one of them.
   */
  function* futures(word: bigint, times: readonly bigint[], limit: ReturnType<typeof limitOf>): Generator<bigint> {
    if (word >= 0n) yield word;
    for (const atNs of times) {
      const answered = wordWhenAnswered(atNs, limit);
      // An answer lowers the word that was set at sending, and never raises one.
      if (word < 0n || (limit.arrivalWithinNs !== undefined && answered < word)) yield answered;
      if (word >= 0n) continue;
      yield wordWhenAbandoned(atNs, limit);
      const sent = wordWhenSent(atNs, limit);
      if (sent !== undefined) yield sent;
    }
  }

  it('is the true earliest of all futures', () => {
    const time = fc.bigInt({ min: 0n, max: 400n });
    fc.assert(
      fc.property(
        fc.record({
          windowNs: fc.bigInt({ min: 1n, max: 100n }),
          straggleNs: fc.bigInt({ min: 0n, max: 100n }),
          arrivalWithinNs: fc.option(fc.bigInt({ min: 0n, max: 100n }), { nil: undefined }),
        }),
        fc.oneof(time, fc.constant(heldBy(3))),
        time,
        (choice, word, nowNs) => {
          fc.pre(!isFree(word, nowNs));
          const limit = limitOf(choice);
          const times = Array.from({ length: 300 }, (_, step) => nowNs + BigInt(step));
          let earliest: bigint | undefined;
          for (const freeNs of futures(word, times, limit)) {
            if (earliest === undefined || freeNs < earliest) earliest = freeNs;
          }
          const told = earliestFreeNs(word, nowNs, limit);
          assert.ok(told > nowNs, 'it is not free now');
          assert.ok(earliest !== undefined && told <= earliest, `told ${told}, but it can be free at ${earliest}`);
          // Without arrivalWithin nothing lowers a word; asking too early is then allowed, but only by a look in vain.
          if (limit.arrivalWithinNs !== undefined || word <= nowNs + limit.windowNs) assert.equal(told, earliest);
        },
      ),
      { numRuns: 500 },
    );
  });
});
