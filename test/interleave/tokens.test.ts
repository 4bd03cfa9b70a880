import { describe, it } from 'node:test';
import { Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { TokenBucket } from '../../lib/limit/token-bucket.ts';
import { limitOf } from '../limit/worlds.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body, World } from './thread.ts';
import {
  clock,
  endOf,
  type Fate,
  reclaimer,
  requester,
  type TokenGhost,
  TokenRules,
  tokenScenario,
} from './token-world.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const FATES: readonly Fate[] = ['answered', 'abandoned', 'given back'];

const words = ({ block }: World<unknown>) =>
  block.layout.tokens.map(({ first, count }) => block.words.slice(first, first + count).join(' ')).join(' + ');

describe('threads that take tokens', () => {
  const taker =
    (id: number, tokens: number): Body<TokenGhost> =>
    ({ block }) => {
      const bucket = new TokenBucket(block, 0, limitOf({ tokens }), id);
      const taken = bucket.take(0n);
      return `${taken === undefined ? 'none' : taken.token}${'!'.repeat(bucket.collisions)}`;
    };
  const takers = (threads: number, tokens: number): Scenario<TokenGhost> => ({
    ...tokenScenario([limitOf({ tokens })]),
    threads: Object.fromEntries(Array.from({ length: threads }, (_, n) => [`T${n + 1}`, taker(n + 1, tokens)])),
    // Threads are alike: who of them it was says nothing.
    end: (world) =>
      Array.from({ length: threads }, (_, n) => String(world.returned(`T${n + 1}`)))
        .sort()
        .join(', '),
  });

  // A mark of exclamation is a collision: the token was seen free, and another thread was faster.
  it('get it once: two threads, one token', (t) => exploreTo(t, takers(2, 1), ['0, none', '0, none!']));

  it('get different ones: two threads, two tokens', (t) => exploreTo(t, takers(2, 2), ['0, 1', '0, 1!']));

  it('get one each as long as there are any: three threads, two tokens', (t) =>
    exploreTo(t, takers(3, 2), [
      '0, 1, none',
      '0, 1, none!',
      '0, 1, none!!',
      '0, 1!, none',
      '0, 1!, none!',
      '0, 1!, none!!',
    ]));

  it('get one each as long as there are any: three threads, three tokens', (t) =>
    exploreTo(t, takers(3, 3), ['0, 1, 2', '0, 1, 2!', '0, 1!, 2', '0, 1!, 2!', '0, 1, 2!!', '0, 1!, 2!!']));
});

describe('a token, taken and settled, given up or given back by threads that may die', () => {
  /** All fates of two threads but those that cannot be together, and, where the first one died, what was taken back. */
  const ends: string[] = [];
  for (const other of [...FATES, 'refused']) {
    for (const one of [...FATES, 'refused']) if (one !== other || one !== 'refused') ends.push(`${one}, ${other}`);
    // Dead without the token or after letting it go; dead while it held it.
    ends.push(`dead, ${other}`, `dead, ${other}, 1 reclaimed`);
  }

  for (const [arrivalWithinNs, times, unless] of [
    // It is held until the answer, and that is the last thing that a thread does. So a dead one has it, or never had it.
    [undefined, [200, 400], ['dead, refused']],
    // It is free again 150 ns after its sending or, if that is earlier, 100 ns after its answer.
    [50n, [150, 200], []],
    // It is free again 100 ns after its sending.
    [0n, [100, 200], []],
  ] as const) {
    const assumed = arrivalWithinNs === undefined ? 'nothing assumed' : `arrival within ${arrivalWithinNs} ns`;
    // The second one is in token-deaths.test.ts, with fewer fates.
    it(`has one holder, and rests: ${assumed}`, {
      skip: arrivalWithinNs === 50n && !LONG && 'only in the long form',
    }, async (t) => {
      const limits = [limitOf({ tokens: 1, windowNs: 100n, arrivalWithinNs })];
      await exploreTo(
        t,
        {
          ...tokenScenario(limits),
          threads: {
            T1: requester('T1', 1, limits, FATES),
            T2: requester('T2', 2, limits, FATES),
            clock: clock(times),
            main: reclaimer({ T1: 1 }, limits),
          },
          mortal: ['T1'],
          end: (world) => endOf(world, ['T1', 'T2'], limits),
        },
        ends.filter((end) => !(unless as readonly string[]).includes(end)),
      );
    });
  }
});

describe('tokens of two limits', () => {
  const limits = [limitOf({ tokens: 2, windowNs: 100n }), limitOf({ tokens: 1, windowNs: 50n })];

  it('are had together or not at all, and what was taken in vain is as it was', (t) =>
    exploreTo(
      t,
      {
        ...tokenScenario(limits),
        threads: { T1: requester('T1', 1, limits, ['answered']), T2: requester('T2', 2, limits, ['answered']) },
        end: (world) => `${endOf(world, ['T1', 'T2'], limits)}: ${words(world)}`,
      },
      // The other token of the first limit where the one who was refused had taken the first one for a moment.
      [
        'answered, refused: 100 0 + 50',
        'answered, refused: 0 100 + 50',
        'refused, answered: 100 0 + 50',
        'refused, answered: 0 100 + 50',
      ],
    ));

  it('are taken back from the dead, however many they had got', (t) =>
    exploreTo(
      t,
      {
        ...tokenScenario(limits),
        threads: {
          T1: requester('T1', 1, limits, ['answered']),
          T2: requester('T2', 2, limits, ['answered']),
          clock: clock([50]),
          main: reclaimer({ T1: 1 }, limits),
        },
        mortal: ['T1'],
        end: (world) => endOf(world, ['T1', 'T2'], limits),
      },
      [
        'answered, answered',
        'answered, refused',
        'refused, answered',
        // Before it had any, or after it gave back the one that it had got.
        'dead, answered',
        // The one that it had got when it died, or the other one when it had settled the first; both.
        'dead, answered, 1 reclaimed',
        'dead, answered, 2 reclaimed',
        'dead, refused, 1 reclaimed',
        'dead, refused, 2 reclaimed',
      ],
    ));
});

describe('a token and a start', () => {
  it('are had together or not at all, and starts are a gap apart', (t) => {
    const limits = [limitOf({ tokens: 3, windowNs: 100n, gapNs: 50n })];
    const starter =
      (id: number): Body<TokenGhost> =>
      ({ block, note }) => {
        const grant = new Limiter(block, limits, id).tryAcquire(0n);
        if (grant === undefined) note((world) => new TokenRules(limits).close(world, `T${id}`));
        return grant === undefined ? 'refused' : 'start';
      };
    return exploreTo(
      t,
      {
        ...tokenScenario(limits),
        threads: { T1: starter(1), T2: starter(2), T3: starter(3) },
        end: (world) => {
          const starts = ['T1', 'T2', 'T3'].map((name) => String(world.returned(name))).sort();
          const free = words(world)
            .split(' ')
            .filter((word) => word === '0');
          return `${starts.join(', ')}, ${free.length} free`;
        },
      },
      ['refused, refused, start, 2 free'],
    );
  });
});

describe('three threads', { skip: !LONG && 'only in the long form' }, () => {
  it('have their tokens to themselves: one of them, and two may die', (t) => {
    const limits = [limitOf({ tokens: 1, windowNs: 100n, arrivalWithinNs: 50n })];
    const ends: string[] = [];
    for (const one of ['answered', 'given back', 'refused', 'dead']) {
      for (const two of ['answered', 'refused', 'dead']) {
        for (const three of ['answered', 'refused']) {
          const all = [one, two, three];
          // The token is used at 0 and at 150. Nobody is refused by nobody.
          const uses = all.filter((end) => end === 'answered').length;
          if (uses <= 2 && all.some((end) => end !== 'refused')) ends.push(all.join(', '));
          // What is taken back rests for longer than that, so it was used last.
          if (uses <= 1 && all.includes('dead')) ends.push(`${all.join(', ')}, 1 reclaimed`);
        }
      }
    }
    return exploreTo(t, threeRequests(limits, ['answered', 'given back'], { T1: 1, T2: 2 }), ends);
  });

  it('have their tokens to themselves: two of them', (t) => {
    const limits = [limitOf({ tokens: 2, windowNs: 100n, arrivalWithinNs: 50n })];
    return exploreTo(t, threeRequests(limits, ['answered'], {}), [
      'answered, answered, answered',
      // Before 150 there are two tokens.
      'answered, answered, refused',
      'answered, refused, answered',
      'refused, answered, answered',
    ]);
  });
});

function threeRequests(
  limits: readonly PlannedLimit[],
  fates: readonly Fate[],
  mortal: Readonly<Record<string, number>>,
): Scenario<TokenGhost> {
  return {
    ...tokenScenario(limits),
    threads: {
      T1: requester('T1', 1, limits, fates),
      T2: requester('T2', 2, limits, ['answered']),
      T3: requester('T3', 3, limits, ['answered']),
      clock: clock([150]),
      main: reclaimer(mortal, limits),
    },
    mortal: Object.keys(mortal),
    deaths: 2,
    end: (world) => endOf(world, ['T1', 'T2', 'T3'], limits),
  };
}
