import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { runThreads } from '../shared/fixtures/run-threads.ts';
import { newStress } from '../shared/fixtures/stress.ts';
import type { StarterData, StarterReport } from './fixtures/starter.ts';
import type { TakerData, TakerReport } from './fixtures/token-taker.ts';
import { findOverrun } from './simulation.ts';
import { limitOf } from './worlds.ts';

/** A stress that never collided has shown nothing. */
const MIN_COLLISIONS = 25;
/** How long to go on until it did; on a quiet machine the first round is enough. */
const PATIENCE_MS = 60_000;

/** Repeat rounds of stress until there were enough collisions; each round is judged by itself. */
async function untilCollided(round: () => Promise<number>): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  let collisions = 0;
  do collisions += await round();
  while (collisions < MIN_COLLISIONS && performance.now() < endMs);
  assert.ok(collisions >= MIN_COLLISIONS, `only ${collisions} collisions: the threads did not run at the same time`);
}

interface Use {
  readonly token: number;
  readonly takenNs: number;
  readonly settledNs: number;
}

/** What the threads did, on one scale, in the order of taking; without what was given back. */
function usesOf(reports: readonly TakerReport[]): Use[] {
  const originNs = reports[0]?.sinceNs ?? 0n;
  const uses: Use[] = [];
  for (const { grants, sinceNs } of reports) {
    const shiftNs = Number(sinceNs - originNs);
    for (let at = 0; at < grants.length; at += 4) {
      const [token = -1, takenNs = 0, settledNs = 0, isGivenBack] = grants.subarray(at, at + 4);
      if (isGivenBack === 0) uses.push({ token, takenNs: takenNs + shiftNs, settledNs: settledNs + shiftNs });
    }
  }
  return uses.sort((a, b) => a.takenNs - b.takenNs);
}

describe('one bucket in real threads', () => {
  async function stress(threads: number, limit: PlannedLimit): Promise<number> {
    const { buffer, layout } = createControlBlock({ tokens: [limit.tokens], slots: 0 });
    const holders = new Int32Array(new SharedArrayBuffer(4 * limit.tokens));
    const together = newStress(threads, MIN_COLLISIONS, 20_000);
    const reports = await runThreads<TakerReport>(
      new URL('./fixtures/token-taker.js', import.meta.url),
      Array.from(
        { length: threads },
        (_, n): TakerData => ({ ...together, buffer, layout, limit, id: n + 1, holders }),
      ),
    );
    for (const { sharedTokens } of reports) assert.equal(sharedTokens, 0, 'a token had two holders');

    const uses = usesOf(reports);
    assert.ok(uses.length > 1_000);
    const lastOf: (Use | undefined)[] = [];
    for (const use of uses) {
      const last = lastOf[use.token];
      // Each token rests for a window between two uses.
      if (last) assert.ok(use.takenNs >= last.settledNs + Number(limit.windowNs), JSON.stringify({ last, use }));
      lastOf[use.token] = use;
    }
    // Whenever between taking and settling the upstream counts them: never more than there are tokens in a window.
    for (const part of [0, 0.3, 1]) {
      const countedNs = uses.map(({ takenNs, settledNs }) => takenNs + part * (settledNs - takenNs));
      assert.equal(
        findOverrun(
          countedNs.sort((a, b) => a - b),
          limit.tokens,
          limit.windowNs,
        ),
        undefined,
      );
    }
    return together.control[2] ?? 0;
  }

  for (const [threads, tokens] of [
    [2, 1],
    [3, 2],
    [4, 3],
  ] as const) {
    it(`never has two holders of a token, and never too many uses in a window: ${threads} threads, ${tokens} tokens`, () =>
      untilCollided(() => stress(threads, limitOf({ tokens, windowNs: 1_000n }))));
  }
});

describe('spaced starts in real threads', () => {
  async function stress(threads: number, gapsNs: readonly bigint[]): Promise<number> {
    const limits = gapsNs.map((gapNs) => limitOf({ tokens: 64, windowNs: 1n, gapNs }));
    const { buffer, layout } = createControlBlock({ tokens: limits.map(({ tokens }) => tokens), slots: 0 });
    const together = newStress(threads, MIN_COLLISIONS, 20_000);
    const reports = await runThreads<StarterReport>(
      new URL('./fixtures/starter.js', import.meta.url),
      Array.from({ length: threads }, (_, n): StarterData => ({ ...together, buffer, layout, limits, id: n + 1 })),
    );
    const starts = reports.flatMap((report) => [...report]).sort((a, b) => (a < b ? -1 : 1));
    assert.ok(starts.length > 1_000);
    for (let n = 1; n < starts.length; n++) {
      const apartNs = (starts[n] ?? 0n) - (starts[n - 1] ?? 0n);
      for (const gapNs of gapsNs)
        assert.ok(apartNs >= gapNs, `two starts are ${apartNs} ns apart, the gap is ${gapNs} ns`);
    }
    return together.control[2] ?? 0;
  }

  for (const threads of [2, 4]) {
    it(`are all a gap apart: ${threads} threads`, () => untilCollided(() => stress(threads, [2_000n])));
    it(`are all the widest gap apart under several limits: ${threads} threads`, () =>
      untilCollided(() => stress(threads, [1_500n, 2_000n])));
  }
});
