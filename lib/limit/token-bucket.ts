import type { ControlBlock } from '../shared/control-block.ts';
import type { PlannedLimit } from './plan.ts';
import { earliestFreeNs, heldBy, isFree, wordWhenAbandoned, wordWhenAnswered, wordWhenSent } from './token-word.ts';

/** Longest that a thread goes without looking for tokens that another thread gave back. */
const MAX_BLIND_NS = 50_000_000n;
/** Tokens whose earliest time is remembered as one. */
const BLOCK_TOKENS = 256;

/**
 * The tokens of one limit, as one thread sees them: each method is one atomic step on shared words, and the time is an
 * argument. Nothing here waits, and nothing is locked: a thread may die between any two steps.
 */
export class TokenBucket {
  readonly limit: PlannedLimit;
  /** How often another thread was faster at a token that was seen free. */
  collisions = 0;
  readonly #words: BigInt64Array;
  readonly #first: number;
  readonly #count: number;
  readonly #held: bigint;
  readonly #blindNs: bigint;
  /** Where to look first: tokens become free about in the order in which they were taken. */
  #cursor = 0;
  /**
   * After a look that found nothing: no token can be free before, but for one that is given back elsewhere. For each block
   * of tokens, and for all: a thread that waits looks about once per millisecond, and must not go through 50 000 tokens
   * to find that all but the next few are in use.
   */
  readonly #noneInBlockBeforeNs: bigint[];
  #noneBeforeNs = 0n;

  constructor(block: Pick<ControlBlock, 'words' | 'layout'>, index: number, limit: PlannedLimit, threadId: number) {
    const place = block.layout.tokens[index];
    if (place === undefined) throw new RangeError(`The control block has no limit ${index}.`);
    this.limit = limit;
    this.#words = block.words;
    this.#first = place.first;
    this.#count = place.count;
    this.#held = heldBy(threadId);
    this.#noneInBlockBeforeNs = new Array<bigint>(Math.ceil(place.count / BLOCK_TOKENS)).fill(0n);
    const eighthNs = limit.windowNs / 8n;
    this.#blindNs = eighthNs < MAX_BLIND_NS ? eighthNs : MAX_BLIND_NS;
  }

  /** When to look again after `take` has found nothing. */
  get noneBeforeNs(): bigint {
    return this.#noneBeforeNs;
  }

