import { describe, it } from 'node:test';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { TokenBucket } from '../../lib/limit/token-bucket.ts';
import { limitOf } from '../limit/worlds.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body } from './thread.ts';
import { clock, endOf, type Fate, reclaimer, requester, type TokenGhost, tokenScenario } from './token-world.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const FATES: readonly Fate[] = ['answered', 'abandoned', 'given back'];

const idsOf = (names: readonly string[]) => Object.fromEntries(names.map((name, n) => [name, n + 1]));

describe('threads that may die while they take tokens', () => {
  const taker =
    (limits: readonly PlannedLimit[], id: number): Body<TokenGhost> =>
    ({ block, act }) => {
      const hasAll = limits.every((limit, n) => new TokenBucket(block, n, limit, id).take(0n) !== undefined);
      act('goes on', () => {});
      return hasAll ? 'has it' : 'none';
    };

  /** All take; what the dead have got comes back, of those who live nothing. */
  function takers(threads: number, tokens: number, deaths: number): Scenario<TokenGhost> {
    const limits = [limitOf({ tokens })];
    const names = Array.from({ length: threads }, (_, n) => `T${n + 1}`);
    return {
      ...tokenScenario(limits),
      threads: {
        ...Object.fromEntries(names.map((name, n) => [name, taker(limits, n + 1)])),
        main: reclaimer(idsOf(names), limits),
      },
      mortal: names,
      deaths,
      end: (world) => {
        const ends = names.map((name) => (world.isDead(name) ? 'dead' : String(world.returned(name))));
        return `${ends.sort().join(', ')}: ${world.returned('main')}`;
      },
    };
  }

  it('lose none: two threads, one token', (t) =>
    exploreTo(t, takers(2, 1, 2), [
      'has it, none: 0',
      // Dead before it could take it, or with it.
      'dead, has it: 0',
      'dead, none: 1',
      'dead, dead: 0',
      'dead, dead: 1',
    ]));

  it('lose none: three threads, two tokens, two deaths', (t) =>
    exploreTo(t, takers(3, 2, 2), [
      'has it, has it, none: 0',
      'dead, has it, has it: 0',
      'dead, has it, none: 1',
      'dead, dead, has it: 0',
      'dead, dead, has it: 1',
      'dead, dead, none: 2',
    ]));
});

/** Two threads, both of which may die, with these fates. */
function twoRequests(
  limits: readonly PlannedLimit[],
  fates: readonly Fate[],
  times: readonly number[],
  mortal: readonly string[] = ['T1', 'T2'],
): Scenario<TokenGhost> {
  return {
    ...tokenScenario(limits),
    threads: {
      T1: requester('T1', 1, limits, fates),
      T2: requester('T2', 2, limits, fates),
      clock: clock(times),
      main: reclaimer(idsOf(mortal), limits),
    },
    mortal,
    deaths: mortal.length,
    end: (world) => endOf(world, ['T1', 'T2'], limits),
  };
}

/** Of one token, with the given fates. */
function endsOf(fates: readonly Fate[], isHeldToTheEnd: boolean): string[] {
  const ends: string[] = [];
  for (const one of [...fates, 'refused', 'dead']) {
    for (const two of [...fates, 'refused', 'dead']) {
      const dead = [one, two].filter((end) => end === 'dead').length;
      const isRefused = one === 'refused' || two === 'refused';
      // One is refused only by another one that has the token. If that dies when it has let go of it, nothing is taken
      // back; where it is held until the end there is no such time.
      const isPossible = !isRefused || (one !== two && !(dead === 1 && isHeldToTheEnd));
      if (isPossible) ends.push(`${one}, ${two}`);
      for (let reclaimed = 1; reclaimed <= dead; reclaimed++) ends.push(`${one}, ${two}, ${reclaimed} reclaimed`);
    }
  }
  return ends;
}

describe('a token of two threads that both may die', () => {
  it('comes back: arrival within 50 ns', (t) => {
    const limits = [limitOf({ tokens: 1, windowNs: 100n, arrivalWithinNs: 50n })];
    const fates = ['answered', 'given back'] as const;
    return exploreTo(t, twoRequests(limits, fates, [150, 200]), endsOf(fates, false));
  });

  for (const [arrivalWithinNs, times] of [
    [undefined, [200, 400]],
    [50n, [150, 200]],
    [0n, [100, 200]],
  ] as const) {
    const assumed = arrivalWithinNs === undefined ? 'nothing assumed' : `arrival within ${arrivalWithinNs} ns`;
    it(`comes back, whatever became of its request: ${assumed}`, { skip: !LONG && 'only in the long form' }, (t) => {
      const limits = [limitOf({ tokens: 1, windowNs: 100n, arrivalWithinNs })];
      return exploreTo(t, twoRequests(limits, FATES, times), endsOf(FATES, arrivalWithinNs === undefined));
    });
  }
});

describe('tokens that are free again a while after their sending, of threads that may die', () => {
  const limits = [limitOf({ tokens: 2, windowNs: 100n, arrivalWithinNs: 50n })];

  it('come back: two tokens, one death', (t) =>
    exploreTo(t, twoRequests(limits, ['answered'], [150], ['T1']), [
      'answered, answered',
      'dead, answered',
      'dead, answered, 1 reclaimed',
    ]));

  it('come back: two tokens, two deaths', { skip: !LONG && 'only in the long form' }, (t) =>
    exploreTo(t, twoRequests(limits, ['answered'], [150]), [
      'answered, answered',
      'dead, answered',
      'dead, answered, 1 reclaimed',
      'answered, dead',
      'answered, dead, 1 reclaimed',
      'dead, dead',
      'dead, dead, 1 reclaimed',
      'dead, dead, 2 reclaimed',
    ]),
  );

  it('come back: two limits, two deaths', { skip: !LONG && 'only in the long form' }, (t) => {
    const both = [...limits, limitOf({ tokens: 1, windowNs: 50n, arrivalWithinNs: 20n })];
    const ends: string[] = [];
    for (const other of ['answered', 'refused', 'dead']) {
      // A dead one held none, the first, or both.
      for (const reclaimed of ['', ', 1 reclaimed', ', 2 reclaimed']) {
        ends.push(`dead, ${other}${reclaimed}`);
        if (other !== 'dead') ends.push(`${other}, dead${reclaimed}`);
      }
      if (other !== 'dead') ends.push(`answered, ${other}`);
    }
    // Of the second limit there is only one.
    return exploreTo(t, twoRequests(both, ['answered'], [70]), [
      ...ends,
      'refused, answered',
      'dead, dead, 3 reclaimed',
    ]);
  });
});
