import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Grant, Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { meanwhile } from '../shared/meanwhile.ts';
import { limitOf } from './worlds.ts';

const NOW_NS = 1_000_000n;

/** The same limits, as each of the given threads sees them. */
function limitersOf(limits: readonly PlannedLimit[], threadIds: readonly number[]): Limiter[] {
  const block = createControlBlock({ tokens: limits.map(({ tokens }) => tokens), slots: 0 });
  return threadIds.map((id) => new Limiter(block, limits, id));
}

function limiterOf(...limits: readonly Partial<PlannedLimit>[]): Limiter {
  const [limiter] = limitersOf(
    limits.map((limit) => limitOf({ windowNs: 8_000n, ...limit })),
    [1],
  );
  assert.ok(limiter);
  return limiter;
}

function acquire(limiter: Limiter, nowNs: bigint): Grant {
  const grant = limiter.tryAcquire(nowNs);
  assert.ok(grant, `nothing to be had at ${nowNs}`);
  return grant;
}

const freeOf = (limiter: Limiter, nowNs: bigint): number[] => limiter.buckets.map((bucket) => bucket.countFree(nowNs));
const wordsOf = (limiter: Limiter): bigint[][] =>
  limiter.buckets.map((bucket) => Array.from({ length: bucket.limit.tokens }, (_, token) => bucket.wordOf(token)));