  /** The word of a token. */
  wordOf(token: number): bigint {
    return Atomics.load(this.#words, this.#first + token);
  }

  /** How many tokens are free at this time, by a glance that other threads may outrun. */
  countFree(nowNs: bigint): number {
    let free = 0;
    for (let token = 0; token < this.#count; token++) if (isFree(this.wordOf(token), nowNs)) free++;
    return free;
  }

  /** Main thread, before any other thread has the block: make the tokens free at once, or only after one window. */
  fill(nowNs: bigint): void {
    const word = this.limit.initial === 'full' ? 0n : nowNs + this.limit.windowNs;
    this.#words.fill(word, this.#first, this.#first + this.#count);
  }

  /**
   * Take a free token.
   * @returns the token and the word it had; undefined if none is free (then see `noneBeforeNs`).
   */
  take(nowNs: bigint): { readonly token: number; readonly wordBefore: bigint } | undefined {
    if (nowNs < this.#noneBeforeNs) return undefined;
    const blocks = this.#noneInBlockBeforeNs;
    let earliestNs = nowNs + this.#blindNs;
    let block = Math.floor(this.#cursor / BLOCK_TOKENS);
    for (let looked = 0; looked < blocks.length; looked++) {
      let blockNs = blocks[block] ?? 0n;
      if (nowNs >= blockNs) {
        const taken = this.#takeFrom(block, nowNs);
        if (taken !== undefined) return taken;
        blockNs = blocks[block] ?? 0n;
      }
      if (blockNs < earliestNs) earliestNs = blockNs;
      block = block + 1 === blocks.length ? 0 : block + 1;
    }
    this.#noneBeforeNs = earliestNs;
    return undefined;
  }

  /** Take a free token of a block, or remember when there can be one. */
  #takeFrom(block: number, nowNs: bigint): { readonly token: number; readonly wordBefore: bigint } | undefined {
    const first = block * BLOCK_TOKENS;
    const end = Math.min(first + BLOCK_TOKENS, this.#count);
    let token = this.#cursor >= first && this.#cursor < end ? this.#cursor : first;
    let earliestNs = nowNs + this.#blindNs;
    for (let step = first; step < end; step++) {
      let word = Atomics.load(this.#words, this.#first + token);
      if (isFree(word, nowNs)) {
        // Race: another thread sees the same token free. One of the two gets it, the other tries the next.
        const before = Atomics.compareExchange(this.#words, this.#first + token, word, this.#held);
        if (before === word) {
          this.#cursor = token + 1 === this.#count ? 0 : token + 1;
          return { token, wordBefore: word };
        }
        this.collisions++;
        word = before;
      }
      const freeNs = earliestFreeNs(word, nowNs, this.limit);
      if (freeNs < earliestNs) earliestNs = freeNs;
      token = token + 1 === end ? first : token + 1;
    }
    this.#noneInBlockBeforeNs[block] = earliestNs;
    return undefined;
  }

  /** The request of a held token has left. */
  sent(token: number, sentAtNs: bigint): void {
    const word = wordWhenSent(sentAtNs, this.limit);
    // Only the holder writes a held word; atomic, so that a scanning thread sees all 64 bits.
    if (word !== undefined) Atomics.store(this.#words, this.#first + token, word);
  }

  /** The request of a token was answered. `sentAtNs` is undefined if `sent` was never called for it. */
  answered(token: number, sentAtNs: bigint | undefined, answeredAtNs: bigint): void {
    const word = wordWhenAnswered(answeredAtNs, this.limit);
    const assumed = sentAtNs === undefined ? undefined : wordWhenSent(sentAtNs, this.limit);
    if (assumed === undefined) {
      Atomics.store(this.#words, this.#first + token, word);
    } else if (word < assumed) {
      // Race: the word may have run out and the token been taken by another thread. The assumed word is then gone for
      // good: whoever took it writes later times, and one who gives it back does so after this branch was possible.
      Atomics.compareExchange(this.#words, this.#first + token, assumed, word);
    }
  }

  /** Nobody waits for the answer any more. `sentAtNs` is undefined if `sent` was never called for it. */
  abandoned(token: number, sentAtNs: bigint | undefined, abandonedAtNs: bigint): void {
    // With `arrivalWithin`, the word that was set at sending already says all.
    if (sentAtNs !== undefined && this.limit.arrivalWithinNs !== undefined) return;
    Atomics.store(this.#words, this.#first + token, wordWhenAbandoned(abandonedAtNs, this.limit));
  }

  /** The request never left: put the word back that the token had before. */
  giveBack(token: number, wordBefore: bigint): void {
    Atomics.store(this.#words, this.#first + token, wordBefore);
    this.#noneInBlockBeforeNs[Math.floor(token / BLOCK_TOKENS)] = 0n;
    this.#noneBeforeNs = 0n;
  }

  /**
   * Main thread, after a thread's exit: let what it held rest as long as a request without an answer.
   * @returns how many tokens it held.
   */
  reclaim(deadThreadId: number, nowNs: bigint): number {
    const held = heldBy(deadThreadId);
    const word = wordWhenAbandoned(nowNs, this.limit);
    let reclaimed = 0;
    for (let at = this.#first; at < this.#first + this.#count; at++) {
      // No race with the holder, which is dead, nor with takers, who leave held words alone; compare-and-exchange only
      // because looking and writing must be one step for whoever reads this next.
      if (Atomics.compareExchange(this.#words, at, held, word) === held) reclaimed++;
    }
    return reclaimed;
  }
}
