import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CAUSE, Gate, namesOfCauses } from '../../lib/shared/gate.ts';
import { CAUSES, GENERATION } from '../../lib/shared/layout.ts';
import { detectors } from './gate-world.ts';
import { exploreTo } from './report.ts';
import type { Body, World } from './thread.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const sizes = { tokens: [], slots: 0 };

interface GateGhost {
  /** Causes that were given by the one who closed the gate, per generation that began. */
  closedFor: Record<number, number>;
}

const noneClosed: GateGhost = { closedFor: {} };

const closer =
  (generation: number, causes: number, begin?: (world: World<GateGhost>) => boolean): Body<GateGhost> =>
  (self) => {
    if (begin !== undefined) self.until('there is work for it', begin);
    const isFirst = new Gate(self.block).close(generation, causes);
    if (!isFirst) return 'told';
    self.note(({ ghost }) => {
      assert.equal(ghost.closedFor[(generation + 1) | 0], undefined, 'closed twice');
      ghost.closedFor[(generation + 1) | 0] = causes;
    });
    return 'closed';
  };

/** Sees the gate closed, and why. */
const watcher: Body<GateGhost> = (self) => {
  const gate = new Gate(self.block);
  const { generation } = gate;
  return `${generation} ${namesOfCauses(gate.causesOf(generation)).join(' ') || 'none'}`;
};

const how = (world: World<GateGhost>, ...names: string[]) =>
  names.map((name) => (world.isDead(name) ? `${name} dead` : `${name} ${world.returned(name)}`)).join(', ');

/** Whoever sees the gate closed sees the cause of whoever closed it, until it is being closed again. */
function check({ block, ghost }: World<GateGhost>): void {
  const gate = new Gate(block);
  const { generation } = gate;
  const causes = ghost.closedFor[generation];
  if (causes === undefined || gate.causesOf(generation + 1) !== 0) return;
  assert.equal(gate.causesOf(generation) & causes, causes, 'it is closed, and the cause is not there');
}

describe('the gate', () => {
  it('is closed by one of two threads, with the causes of both, whoever dies', (t) =>
    exploreTo(
      t,
      {
        sizes,
        ghost: noneClosed,
        threads: { T1: closer(0, CAUSE.refused), T2: closer(0, CAUSE.quota), watcher },
        mortal: ['T1', 'T2'],
        deaths: 2,
        check,
        end: (world) => `${how(world, 'T1', 'T2')}; seen: ${world.returned('watcher')}`,
      },
      [
        'T1 closed, T2 told; seen: 0 none',
        'T1 closed, T2 told; seen: 1 refused',
        'T1 closed, T2 told; seen: 1 refused quota',
        'T1 told, T2 closed; seen: 0 none',
        'T1 told, T2 closed; seen: 1 quota',
        'T1 told, T2 closed; seen: 1 refused quota',
        // The dead leave a cause that is true, or none.
        'T1 closed, T2 dead; seen: 0 none',
        'T1 closed, T2 dead; seen: 1 refused',
        'T1 closed, T2 dead; seen: 1 refused quota',
        'T1 dead, T2 closed; seen: 0 none',
        'T1 dead, T2 closed; seen: 1 quota',
        'T1 dead, T2 closed; seen: 1 refused quota',
        'T1 dead, T2 dead; seen: 0 none',
      ],
    ));

  for (const first of [0, 2 ** 31 - 1]) {
    it(`is not closed twice by late news, nor for their causes: after generation ${first}`, (t) => {
      const second = (first + 1) | 0;
      const begun = ({ block }: World<GateGhost>) => block.ints[GENERATION] === second;
      return exploreTo(
        t,
        {
          sizes,
          ghost: noneClosed,
          setup: ({ ints, words }) => {
            ints[GENERATION] = first;
            words[CAUSES] = BigInt(first) << 8n;
          },
          threads: {
            T1: closer(first, CAUSE.refused),
            T2: closer(second, CAUSE.credentials, begun),
            late: closer(first, CAUSE.quota),
          },
          check,
          end: (world) => {
            const gate = new Gate(world.block);
            assert.equal(gate.generation, (first + 2) | 0);
            return `${how(world, 'T1', 'T2', 'late')}; causes: ${namesOfCauses(gate.causesOf(gate.generation))}`;
          },
        },
        [
          'T1 closed, T2 closed, late told; causes: credentials',
          'T1 told, T2 closed, late closed; causes: credentials',
        ],
      );
    });
  }

  it('keeps the longest of the wishes for quiet that came together', (t) => {
    const wisher =
      (untilNs: bigint): Body<{ longest: number }> =>
      ({ block, note }) => {
        new Gate(block).pauseUntil(untilNs);
        note(({ ghost }) => {
          ghost.longest = Math.max(ghost.longest, Number(untilNs));
        });
      };
    return exploreTo(
      t,
      {
        sizes,
        ghost: { longest: 0 },
        threads: { T1: wisher(100n), T2: wisher(300n), T3: wisher(200n) },
        mortal: ['T1', 'T2', 'T3'],
        deaths: 3,
        check: ({ block, ghost }) => assert.equal(new Gate(block).pausedUntilNs, BigInt(ghost.longest)),
        end: ({ block }) => `${new Gate(block).pausedUntilNs}`,
      },
      ['0', '100', '200', '300'],
    );
  });

  it('counts every hint that was ignored', (t) => {
    const ignorer: Body<object> = ({ block }) => new Gate(block).ignoreHints(2);
    return exploreTo(
      t,
      {
        sizes,
        ghost: {},
        threads: { T1: ignorer, T2: ignorer, T3: ignorer },
        end: ({ block }) => `${new Gate(block).hintsIgnored}`,
      },
      ['6'],
    );
  });
});

