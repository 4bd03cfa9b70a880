import type { WorldCase } from '../worlds.ts';

/** A world that failed once, and what was wrong then. */
export interface KeptWorld {
  readonly why: string;
  readonly world: WorldCase;
}

/**
 * Worlds that failed: each is run again with every run of the tests. These were found by breaking the limiter on
 * purpose, in the way that `why` tells. Add those that a failing test prints, with what was wrong.
 */
export const KEPT_WORLDS: readonly KeptWorld[] = [
  {
    why: 'a token that does not rest longer when no answer came',
    world: {
      limits: [
        { tokens: 1, windowNs: 5_000_005n, arrivalWithinNs: undefined, initial: 'full', gapNs: 0n, straggleNs: 1n },
      ],
      threads: 1,
      lanes: 2,
      fates: [
        { end: 'lost', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 1, answerNs: 8, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'lost', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'lost', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
      ],
      timerErrorsNs: [1_552_429, -132_188, 579_772, 0, 0, 0],
      deathsNs: [],
      longestTravelNs: 250e6,
    },
  },
  {
    why: 'a start that is late and makes up for all of it',
    world: {
      limits: [
        {
          tokens: 1,
          windowNs: 5_000_005n,
          arrivalWithinNs: undefined,
          initial: 'full',
          gapNs: 2_000_001n,
          straggleNs: 0n,
        },
      ],
      threads: 1,
      lanes: 1,
      fates: [
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        {
          end: 'answered',
          reportsSent: false,
          thinkNs: 4128402,
          leaveNs: 0,
          arrivalShare: 0,
          answerNs: 0,
          vanishes: false,
        },
        {
          end: 'answered',
          reportsSent: false,
          thinkNs: 5000005,
          leaveNs: 0,
          arrivalShare: 0,
          answerNs: 0,
          vanishes: false,
        },
        {
          end: 'given back',
          reportsSent: false,
          thinkNs: 0,
          leaveNs: 0,
          arrivalShare: 0,
          answerNs: 0,
          vanishes: false,
        },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
        { end: 'answered', reportsSent: false, thinkNs: 0, leaveNs: 0, arrivalShare: 0, answerNs: 0, vanishes: false },
      ],
      timerErrorsNs: [0, 0, 1_625_001],
      deathsNs: [],
      longestTravelNs: 250e6,
    },
  },
];
