import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartSlots } from '../../lib/limit/start-slots.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body } from './thread.ts';
import { clock, now } from './token-world.ts';

const GAP_NS = 50;

interface StartGhost {
  now: number;
  /** In the order in which they were reserved. */
  starts: number[];
}

const starter: Body<StartGhost> = (self) => {
  const nowNs = now(self);
  const startNs = new StartSlots(self.block, 0, BigInt(GAP_NS)).reserve(nowNs);
  if (startNs === undefined) return 'refused';
  assert.ok(startNs >= nowNs && startNs <= nowNs + BigInt(GAP_NS), `${startNs} when it was ${nowNs}`);
  self.note(({ ghost }) => ghost.starts.push(Number(startNs)));
  self.act('starts', () => {});
  return `${startNs}`;
};

function starters(threads: readonly string[], times: readonly number[]): Scenario<StartGhost> {
  return {
    sizes: { tokens: [1], slots: 0 },
    ghost: { now: 0, starts: [] },
    threads: { ...Object.fromEntries(threads.map((name) => [name, starter])), clock: clock(times) },
    mortal: threads,
    deaths: 2,
    check: ({ ghost: { starts } }) => {
      for (const [n, start] of starts.slice(1).entries()) {
        assert.ok(start - (starts[n] ?? 0) >= GAP_NS, `starts at ${starts.join(', ')} are nearer than the gap`);
      }
    },
    end: (world) =>
      threads
        .map((name) => (world.isDead(name) ? 'dead' : String(world.returned(name))))
        .sort()
        .join(', '),
  };
}

describe('start slots', () => {
  it('are a gap apart, at most one gap ahead, and of the dead no more is left than the start that they had', (t) =>
    exploreTo(t, starters(['T1', 'T2'], [30]), [
      '0, 50',
      '30, 80',
      // One looked at the clock at 0 and was overtaken by one that looked later: 80 is too far ahead of 0.
      '30, refused',
      // Dead before it could reserve, or after a later start; with the start before that of the other one.
      '0, dead',
      '30, dead',
      '50, dead',
      '80, dead',
      'dead, refused',
      'dead, dead',
    ]));

  it('are refused to a third thread until one gap has passed', (t) =>
    exploreTo(t, starters(['T1', 'T2', 'T3'], [50]), [
      '0, 50, refused',
      '0, 100, 50',
      // The first one started at 50, so that 150 and, for those who looked at 0, 100 are too far ahead.
      '100, 50, refused',
      '50, refused, refused',
      '0, 50, dead',
      '100, 50, dead',
      '50, dead, refused',
      // As above, where one of the three is dead, or two are.
      '0, 100, dead',
      '0, dead, refused',
      '100, dead, refused',
      'dead, refused, refused',
      '0, dead, dead',
      '50, dead, dead',
      '100, dead, dead',
      'dead, dead, refused',
    ]));
});
