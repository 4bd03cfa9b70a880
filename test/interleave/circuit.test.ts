import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { BUCKETS, FAILURES_IN_ROW } from '../../lib/shared/layout.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body, World } from './thread.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const sizes = { tokens: [], slots: 0 };
const BUCKET_NS = 1_000_000n;
const NEVER: FailureLimits = {
  failureThreshold: 1e6,
  failureRate: 1,
  minimumCalls: 1e6,
  windowMs: (BUCKETS * Number(BUCKET_NS)) / 1e6,
};

/** Fails at these times; returns what it was told each time. */
const failing =
  (limits: Partial<FailureLimits>, ...timesNs: bigint[]): Body<object> =>
  ({ block }) => {
    const counters = new CircuitCounters(block, { ...NEVER, ...limits });
    return timesNs.map((nowNs) => (counters.addFailure(nowNs) ? 'too many' : 'fine')).join(', ');
  };

const told = (world: World<object>, ...names: string[]) =>
  names
    .map((name) => (world.isDead(name) ? 'dead' : String(world.returned(name))))
    .sort()
    .join('; ');

/** What the counters know at this time. */
function known(world: World<object>, nowNs: bigint): string {
  const counters = new CircuitCounters(world.block, NEVER);
  const { calls, failures } = counters.recent(nowNs);
  return `${counters.failuresInRow} in a row, ${failures} of ${calls}`;
}

describe('circuit counters', () => {
  it('tell exactly the threads that reach the threshold, and lose no failure', (t) => {
    const thread = failing({ failureThreshold: 3 }, 0n, 0n);
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        threads: { T1: thread, T2: thread },
        end: (world) => `${told(world, 'T1', 'T2')}: ${known(world, 0n)}`,
      },
      [
        // The third and the fourth failure, whoever has them.
        'fine, fine; too many, too many: 4 in a row, 4 of 4',
        'fine, too many; fine, too many: 4 in a row, 4 of 4',
      ],
    );
  });

  it('tell at least one thread that the share of failures is too high', (t) => {
    const thread = failing({ minimumCalls: 2, failureRate: 0.5 }, 0n);
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        threads: { T1: thread, T2: thread },
        end: (world) => `${told(world, 'T1', 'T2')}: ${known(world, 0n)}`,
      },
      ['fine; too many: 2 in a row, 2 of 2', 'too many; too many: 2 in a row, 2 of 2'],
    );
  });

  it('end a row with a success, before or after a failure at the same time', (t) =>
    exploreTo(
      t,
      {
        sizes,
        ghost: {},
        threads: {
          T1: failing({ failureThreshold: 2 }, 0n, 0n),
          T2: ({ block }) => {
            const counters = new CircuitCounters(block, NEVER);
            counters.endRow();
            counters.addSuccesses(3, 0n);
          },
        },
        mortal: ['T2'],
        end: (world) => `${told(world, 'T1')}: ${known(world, 0n)}`,
      },
      [
        // The success came before the failures, or its thread died; between them; after them.
        'fine, too many: 2 in a row, 2 of 5',
        'fine, too many: 2 in a row, 2 of 2',
        'fine, fine: 1 in a row, 2 of 5',
        'fine, too many: 0 in a row, 2 of 5',
        // Dead when it had ended the row, and before it told its successes.
        'fine, fine: 1 in a row, 2 of 2',
        'fine, too many: 0 in a row, 2 of 2',
      ],
    ));

  it('begin a bucket once when its time has come again, and count late news in the new one', (t) => {
    const laterNs = BigInt(BUCKETS) * BUCKET_NS;
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        setup: (block) => new CircuitCounters(block, NEVER).addSuccesses(7, 0n),
        threads: {
          T1: failing({}, 0n),
          T2: failing({}, laterNs),
          T3: ({ block }) => new CircuitCounters(block, NEVER).addSuccesses(5, laterNs),
        },
        end: (world) => known(world, laterNs),
      },
      // Without the one of before, or with it where it came late.
      ['2 in a row, 1 of 6', '2 in a row, 2 of 7'],
    );
  });
});

interface FailureGhost {
  /** Failures that stand in the row, and whoever of the living had one too many. */
  inRow: number;
  tooMany: Record<string, number>;
}

