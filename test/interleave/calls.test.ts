import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CallCounter, CallReader } from '../../lib/shared/call-ring.ts';
import { CALL_SECONDS, layOut } from '../../lib/shared/layout.ts';
import { exploreTo } from './report.ts';
import type { Body, Self, World } from './thread.ts';

const SECOND_NS = 1_000_000_000n;
const FIRST = 1_000 * CALL_SECONDS;
/** The next second that stands in the same place. */
const NEXT = FIRST + CALL_SECONDS;

const layout = layOut({ tokens: [], slots: 0, threads: 1 });
/** Where these seconds stand. */
const AT = layout.firstCalls;

interface CallGhost {
  /** What is true, and what was told, by second. */
  made: Record<string, number>;
  told: Record<string, number>;
}

/** Makes calls in these seconds. */
const caller =
  (seconds: readonly number[], begin?: (world: World<CallGhost>) => boolean): Body<CallGhost> =>
  (self) => {
    if (begin !== undefined) self.until('its place is free', begin);
    const counter = new CallCounter(self.block, 0);
    for (const second of seconds) {
      counter.count(BigInt(second) * SECOND_NS);
      self.note(({ ghost }) => {
        ghost.made[second] = (ghost.made[second] ?? 0) + 1;
      });
    }
  };

function tell(self: Self<CallGhost>, reader: CallReader): void {
  const found = reader.read();
  self.note(({ ghost }) => {
    for (const [second, calls] of found) ghost.told[second] = (ghost.told[second] ?? 0) + calls;
  });
}

/** Reads while calls are made, and once more when all is over. */
const reader: Body<CallGhost> = (self) => {
  const calls = new CallReader(self.block);
  tell(self, calls);
  self.until('all calls are made', (world) => world.isOver('T1') && world.isOver('T2'));
  tell(self, calls);
};

describe('a ring of calls', () => {
  it('tells each call once and for its own second, also if its thread dies and another one goes on', (t) => {
    const ends: string[] = [];
    for (let made = 0; made <= 2; made++) {
      // T1 may die in the first second, or in the second one, in which T2 makes two calls, if it does not die.
      for (let next = 0; next <= (made < 2 ? 2 : 4); next++) {
        // What was not read is gone when its place is used again, a minute later.
        for (let told = 0; told <= made; told++) ends.push(`${told} of ${made}, then ${next}`);
      }
    }
    return exploreTo(
      t,
      {
        sizes: { tokens: [], slots: 0, threads: 1 },
        ghost: { made: {}, told: {} } as CallGhost,
        isPrivate: ({ index }) => index !== AT && index !== AT + 1,
        threads: {
          T1: caller([FIRST, FIRST, NEXT, NEXT]),
          T2: caller([NEXT, NEXT], (world) => world.isOver('T1')),
          reader,
        },
        mortal: ['T1', 'T2'],
        deaths: 2,
        plainMayOvertake: true,
        check: ({ ghost: { made, told } }) => {
          for (const [second, calls] of Object.entries(told)) {
            assert.ok(calls <= (made[second] ?? 0), `${calls} told of ${made[second] ?? 0} calls in second ${second}`);
          }
        },
        end: ({ ghost: { made, told } }) => {
          assert.equal(told[NEXT], made[NEXT], 'calls of the last second are lost');
          return `${told[FIRST] ?? 0} of ${made[FIRST] ?? 0}, then ${made[NEXT] ?? 0}`;
        },
      },
      ends,
    );
  });
});