describe('Limiter', () => {
  it('takes a token of each limit, or none', () => {
    const limiter = limiterOf({ tokens: 1 }, { tokens: 3 });
    acquire(limiter, NOW_NS);
    assert.deepEqual(freeOf(limiter, NOW_NS), [0, 2]);
    const before = wordsOf(limiter);
    assert.equal(limiter.tryAcquire(NOW_NS), undefined);
    assert.deepEqual(wordsOf(limiter), before);
  });

  it('gives back what it took when a later limit refuses, and can have it again at once', () => {
    const limiter = limiterOf({ tokens: 3 }, { tokens: 1 });
    const grant = acquire(limiter, NOW_NS);
    const before = wordsOf(limiter);
    assert.equal(limiter.tryAcquire(NOW_NS), undefined);
    assert.deepEqual(wordsOf(limiter), before);
    grant.giveBack();
    acquire(limiter, NOW_NS);
  });

  it('says when to come again: not before anything can be free', () => {
    const limiter = limiterOf({ tokens: 1, windowNs: 8_000n });
    acquire(limiter, NOW_NS).answered(NOW_NS + 10n);
    // A token that will be free within an eighth of the window is named; further ahead it looks for given back ones.
    assert.equal(limiter.tryAcquire(NOW_NS + 10n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 10n + 1_000n);
    assert.equal(limiter.tryAcquire(NOW_NS + 7_500n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 10n + 8_000n);
    acquire(limiter, limiter.retryAtNs);
  });

  it('says when that limit can let a request through which refused it, and not another one', () => {
    for (const [place, limits] of [
      [0, [{ tokens: 1 }, { tokens: 3 }]],
      [1, [{ tokens: 3 }, { tokens: 1 }]],
      [2, [{ tokens: 3 }, { tokens: 2 }, { tokens: 1 }]],
    ] as const) {
      const limiter = limiterOf(...limits);
      acquire(limiter, NOW_NS).answered(NOW_NS);
      assert.equal(limiter.tryAcquire(NOW_NS + 7_500n), undefined);
      assert.equal(limiter.retryAtNs, NOW_NS + 8_000n, `limit ${place}`);
      acquire(limiter, limiter.retryAtNs);
    }
  });

  it('says so of the later of two limits that refuse one after the other', () => {
    const limiter = limiterOf({ tokens: 1, windowNs: 8_000n }, { tokens: 1, windowNs: 8_400n });
    acquire(limiter, NOW_NS).answered(NOW_NS);
    assert.equal(limiter.tryAcquire(NOW_NS + 7_900n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 8_000n);
    assert.equal(limiter.tryAcquire(limiter.retryAtNs), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 8_400n);
    acquire(limiter, limiter.retryAtNs);
  });

  it('is never blind for more than 50 ms, however long the window', () => {
    const limiter = limiterOf({ tokens: 1, windowNs: 3_600_000_000_000n });
    acquire(limiter, NOW_NS);
    assert.equal(limiter.tryAcquire(NOW_NS), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 50_000_000n);
  });

  it('takes no token before the next start may be', () => {
    const limiter = limiterOf({ tokens: 5, gapNs: 100n });
    acquire(limiter, NOW_NS);
    assert.equal(limiter.tryAcquire(NOW_NS + 99n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 100n);
    assert.deepEqual(freeOf(limiter, NOW_NS), [4]);
    acquire(limiter, NOW_NS + 100n);
  });

  it('makes up for a start that was awaited and is late', () => {
    const limiter = limiterOf({ tokens: 5, gapNs: 100n });
    acquire(limiter, NOW_NS);
    assert.ok(limiter.tryAcquire(NOW_NS + 130n, NOW_NS + 100n));
    assert.equal(limiter.tryAcquire(NOW_NS + 130n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 200n);
    // Nobody waited for this one.
    acquire(limiter, NOW_NS + 230n);
    assert.equal(limiter.tryAcquire(NOW_NS + 230n), undefined);
    assert.equal(limiter.retryAtNs, NOW_NS + 330n);
  });

  it('moves no start on for a request that gets no token', () => {
    const limiter = limiterOf({ tokens: 1, gapNs: 100n });
    const grant = acquire(limiter, NOW_NS);
    for (let n = 0; n < 10; n++) assert.equal(limiter.tryAcquire(NOW_NS + 100n), undefined);
    grant.giveBack();
    acquire(limiter, NOW_NS + 100n);
  });

  it('starts as late as the widest of several gaps says', () => {
    const limiter = limiterOf({ tokens: 5, gapNs: 100n }, { tokens: 5, gapNs: 300n }, { tokens: 5 });
    const starts = [];
    for (let nowNs = NOW_NS; starts.length < 4; nowNs += 50n) {
      if (limiter.tryAcquire(nowNs) !== undefined) starts.push(nowNs - NOW_NS);
    }
    assert.deepEqual(starts, [0n, 300n, 600n, 900n]);
  });

  it('grants at once where there is no limit', () => {
    acquire(limiterOf(), NOW_NS);
  });

  it('does not refuse a thread that read the clock just before another was granted, where starts are not spaced', () => {
    const [one, other] = limitersOf([limitOf({ tokens: 2 })], [1, 2]);
    assert.ok(one && other);
    acquire(one, NOW_NS);
    acquire(other, NOW_NS - 1n);
  });

  it('gives its token back when another thread takes the start at the last moment, and says when to come again', () => {
    const limits = [limitOf({ tokens: 5, gapNs: 100n })];
    const block = createControlBlock({ tokens: [5], slots: 0 });
    const [one, other] = [new Limiter(block, limits, 1), new Limiter(block, limits, 2)];
    const otherTakes = () => void acquire(other, NOW_NS + 5n);
    const firstToken = block.layout.tokens[0]?.first ?? 0;
    const grant = meanwhile('compareExchange', firstToken, otherTakes, () => one.tryAcquire(NOW_NS));
    assert.equal(grant, undefined);
    assert.equal(one.retryAtNs, NOW_NS + 105n);
    assert.deepEqual(freeOf(one, NOW_NS), [4]);
    acquire(one, one.retryAtNs);
  });

  it('reclaims in all limits what a dead thread held', () => {
    const [main, dead] = limitersOf([limitOf({ tokens: 2, windowNs: 100n }), limitOf({ windowNs: 100n })], [0, 9]);
    assert.ok(main && dead);
    acquire(dead, NOW_NS);
    assert.equal(main.reclaim(9, NOW_NS + 50n), 2);
    assert.equal(main.reclaim(9, NOW_NS + 60n), 0);
    assert.deepEqual(freeOf(main, NOW_NS + 249n), [1, 3]);
    assert.deepEqual(freeOf(main, NOW_NS + 250n), [2, 4]);
  });
});

describe('Grant', () => {
  const END_NS = NOW_NS + 500n;
  const ends: readonly (readonly [string, (grant: Grant) => void])[] = [
    ['answered', (grant) => grant.answered(END_NS)],
    ['abandoned', (grant) => grant.abandoned(END_NS)],
    ['giveBack', (grant) => grant.giveBack()],
  ];

  it('is open until it ends', () => {
    for (const [name, end] of ends) {
      const grant = acquire(limiterOf({ tokens: 1 }), NOW_NS);
      assert.equal(grant.isOpen, true);
      end(grant);
      assert.equal(grant.isOpen, false, name);
    }
  });

  it('ends once: whatever comes after that does nothing', () => {
    for (const arrivalWithinNs of [undefined, 70n]) {
      for (const [first, end] of ends) {
        for (const [second, endAgain] of ends) {
          const limiter = limiterOf({ tokens: 1, arrivalWithinNs });
          const grant = acquire(limiter, NOW_NS);
          if (first !== 'giveBack') grant.sent(NOW_NS + 10n);
          grant.sent(NOW_NS + 400n);
          end(grant);
          const words = wordsOf(limiter);
          endAgain(grant);
          grant.sent(NOW_NS + 900n);
          grant.answered(NOW_NS + 950n);
          assert.deepEqual(wordsOf(limiter), words, `${second} after ${first}`);
        }
      }
    }
  });

  it('leaves once: the first time counts', () => {
    const limiter = limiterOf({ tokens: 1, windowNs: 1_000n, arrivalWithinNs: 70n });
    const grant = acquire(limiter, NOW_NS);
    grant.sent(NOW_NS + 10n);
    grant.sent(NOW_NS + 40n);
    assert.deepEqual(wordsOf(limiter), [[NOW_NS + 1_080n]]);
    grant.answered(NOW_NS + 100n);
    assert.deepEqual(wordsOf(limiter), [[NOW_NS + 1_080n]]);
  });

  it('settles the token of each limit by that limit', () => {
    const limiter = limiterOf(
      { tokens: 1, windowNs: 1_000n },
      { tokens: 1, windowNs: 2_000n, arrivalWithinNs: 30n },
      { tokens: 1, windowNs: 3_000n, arrivalWithinNs: 900n },
    );
    const grant = acquire(limiter, NOW_NS);
    assert.equal(grant.isSent, false);
    grant.sent(NOW_NS);
    assert.equal(grant.isSent, true);
    assert.deepEqual(wordsOf(limiter), [[-2n], [NOW_NS + 2_030n], [NOW_NS + 3_900n]]);
    grant.answered(NOW_NS + 100n);
    assert.deepEqual(wordsOf(limiter), [[NOW_NS + 1_100n], [NOW_NS + 2_030n], [NOW_NS + 3_100n]]);
  });

  it('gives every token back as it was, in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ tokens: fc.integer({ min: 1, max: 4 }), windowNs: fc.bigInt({ min: 8n, max: 200n }) }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 50n }), fc.boolean()), { maxLength: 30 }),
        fc.infiniteStream(fc.nat()),
        (choices, history, picks) => {
          const limiter = limiterOf(...choices);
          let nowNs = NOW_NS;
          for (const [passNs, isAnswered] of history) {
            nowNs += passNs;
            const grant = limiter.tryAcquire(nowNs);
            if (isAnswered) grant?.answered(nowNs);
            else grant?.giveBack();
          }
          nowNs += 50n;
          const before = wordsOf(limiter);
          const grants: Grant[] = [];
          for (let grant = limiter.tryAcquire(nowNs); grant !== undefined; grant = limiter.tryAcquire(nowNs)) {
            grants.push(grant);
          }
          while (grants.length > 0) {
            const [grant] = grants.splice(picks.next().value % grants.length, 1);
            grant?.giveBack();
          }
          assert.deepEqual(wordsOf(limiter), before);
        },
      ),
    );
  });
});
