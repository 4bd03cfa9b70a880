import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { TokenBucket } from '../../lib/limit/token-bucket.ts';
import { heldBy } from '../../lib/limit/token-word.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { meanwhile, watchAtomics } from '../shared/meanwhile.ts';
import { limitOf } from './worlds.ts';

const WINDOW_NS = 8_000n;

/** The same tokens, as each of the given threads sees them. */
function bucketsOf(limit: PlannedLimit, threadIds: readonly number[]): TokenBucket[] {
  const block = createControlBlock({ tokens: [limit.tokens], slots: 0 });
  return threadIds.map((id) => new TokenBucket(block, 0, limit, id));
}

/** Where the tokens of those buckets begin. */
const firstWord = createControlBlock({ tokens: [1], slots: 0 }).layout.tokens[0]?.first ?? Number.NaN;

function bucketOf(limit: Partial<PlannedLimit> = {}): TokenBucket {
  const [bucket] = bucketsOf(limitOf({ windowNs: WINDOW_NS, tokens: 2, ...limit }), [1]);
  assert.ok(bucket);
  return bucket;
}

function take(bucket: TokenBucket, nowNs: bigint): { token: number; wordBefore: bigint } {
  const taken = bucket.take(nowNs);
  assert.ok(taken, `no token at ${nowNs}`);
  return taken;
}

const wordsOf = (bucket: TokenBucket): bigint[] =>
  Array.from({ length: bucket.limit.tokens }, (_, token) => bucket.wordOf(token));