const refused = { cause: CAUSE.refused, quietNs: 300n };
const quota = { cause: CAUSE.quota, quietNs: 100n };

describe('threads that close the gate, and tell everybody', () => {
  it('leave no cause, no wish for quiet and no cancel behind, whoever dies', (t) =>
    exploreTo(t, detectors({ T1: quota, T2: refused }, 2), [
      // The one whose request was refused cancels, whether it was the first or not.
      'T1 1, T2 1 cancel; quiet until 300',
      'T1 silent, T2 1 cancel; quiet until 300',
      'T1 dead, T2 1 cancel; quiet until 300',
      // What the dead had wished before, and what they had closed without a word: the main thread tells of that.
      'T1 1, T2 dead; quiet until 100',
      'T1 1, T2 dead; quiet until 300',
      'T1 silent, T2 dead; quiet until 300',
      'T1 dead, T2 dead; quiet until 0',
      'T1 dead, T2 dead; quiet until 100',
      'T1 dead, T2 dead; quiet until 300',
    ]));

  it('tell of one event once, or of what each of them was the first to see', (t) =>
    exploreTo(t, detectors({ T1: refused, T2: { cause: CAUSE.refused, quietNs: 200n } }, 0), [
      'T1 1 cancel, T2 silent; quiet until 300',
      'T1 silent, T2 1 cancel; quiet until 300',
      // Neither had seen the cause of the other one.
      'T1 1 cancel, T2 1 cancel; quiet until 300',
    ]));

  it('tell of a refusal also if there are three of them', { skip: !LONG && 'only in the long form' }, (t) =>
    exploreTo(t, detectors({ T1: quota, T2: refused, T3: { cause: CAUSE.refused, quietNs: 200n } }, 0), [
      'T1 1, T2 1 cancel, T3 1 cancel; quiet until 300',
      'T1 1, T2 1 cancel, T3 silent; quiet until 300',
      'T1 1, T2 silent, T3 1 cancel; quiet until 300',
      'T1 silent, T2 1 cancel, T3 1 cancel; quiet until 300',
      'T1 silent, T2 1 cancel, T3 silent; quiet until 300',
      'T1 silent, T2 silent, T3 1 cancel; quiet until 300',
    ]),
  );
});
