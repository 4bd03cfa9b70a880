import { describe, it } from 'node:test';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { BUCKETS } from '../../lib/shared/layout.ts';
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