describe('TokenBucket', () => {
  it('refuses a limit that the control block does not have', () => {
    const block = createControlBlock({ tokens: [1], slots: 0 });
    assert.throws(() => new TokenBucket(block, 1, limitOf(), 1), RangeError);
  });

  it('gives as many as there are, and the next only a window after an answer', () => {
    const bucket = bucketOf();
    const first = take(bucket, 100n);
    const second = take(bucket, 100n);
    assert.notEqual(first.token, second.token);
    assert.equal(bucket.take(100n), undefined);
    bucket.answered(first.token, undefined, 150n);
    assert.equal(bucket.take(149n + WINDOW_NS), undefined);
    assert.equal(take(bucket, 150n + WINDOW_NS).token, first.token);
  });

  it('starts full, or empty for a window', () => {
    const full = bucketOf({ initial: 'full' });
    full.fill(500n);
    assert.equal(full.countFree(500n), 2);
    const empty = bucketOf({ initial: 'empty' });
    empty.fill(500n);
    assert.equal(empty.countFree(499n + WINDOW_NS), 0);
    assert.equal(empty.take(499n + WINDOW_NS), undefined);
    assert.equal(empty.countFree(500n + WINDOW_NS), 2);
  });

  it('holds a token until the answer, even if it was said to be sent', () => {
    const bucket = bucketOf();
    const { token } = take(bucket, 100n);
    bucket.sent(token, 110n);
    assert.equal(bucket.wordOf(token), heldBy(1));
    bucket.answered(token, 110n, 200n);
    assert.equal(bucket.wordOf(token), 200n + WINDOW_NS);
  });

  it('lets a token rest from the latest arrival on, or from an earlier answer', () => {
    const bucket = bucketOf({ arrivalWithinNs: 50n });
    const early = take(bucket, 100n);
    const late = take(bucket, 100n);
    for (const { token } of [early, late]) {
      bucket.sent(token, 110n);
      assert.equal(bucket.wordOf(token), 160n + WINDOW_NS);
    }
    bucket.answered(early.token, 110n, 130n);
    bucket.answered(late.token, 110n, 170n);
    assert.equal(bucket.wordOf(early.token), 130n + WINDOW_NS);
    assert.equal(bucket.wordOf(late.token), 160n + WINDOW_NS);
  });

  it('does not touch a token that somebody else took after it had rested', () => {
    const [mine, theirs] = bucketsOf(limitOf({ tokens: 1, windowNs: WINDOW_NS, arrivalWithinNs: 50n }), [1, 2]);
    assert.ok(mine && theirs);
    const { token } = take(mine, 100n);
    mine.sent(token, 100n);
    take(theirs, 150n + WINDOW_NS);
    // The answer came in time, but the thread that heard it stood still until now.
    mine.answered(token, 100n, 120n);
    assert.equal(theirs.wordOf(token), heldBy(2));
    theirs.sent(token, 160n + WINDOW_NS);
    mine.answered(token, 100n, 120n);
    assert.equal(theirs.wordOf(token), 210n + 2n * WINDOW_NS);
  });

  it('lets a token rest for straggle longer without an answer, unless the latest arrival is known', () => {
    const unknown = bucketOf({ straggleNs: 70n });
    const { token } = take(unknown, 100n);
    unknown.sent(token, 110n);
    unknown.abandoned(token, 110n, 300n);
    assert.equal(unknown.wordOf(token), 370n + WINDOW_NS);

    const known = bucketOf({ straggleNs: 70n, arrivalWithinNs: 50n });
    const sent = take(known, 100n);
    known.sent(sent.token, 110n);
    known.abandoned(sent.token, 110n, 300n);
    assert.equal(known.wordOf(sent.token), 160n + WINDOW_NS);
    const notSaid = take(known, 100n);
    known.abandoned(notSaid.token, undefined, 300n);
    assert.equal(known.wordOf(notSaid.token), 370n + WINDOW_NS);
  });

  it('puts the word back that a token had, and finds it at once', () => {
    const bucket = bucketOf({ tokens: 1 });
    const first = take(bucket, 100n);
    bucket.answered(first.token, undefined, 100n);
    const before = bucket.wordOf(first.token);
    const again = take(bucket, before + 5n);
    assert.equal(again.wordBefore, before);
    assert.equal(bucket.take(before + 5n), undefined);
    assert.ok(bucket.noneBeforeNs > before + 5n);
    bucket.giveBack(again.token, again.wordBefore);
    assert.equal(bucket.wordOf(again.token), before);
    take(bucket, before + 5n);
  });

  it('remembers a look in vain, so that it need not scan all tokens again before it can find one', () => {
    const [mine, other] = bucketsOf(limitOf({ tokens: 1, windowNs: WINDOW_NS }), [1, 2]);
    assert.ok(mine && other);
    const { token, wordBefore } = take(other, 100n);
    assert.equal(mine.take(100n), undefined);
    assert.equal(mine.noneBeforeNs, 100n + WINDOW_NS / 8n);
    other.giveBack(token, wordBefore);
    assert.equal(mine.take(mine.noneBeforeNs - 1n), undefined);
    take(mine, mine.noneBeforeNs);
  });

  it('goes on to the next token when another thread is faster', () => {
    const [mine, other] = bucketsOf(limitOf({ tokens: 2, windowNs: WINDOW_NS }), [1, 2]);
    assert.ok(mine && other);
    const taken = meanwhile(
      'compareExchange',
      firstWord,
      () => assert.equal(take(other, 100n).token, 0),
      () => take(mine, 100n),
    );
    assert.equal(taken.token, 1);
    assert.equal(mine.collisions, 1);
    assert.equal(other.collisions, 0);
    assert.deepEqual(wordsOf(mine), [heldBy(2), heldBy(1)]);
  });

  it('does not tell to look again at once when another thread was faster at the last token', () => {
    const [mine, other] = bucketsOf(limitOf({ tokens: 1, windowNs: WINDOW_NS }), [1, 2]);
    assert.ok(mine && other);
    const taken = meanwhile(
      'compareExchange',
      firstWord,
      () => void take(other, 100n),
      () => mine.take(100n),
    );
    assert.equal(taken, undefined);
    assert.equal(mine.noneBeforeNs, 100n + WINDOW_NS / 8n);
  });

  it('finds the next token with one look, however many there are', () => {
    const tokens = 500;
    const bucket = bucketOf({ tokens });
    let looks = 0;
    const countLook = () => void looks++;
    watchAtomics('load', countLook, () => {
      for (const startNs of [100n, 100n + 2n * WINDOW_NS, 100n + 4n * WINDOW_NS]) {
        for (let n = 0; n < tokens; n++) bucket.answered(take(bucket, startNs).token, undefined, startNs);
      }
    });
    assert.equal(looks, 3 * tokens);
  });

  it('finds all that are free and no others, in whatever block of tokens, also after a look in vain', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(255, 256, 257, 300, 512, 513, 600, 1_000).chain((tokens) =>
          fc.record({
            tokens: fc.constant(tokens),
            rounds: fc.array(fc.uniqueArray(fc.nat(tokens - 1), { minLength: 1, maxLength: 4 }), {
              minLength: 1,
              maxLength: 6,
            }),
          }),
        ),
        ({ tokens, rounds }) => {
          const bucket = bucketOf({ tokens });
          for (let n = 0; n < tokens; n++) take(bucket, 100n);
          for (const given of rounds) {
            // It remembers that there is none, in each of the blocks.
            assert.equal(bucket.take(100n), undefined);
            for (const token of given) bucket.giveBack(token, 0n);
            const found = given.map(() => take(bucket, 100n).token);
            assert.deepEqual(new Set(found), new Set(given));
          }
          assert.equal(bucket.take(100n), undefined);
        },
      ),
    );
  });

  it('looks at few tokens again to find that none is free, however many there are', () => {
    const tokens = 10_000;
    const bucket = bucketOf({ tokens, windowNs: BigInt(2 * tokens) });
    const taken = Array.from({ length: tokens }, () => take(bucket, 0n).token);
    for (const [n, token] of taken.entries()) bucket.answered(token, undefined, BigInt(n));
    let looks = 0;
    let granted = 0;
    watchAtomics(
      'load',
      () => void looks++,
      () => {
        for (let nowNs = bucket.limit.windowNs; granted < tokens; nowNs += 100n) {
          while (bucket.take(nowNs) !== undefined) granted++;
          assert.equal(granted, Math.min(tokens, Number(nowNs - bucket.limit.windowNs) + 1), 'all that are free');
        }
      },
    );
    // A hundred looks in vain: each at a few blocks and not at all.
    assert.ok(looks < 20 * tokens, `${looks} looks`);
  });

  it('reclaims nothing of the limit whose tokens stand beside its own', () => {
    const limits = [limitOf({ tokens: 8, windowNs: 100n }), limitOf({ tokens: 8, windowNs: 900n })];
    const block = createControlBlock({ tokens: [8, 8], slots: 0 });
    const [first, second] = limits.map((limit, index) => new TokenBucket(block, index, limit, 5));
    assert.ok(first && second);
    for (let n = 0; n < 8; n++) take(second, 0n);
    assert.equal(first.reclaim(5, 1_000n), 0);
    assert.deepEqual(wordsOf(second), new Array(8).fill(heldBy(5)));
  });

  it('reclaims what a dead thread held, once, and nothing else', () => {
    const limit = limitOf({ tokens: 6, windowNs: WINDOW_NS, straggleNs: 70n });
    const [main, dead, alive] = bucketsOf(limit, [0, 5, 6]);
    assert.ok(main && dead && alive);
    const answered = take(dead, 100n);
    const held = [take(dead, 100n), take(dead, 100n)].map(({ token }) => token);
    const others = take(alive, 100n);
    dead.answered(answered.token, undefined, 200n);
    const before = wordsOf(main);

    assert.equal(main.reclaim(5, 1_000n), 2);
    assert.equal(main.reclaim(5, 2_000n), 0);
    for (const [token, word] of wordsOf(main).entries()) {
      assert.equal(word, held.includes(token) ? 1_070n + WINDOW_NS : before[token]);
    }
    assert.equal(main.wordOf(others.token), heldBy(6));
  });
});