describe('circuit counters of threads that may die', () => {
  const THRESHOLD = 2;
  const limits = { ...NEVER, failureThreshold: THRESHOLD };

  /** Nobody is left waiting, and no count is half done: what the dead had begun to tell of is told in part. */
  const scenario = (threads: Readonly<Record<string, Body<FailureGhost>>>, deaths: number): Scenario<FailureGhost> => ({
    sizes,
    ghost: { inRow: 0, tooMany: {} },
    threads,
    mortal: Object.keys(threads),
    deaths,
    onAccess: ({ ghost }, name, { kind, index }, value) => {
      if (kind === 'add' && index === FAILURES_IN_ROW) {
        ghost.inRow++;
        if (Number(value) + 1 >= THRESHOLD) ghost.tooMany[name] = (ghost.tooMany[name] ?? 0) + 1;
      }
      if (kind === 'store' && index === FAILURES_IN_ROW) ghost.inRow = 0;
    },
    end: (world) => {
      const counters = new CircuitCounters(world.block, limits);
      assert.equal(counters.failuresInRow, world.ghost.inRow);
      const names = Object.keys(threads);
      for (const name of names) {
        const times = String(world.returned(name)).split('too many').length - 1;
        if (!world.isDead(name)) assert.equal(times, world.ghost.tooMany[name] ?? 0, `${name} was not told`);
      }
      const dead = names.filter((name) => world.isDead(name)).length;
      const end = `${dead} dead: ${known(world, 0n)}`;
      // Whoever comes next can count.
      counters.addFailure(0n);
      assert.equal(counters.failuresInRow, world.ghost.inRow + 1);
      return end;
    },
  });

  /** How many failures a dead one of two has told of: in the row, and for the share, which it does before. */
  const TOLD = [
    [0, 0],
    [0, 1],
    [1, 1],
    [1, 2],
  ] as const;

  it('lose no failure that was told, and tell the others', (t) => {
    const thread = failing(limits, 0n, 0n);
    const ends = new Set(['0 dead: 4 in a row, 4 of 4']);
    for (const [row, share] of TOLD) {
      ends.add(`1 dead: ${2 + row} in a row, ${2 + share} of ${2 + share}`);
      for (const [otherRow, otherShare] of TOLD) {
        const both = share + otherShare;
        ends.add(`2 dead: ${row + otherRow} in a row, ${both} of ${both}`);
      }
    }
    return exploreTo(t, scenario({ T1: thread, T2: thread }, 2), [...ends]);
  });

  const success: Body<object> = ({ block }) => {
    const counters = new CircuitCounters(block, NEVER);
    counters.endRow();
    counters.addSuccesses(3, 0n);
  };

  it('end a row, or go on with it', (t) => {
    const ends = new Set<string>();
    for (const [row, share, dead] of [[2, 2, 0], ...TOLD.map((told) => [...told, 1] as const)] as const) {
      // It ended after any of the failures, or never, or its thread died before it told of its successes.
      for (let left = 0; left <= row; left++) {
        ends.add(`${dead} dead: ${left} in a row, ${share} of ${share + 3}`);
        ends.add(`${dead + 1} dead: ${left} in a row, ${share} of ${share}`);
      }
    }
    return exploreTo(t, scenario({ T1: failing(limits, 0n, 0n), T2: success }, 2), [...ends]);
  });

  it('begin a bucket whose time has come again, once', (t) => {
    const laterNs = BigInt(BUCKETS) * BUCKET_NS;
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        setup: (block) => new CircuitCounters(block, NEVER).addSuccesses(7, 0n),
        threads: { T1: failing({}, 0n), T2: failing({}, laterNs) },
        mortal: ['T1', 'T2'],
        deaths: 2,
        end: (world) => `${told(world, 'T1', 'T2')}: ${known(world, laterNs)}`,
      },
      [
        // The failure of T1 counts in the new bucket if it comes after its beginning. The seven of before never do.
        'fine; fine: 2 in a row, 1 of 1',
        'fine; fine: 2 in a row, 2 of 2',
        // The dead one has told nothing, or only for the share, or all.
        'dead; fine: 1 in a row, 0 of 0',
        'dead; fine: 1 in a row, 1 of 1',
        'dead; fine: 1 in a row, 2 of 2',
        'dead; fine: 2 in a row, 1 of 1',
        'dead; fine: 2 in a row, 2 of 2',
        'dead; dead: 0 in a row, 0 of 0',
        'dead; dead: 0 in a row, 1 of 1',
        'dead; dead: 0 in a row, 2 of 2',
        'dead; dead: 1 in a row, 0 of 0',
        'dead; dead: 1 in a row, 1 of 1',
        'dead; dead: 1 in a row, 2 of 2',
        'dead; dead: 2 in a row, 1 of 1',
        'dead; dead: 2 in a row, 2 of 2',
      ],
    );
  });

  it('end a row of two, or go on with it', { skip: !LONG && 'only in the long form' }, (t) => {
    const once = failing(limits, 0n);
    return exploreTo(t, scenario({ T1: once, T2: once, T3: success }, 2), [
      '0 dead: 0 in a row, 2 of 5',
      '0 dead: 1 in a row, 2 of 5',
      '0 dead: 2 in a row, 2 of 5',
      // The one with the success is dead.
      '1 dead: 0 in a row, 2 of 2',
      '1 dead: 1 in a row, 2 of 2',
      '1 dead: 2 in a row, 2 of 2',
      // One of the others is, and has told of nothing, or for the share, or of all.
      '1 dead: 0 in a row, 1 of 4',
      '1 dead: 1 in a row, 1 of 4',
      '1 dead: 0 in a row, 2 of 5',
      '1 dead: 1 in a row, 2 of 5',
      '1 dead: 2 in a row, 2 of 5',
      // Both of these.
      '2 dead: 0 in a row, 1 of 1',
      '2 dead: 1 in a row, 1 of 1',
      '2 dead: 0 in a row, 2 of 2',
      '2 dead: 1 in a row, 2 of 2',
      '2 dead: 2 in a row, 2 of 2',
      // Both of the others; not with two in the row: the second one of these has nothing more to do that it could die in.
      '2 dead: 0 in a row, 0 of 3',
      '2 dead: 0 in a row, 1 of 4',
      '2 dead: 1 in a row, 1 of 4',
      '2 dead: 0 in a row, 2 of 5',
      '2 dead: 1 in a row, 2 of 5',
    ]);
  });
});

describe('circuit counters of three threads', { skip: !LONG && 'only in the long form' }, () => {
  it('tell exactly the threads that reach the threshold, and lose no failure', (t) => {
    const once = failing({ failureThreshold: 3 }, 0n);
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        threads: { T1: failing({ failureThreshold: 3 }, 0n, 0n), T2: once, T3: once },
        end: (world) => `${told(world, 'T1', 'T2', 'T3')}: ${known(world, 0n)}`,
      },
      [
        'fine, fine; too many; too many: 4 in a row, 4 of 4',
        'fine; fine, too many; too many: 4 in a row, 4 of 4',
        'fine; fine; too many, too many: 4 in a row, 4 of 4',
      ],
    );
  });
});
