import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartSlots } from '../../lib/limit/start-slots.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body } from './thread.ts';
import { clock, now } from './token-world.ts';

const GAP_NS = 50;
const LATENESS_NS = 10;

interface StartGhost {
  now: number;
  /** In the order of the steps by which they came about. */
  starts: number[];
}

/**
 * A thread that wants to start: now, or else when it is told to come again, or as much later as its timer is late.
 * @param goesOn whether it can die after its start, too
 */
const starter =
  (goesOn: boolean): Body<StartGhost> =>
  (self) => {
    const slots = new StartSlots(self.block, 0, BigInt(GAP_NS), BigInt(LATENESS_NS));
    let dueNs: bigint | undefined;
    for (;;) {
      const nowNs = now(self);
      if (slots.start(nowNs, dueNs ?? nowNs)) {
        self.note(({ ghost }) => ghost.starts.push(Number(nowNs)));
        if (goesOn) self.act('goes on', () => {});
        return `${nowNs}`;
      }
      const nextNs = slots.nextNs;
      assert.ok(nextNs > nowNs, 'refused although it might start');
      dueNs = nextNs;
      self.until('waits', (world) => world.isOver('clock') || world.ghost.now >= Number(nextNs));
      // Nobody would ever wake it.
      if (self.act('looks if it is too late', (world) => world.ghost.now < Number(nextNs))) return 'refused';
    }
  };

function starters(threads: readonly string[], times: readonly number[], deaths: 1 | 2): Scenario<StartGhost> {
  return {
    sizes: { tokens: [1], slots: 0 },
    ghost: { now: 0, starts: [] },
    threads: { ...Object.fromEntries(threads.map((name) => [name, starter(deaths === 2)])), clock: clock(times) },
    mortal: threads,
    deaths,
    check: ({ ghost: { starts } }) => {
      for (const [n, last] of starts.entries()) {
        for (const [m, first] of starts.slice(0, n).entries()) {
          const least = (n - m) * GAP_NS - LATENESS_NS;
          assert.ok(last - first >= least, `starts at ${starts.join(', ')} are nearer than the gap`);
        }
      }
    },
    end: (world) =>
      threads
        .map((name) => (world.isDead(name) ? 'dead' : String(world.returned(name))))
        .sort()
        .join(', '),
  };
}

describe('starts that are spaced', () => {
  it('are a gap apart, and cost nobody anything who died', (t) =>
    exploreTo(t, starters(['T1', 'T2'], [30, 50, 80], 2), [
      '0, 50',
      // Its timer is late.
      '0, 80',
      '30, 80',
      // Neither waited for the other.
      '50, refused',
      '80, refused',
      '0, dead',
      '30, dead',
      '50, dead',
      '80, dead',
      'dead, refused',
      'dead, dead',
    ]));

  it('of those who are late: the next is put off by no more than that, and not at all by a little', (t) =>
    exploreTo(t, starters(['T1', 'T2', 'T3'], [58, 100, 108], 1), [
      // Late by 8, which is made up for.
      '0, 100, 58',
      '0, 108, 58',
      // The first one came at 58 and waited for nothing.
      '108, 58, refused',
      '0, 100, refused',
      '0, 108, refused',
      '100, refused, refused',
      '108, refused, refused',
      '0, 58, dead',
      '0, 100, dead',
      '0, 108, dead',
      '108, 58, dead',
      '100, dead, refused',
      '108, dead, refused',
    ]));
});