describe('TokenBucket against a model', () => {
  type Step =
    | { readonly kind: 'take'; readonly thread: number }
    | { readonly kind: 'sent' | 'answered' | 'abandoned' | 'giveBack'; readonly pick: number }
    | { readonly kind: 'die'; readonly thread: number };

  interface Held {
    readonly thread: number;
    readonly token: number;
    readonly wordBefore: bigint;
    sentAtNs: bigint | undefined;
  }

  const THREADS = [1, 2, 3];
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('take' as const), thread: fc.nat(2) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('sent' as const, 'answered' as const, 'abandoned' as const, 'giveBack' as const),
        pick: fc.nat(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), thread: fc.nat(2) }) },
  );

  it('has the words that the rules say after any steps, and misses no free token but one given back elsewhere', () => {
    fc.assert(
      fc.property(
        fc.record({
          tokens: fc.integer({ min: 1, max: 5 }),
          arrivalWithinNs: fc.option(fc.bigInt({ min: 0n, max: 3_000n }), { nil: undefined }),
          straggleNs: fc.bigInt({ min: 0n, max: 5_000n }),
        }),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 1_500n }), step), { maxLength: 120, size: 'max' }),
        (choice, steps) => {
          const limit = limitOf({ windowNs: WINDOW_NS, ...choice });
          const buckets = bucketsOf(limit, THREADS);
          const model: bigint[] = new Array(limit.tokens).fill(0n);
          let held: Held[] = [];
          let nowNs = 10n;
          let lastGivenBackNs = -WINDOW_NS;
          for (const [passNs, action] of steps) {
            nowNs += passNs;
            if (action.kind === 'take') {
              const bucket = buckets[action.thread];
              const taken = bucket?.take(nowNs);
              if (taken === undefined) {
                const isFree = model.some((word) => word >= 0n && word <= nowNs);
                // What another thread gave back is found after an eighth of a window.
                assert.ok(!isFree || nowNs - lastGivenBackNs < WINDOW_NS / 8n, 'a free token was not found');
              } else {
                assert.equal(taken.wordBefore, model[taken.token]);
                assert.ok(taken.wordBefore >= 0n && taken.wordBefore <= nowNs, 'a token that was not free');
                model[taken.token] = heldBy(THREADS[action.thread] ?? -1);
                held.push({ thread: action.thread, sentAtNs: undefined, ...taken });
              }
            } else if (action.kind === 'die') {
              const dead = THREADS[action.thread] ?? -1;
              assert.equal(buckets[0]?.reclaim(dead, nowNs), model.filter((word) => word === heldBy(dead)).length);
              for (const [token, word] of model.entries()) {
                if (word === heldBy(dead)) model[token] = nowNs + WINDOW_NS + limit.straggleNs;
              }
              held = held.filter(({ thread }) => thread !== action.thread);
            } else {
              const one = held[action.pick % Math.max(1, held.length)];
              const bucket = one && buckets[one.thread];
              if (one === undefined || bucket === undefined) continue;
              const { token, sentAtNs, wordBefore } = one;
              const { arrivalWithinNs } = limit;
              if (action.kind === 'sent') {
                if (sentAtNs !== undefined) continue;
                one.sentAtNs = nowNs;
                bucket.sent(token, nowNs);
                if (arrivalWithinNs !== undefined) model[token] = nowNs + arrivalWithinNs + WINDOW_NS;
                continue;
              }
              if (action.kind === 'giveBack' && sentAtNs !== undefined) continue;
              held = held.filter((other) => other !== one);
              const isTimed = sentAtNs !== undefined && arrivalWithinNs !== undefined;
              if (action.kind === 'giveBack') {
                bucket.giveBack(token, wordBefore);
                model[token] = wordBefore;
                lastGivenBackNs = nowNs;
              } else if (action.kind === 'answered') {
                bucket.answered(token, sentAtNs, nowNs);
                const assumed = isTimed ? sentAtNs + arrivalWithinNs + WINDOW_NS : undefined;
                const isOurs = assumed === undefined || model[token] === assumed;
                if (isOurs && (assumed === undefined || nowNs + WINDOW_NS < assumed)) model[token] = nowNs + WINDOW_NS;
              } else {
                bucket.abandoned(token, sentAtNs, nowNs);
                if (!isTimed) model[token] = nowNs + WINDOW_NS + limit.straggleNs;
              }
            }
            for (const bucket of buckets) assert.deepEqual(wordsOf(bucket), model);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
