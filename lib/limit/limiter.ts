import type { ControlBlock } from '../shared/control-block.ts';
import type { PlannedLimit } from './plan.ts';
import { StartSlots } from './start-slots.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * All limits of an engine, as one thread sees them. An item needs a token of each and, where starts are spaced, its turn
 * to start; it gets all of them or none.
 */
export class Limiter {
  readonly buckets: readonly TokenBucket[];
  /** Those of the widest gap only: starts that keep it keep the others too. */
  readonly #slots: StartSlots | undefined;
  #retryAtNs = 0n;

  constructor(block: Pick<ControlBlock, 'words' | 'layout'>, limits: readonly PlannedLimit[], threadId: number) {
    this.buckets = limits.map((limit, index) => new TokenBucket(block, index, limit, threadId));
    let widest = 0;
    for (const [index, { gapNs }] of limits.entries()) if (gapNs > (limits[widest]?.gapNs ?? 0n)) widest = index;
    const gapNs = limits[widest]?.gapNs ?? 0n;
    // One word alone orders the starts: of two, two threads could each be first at one.
    this.#slots = gapNs > 0n ? new StartSlots(block, widest, gapNs) : undefined;
  }

  /** When to try again after `tryAcquire` has refused. */
  get retryAtNs(): bigint {
    return this.#retryAtNs;
  }

  /** Main thread, before any other thread has the block. */
  fill(nowNs: bigint): void {
    for (const bucket of this.buckets) bucket.fill(nowNs);
  }

  /** Main thread, after a thread's exit: take back what it held. */
  reclaim(deadThreadId: number, nowNs: bigint): number {
    return this.buckets.reduce((sum, bucket) => sum + bucket.reclaim(deadThreadId, nowNs), 0);
  }

  /**
   * Take what one request needs to start now.
   * @param dueNs Since when it has been awaited: `retryAtNs` of when it was refused last. `nowNs` if it was not.
   * @returns undefined if it cannot be had now (then see `retryAtNs`).
   */
  tryAcquire(nowNs: bigint, dueNs = nowNs): Grant | undefined {
    const slots = this.#slots;
    // A look before anything is taken, only faster: a token would be taken and given back.
    if (slots !== undefined && slots.nextNs > nowNs) {
      this.#retryAtNs = slots.nextNs;
      return undefined;
    }
    const grant = new Grant();
    for (const bucket of this.buckets) {
      const taken = bucket.take(nowNs);
      if (taken === undefined) {
        this.#retryAtNs = bucket.noneBeforeNs;
        grant.giveBack();
        return undefined;
      }
      grant.add(bucket, taken.token, taken.wordBefore);
    }
    // After the tokens: a start that is not used would be lost.
    if (slots !== undefined && !slots.start(nowNs, dueNs)) {
      // Another thread has started since the look above.
      this.#retryAtNs = slots.nextNs;
      grant.giveBack();
      return undefined;
    }
    return grant;
  }
}

/**
 * What one request was granted: a token of each limit. Exactly one of `answered`, `abandoned` and `giveBack` ends it;
 * whatever comes after that does nothing.
 */
export class Grant {
  #held: { readonly bucket: TokenBucket; readonly token: number; readonly wordBefore: bigint }[] = [];
  #sentAtNs: bigint | undefined;

  /** True until the tokens are settled or given back. */
  get isOpen(): boolean {
    return this.#held.length > 0;
  }

  /** True once the request has left. */
  get isSent(): boolean {
    return this.#sentAtNs !== undefined;
  }

  add(bucket: TokenBucket, token: number, wordBefore: bigint): void {
    this.#held.push({ bucket, token, wordBefore });
  }

  /** The request has left. */
  sent(nowNs: bigint): void {
    if (this.#sentAtNs !== undefined) return;
    this.#sentAtNs = nowNs;
    for (const { bucket, token } of this.#held) bucket.sent(token, nowNs);
  }

  /** The upstream has answered. */
  answered(nowNs: bigint): void {
    for (const { bucket, token } of this.#held) bucket.answered(token, this.#sentAtNs, nowNs);
    this.#held = [];
  }

  /** Nobody waits for the answer any more. */
  abandoned(nowNs: bigint): void {
    for (const { bucket, token } of this.#held) bucket.abandoned(token, this.#sentAtNs, nowNs);
    this.#held = [];
  }

  /** The request never left. */
  giveBack(): void {
    for (const { bucket, token, wordBefore } of this.#held) bucket.giveBack(token, wordBefore);
    this.#held = [];
  }
}
