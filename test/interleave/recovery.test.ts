import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { FAILURES_IN_ROW, layOut } from '../../lib/shared/layout.ts';
import type { Scenario } from './explore.ts';
import type { Access } from './memory.ts';
import { DEED, type Deed, type EngineGhost, engineGhost, mainBody, workerBody } from './recovery-world.ts';
import { exploreTo } from './report.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const sizes = { tokens: [], slots: 2 };
const layout = layOut(sizes);

/** Two failures in a row are too many. */
const TWO: FailureLimits = { failureThreshold: 2, failureRate: 1, minimumCalls: 1e6, windowMs: 8 };

interface Case {
  /** What each thread comes to with its chunks; all that is not said is answered. */
  readonly deeds: Readonly<Record<string, readonly Deed[]>>;
  readonly items: number;
  readonly mortal?: readonly string[];
  readonly limits?: FailureLimits;
}

function scenarioOf({ deeds, items, mortal = [], limits }: Case): Scenario<EngineGhost> {
  const threads = Object.keys(deeds);
  return {
    sizes,
    ghost: engineGhost(threads),
    hrtimeNs: 0n,
    threads: {
      ...Object.fromEntries(Object.entries(deeds).map(([name, own]) => [name, workerBody(name, own, limits)])),
      main: mainBody({ threads, items, limits }),
    },
    mortal,
    deaths: mortal.length,
    // Work slots are for lane.test.ts.
    isPrivate: ({ view, index }: Access) => index >= (view === 'ints' ? layout.firstSlot : layout.firstSlot / 2),
    onAccess: ({ ghost }, _, { kind, view, index }) => {
      if (kind === 'add' && view === 'ints' && index === FAILURES_IN_ROW) ghost.failures++;
    },
    end: (world) => {
      const { ghost, block } = world;
      if (limits !== undefined) {
        // Since they were told to forget, no failure was lost, and of those of before nothing is left. A thread may die
        // when it has told of one only for the share.
        const counters = new CircuitCounters(block, limits);
        assert.equal(counters.failuresInRow, ghost.failures);
        const more = counters.recent(0n).failures - ghost.failures;
        assert.ok(more >= 0 && more <= ghost.buried.length, `${more} failures too many`);
      }
      return `${ghost.events.join(', ') || 'nothing'}: ${world.returned('main') || 'none'}`;
    },
  };
}

describe('recovery from a closed gate', () => {
  it('knows of all that was found, and cancels where anything was refused', (t) =>
    exploreTo(t, scenarioOf({ deeds: { T1: [DEED.quota(100n)], T2: [DEED.refused(300n)] }, items: 2 }), [
      '1 limited, 1 refused+quota backoff: ok ok',
    ]));

  it('does not need the thread that closed it: neither for why, nor for how long, nor to tell the others', async (t) => {
    for (const [deed, event] of [
      [DEED.refused(), '1 limited, 1 refused backoff'],
      [DEED.quota(300n), '1 quota 300'],
    ] as const) {
      await exploreTo(t, scenarioOf({ deeds: { T1: [deed], T2: [] }, items: 2, mortal: ['T1'] }), [
        `${event}: ok ok`,
        // Dead before.
        'nothing: ok ok',
      ]);
    }
  });

  it('forgets wishes for quiet that are over, and none that comes after', (t) => {
    const deeds = { T1: [DEED.quota(300n), DEED.quota(100n)], T2: [DEED.ok, DEED.quota(200n)] };
    return exploreTo(t, scenarioOf({ deeds, items: 3 }), [
      '1 quota 300, 2 quota 100: ok ok ok',
      // The third item was T2's, and under way when the gate was closed.
      '1 quota 300: ok ok ok',
    ]);
  });

  it('forgets failures of before the circuit was closed again, and none that comes after', (t) => {
    const deeds = { T1: [DEED.failed, DEED.failed, DEED.ok, DEED.failed], T2: [] };
    return exploreTo(t, scenarioOf({ deeds, items: 5, limits: TWO }), [
      // T1 fails with its first two items. A probe finds that all is well. Its fourth item fails again, which is one.
      'open, 1 circuit 0, half-open, closed: NETWORK ok NETWORK ok ok',
      'open, 1 circuit 0, half-open, closed: NETWORK ok ok NETWORK ok',
      // T2 has done all the others meanwhile, so that nothing is left for a probe; or for a second failure.
      'open, 1 circuit 0, half-open: NETWORK ok NETWORK ok ok',
      'open, 1 circuit 0, half-open: NETWORK ok ok NETWORK ok',
      'open, 1 circuit 0, half-open: NETWORK ok ok ok NETWORK',
      'nothing: NETWORK ok ok ok ok',
    ]);
  });
});

describe('recovery from a closed gate, with more deaths', { skip: !LONG && 'only in the long form' }, () => {
  it('knows of all that was found, whoever dies', (t) => {
    const deeds = { T1: [DEED.quota(100n)], T2: [DEED.refused(300n)] };
    // What was found by either, by both, or by none; and what is left to do where both are dead.
    const events = ['1 limited, 1 refused backoff', '1 limited, 1 refused+quota backoff', '1 quota 100', '1 quota 300'];
    const ends = events.flatMap((event) => ['ok ok', 'ok', 'none'].map((results) => `${event}: ${results}`));
    return exploreTo(t, scenarioOf({ deeds, items: 2, mortal: ['T1', 'T2'] }), [...ends, 'nothing: none']);
  });

  it('forgets wishes for quiet that are over, and none that comes after', (t) => {
    const deeds = { T1: [DEED.quota(300n), DEED.quota(100n)], T2: [DEED.ok, DEED.quota(200n)] };
    return exploreTo(t, scenarioOf({ deeds, items: 3, mortal: ['T1'] }), [
      '1 quota 300: ok ok ok',
      '1 quota 300, 2 quota 100: ok ok ok',
      // T1 is dead, and T2 runs its item again.
      '1 quota 200: ok ok ok',
      '1 quota 300, 2 quota 200: ok ok ok',
      '1 quota 300, 2 quota 100, 3 quota 200: ok ok ok',
    ]);
  });

  it('forgets failures of before the circuit was closed again, whoever had them', (t) => {
    const deeds = { T1: [DEED.failed, DEED.ok, DEED.failed], T2: [DEED.failed] };
    return exploreTo(t, scenarioOf({ deeds, items: 5, mortal: ['T1'], limits: TWO }), [
      'open, 1 circuit 0, half-open, closed: NETWORK NETWORK ok NETWORK ok',
      'open, 1 circuit 0, half-open, closed: NETWORK NETWORK ok ok NETWORK',
      'open, 1 circuit 0, half-open, closed: NETWORK NETWORK ok ok ok',
      // T1's third item is the probe, and the batch has waited for the circuit once.
      'open, 1 circuit 0, half-open, open, 2 circuit 0, half-open: NETWORK NETWORK ok NETWORK CIRCUIT_OPEN',
      // One of the first two took so long that nothing was left for a probe.
      'open, 1 circuit 0, half-open: NETWORK NETWORK ok ok ok',
      // T1 died when it had counted its failure; before.
      'open, 1 circuit 0, half-open, closed: ok NETWORK ok ok ok',
      'nothing: ok NETWORK ok ok ok',
    ]);
  });
});
