import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { type Fate, type Observation, simulate } from './simulation.ts';
import { limitOf, MS } from './worlds.ts';

interface Setting {
  readonly limit: PlannedLimit;
  readonly threads: number;
  readonly responseMs: number;
  /** How late every timer is. */
  readonly lateMs?: number;
  /** How often each token is used, so that the last window is as full as the first. */
  readonly cycles?: number;
}

/** Requests that are all answered after the same time, with always another one ready. */
function busy({ limit, threads, responseMs, lateMs = 0, cycles = 30 }: Setting): Promise<Observation> {
  const fate: Fate = {
    end: 'answered',
    reportsSent: true,
    thinkNs: 0,
    leaveNs: 0,
    arrivalShare: 0,
    answerNs: responseMs * 1e6,
    vanishes: false,
  };
  return simulate({
    limits: [limit],
    threads,
    lanes: 2 * limit.tokens,
    fates: new Array<Fate>(cycles * limit.tokens).fill(fate),
    longestTravelNs: 0,
    timerErrorNs: () => lateMs * 1e6,
    deathsNs: [],
    maxEvents: 1e6,
  });
}

/** Starts per second between the first full window and the end. */
function sustainedRate({ startsNs }: Observation, tokens: number): number {
  const first = startsNs[tokens - 1];
  const last = startsNs.at(-1);
  assert.ok(first !== undefined && last !== undefined);
  return ((startsNs.length - tokens) * 1e9) / (last - first);
}

const settings: readonly (Setting & { readonly name: string; readonly cycleMs: number })[] = [
  {
    name: '20 per second, 25 ms',
    limit: limitOf({ tokens: 20, windowNs: 1_000n * MS }),
    threads: 2,
    responseMs: 25,
    cycleMs: 1_025,
  },
  {
    name: '1 per second, 0 ms',
    limit: limitOf({ tokens: 1, windowNs: 1_000n * MS }),
    threads: 1,
    responseMs: 0,
    cycleMs: 1_000,
  },
  {
    name: '5 per 500 ms, 800 ms',
    limit: limitOf({ tokens: 5, windowNs: 500n * MS }),
    threads: 3,
    responseMs: 800,
    cycleMs: 1_300,
  },
  {
    name: '12 per second, 400 ms, arrivalWithin 50',
    limit: limitOf({ tokens: 12, windowNs: 1_000n * MS, arrivalWithinNs: 50n * MS }),
    threads: 2,
    responseMs: 400,
    cycleMs: 1_050,
  },
  {
    name: '12 per second, 20 ms, arrivalWithin 50',
    limit: limitOf({ tokens: 12, windowNs: 1_000n * MS, arrivalWithinNs: 50n * MS }),
    threads: 2,
    responseMs: 20,
    cycleMs: 1_020,
  },
  {
    name: '20 per second, 25 ms, evenly spaced',
    limit: limitOf({ tokens: 20, windowNs: 1_000n * MS, gapNs: 50n * MS }),
    threads: 2,
    responseMs: 25,
    cycleMs: 1_025,
  },
  {
    name: '20 per second, 0 ms, evenly spaced by late timers',
    limit: limitOf({ tokens: 20, windowNs: 1_000n * MS, gapNs: 50n * MS, arrivalWithinNs: 0n }),
    threads: 1,
    responseMs: 0,
    lateMs: 12,
    cycleMs: 1_000,
  },
  {
    // More tokens than starts, so that these are all that it waits for.
    name: '2000 per second, 0 ms, half a millisecond apart by timers that know only whole ones',
    limit: limitOf({ tokens: 220, windowNs: 100n * MS, gapNs: MS / 2n, arrivalWithinNs: 0n }),
    threads: 2,
    responseMs: 0,
    lateMs: 0.3,
    cycleMs: 110,
  },
];

// More tokens than one block of them, and several threads that look for them in blocks of their own.
const large = [257, 300, 600, 1_000].map((tokens) => ({
  name: `${tokens} per 100 ms, 5 ms`,
  limit: limitOf({ tokens, windowNs: 100n * MS }),
  threads: 3,
  responseMs: 5,
  cycleMs: 105,
  cycles: 8,
}));

describe('the sustained rate', () => {
  for (const { name, cycleMs, ...setting } of [...settings, ...large]) {
    it(`is N / (W + the time that a token is held), within 1%: ${name}`, async () => {
      const { tokens } = setting.limit;
      const rate = sustainedRate(await busy(setting), tokens);
      const ideal = (tokens * 1e3) / cycleMs;
      assert.ok(rate <= ideal * 1.000_1, `${rate}/s is more than ${ideal}/s`);
      assert.ok(rate >= ideal * 0.99, `${rate}/s is less than ${ideal}/s`);
    });
  }
});
