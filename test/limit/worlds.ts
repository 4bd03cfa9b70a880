import fc from 'fast-check';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import type { End, Fate, World } from './simulation.ts';

export const MS = 1_000_000n;

/** A limit with nothing special about it, but for what is said. */
export function limitOf(limit: Partial<PlannedLimit> = {}): PlannedLimit {
  const windowNs = limit.windowNs ?? 100n * MS;
  return {
    tokens: 4,
    windowNs,
    gapNs: 0n,
    arrivalWithinNs: undefined,
    straggleNs: windowNs,
    initial: 'full',
    ...limit,
  };
}

const ns = (minMs: number, maxMs: number) =>
  fc.integer({ min: minMs * 1e6, max: maxMs * 1e6 }).map((value) => value + (value % 7));

/** What happens to requests, half of which are answered. */
const fates = (ends: readonly End[]): fc.Arbitrary<Fate> =>
  fc.record({
    end: fc.oneof(fc.constant<End>('answered'), fc.constantFrom(...ends)),
    reportsSent: fc.boolean(),
    thinkNs: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, ns(0, 150)),
    leaveNs: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, ns(0, 20)),
    arrivalShare: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    answerNs: fc.oneof(fc.constant(0), ns(0, 300)),
    vanishes: fc.boolean(),
  });

/**
 * How early or late timers fire, one after the other. Node's are up to 0.96 ms early, but only some of them: if all
 * were, one of a millisecond would fire 25 times in it, and a wait would be nothing but looking.
 */
const timerErrors = fc
  .tuple(
    fc.array(fc.integer({ min: -960_000, max: -1 }), { maxLength: 3 }),
    fc.array(fc.integer({ min: 0, max: 3e6 }), { minLength: 3, maxLength: 6 }),
  )
  .map(([early, late]) => late.flatMap((errorNs, place) => [errorNs, ...early.slice(place, place + 1)]));

/** A limit of a few requests per window of 5 to 200 ms. */
export const limits = (assumed: fc.Arbitrary<bigint | undefined>): fc.Arbitrary<PlannedLimit> =>
  fc
    .record({
      tokens: fc.integer({ min: 1, max: 6 }),
      windowNs: ns(5, 200).map(BigInt),
      arrivalWithinNs: assumed,
      straggleShare: fc.double({ min: 0, max: 2, noNaN: true }),
      initial: fc.constantFrom('full' as const, 'empty' as const),
    })
    .map(({ straggleShare, ...limit }) => ({
      ...limit,
      gapNs: 0n,
      straggleNs: BigInt(Math.floor(Number(limit.windowNs) * straggleShare)),
    }));

export interface WorldChoice {
  readonly limits: fc.Arbitrary<PlannedLimit[]>;
  readonly longestTravelNs: number;
  readonly ends?: readonly End[];
  readonly mayDie?: boolean;
}

const ALL_ENDS: readonly End[] = ['lost', 'given back', 'cancelled'];

/** A world as plain data, so that a case that failed can be printed, and kept. */
export interface WorldCase extends Pick<World, 'limits' | 'threads' | 'lanes' | 'longestTravelNs' | 'deathsNs'> {
  readonly fates: readonly Fate[];
  /** How early or late timers fire, one after the other, and again from the beginning. */
  readonly timerErrorsNs: readonly number[];
}

/** Build the world of a case. */
export function worldOf({ timerErrorsNs, ...world }: WorldCase): World {
  let timer = 0;
  return { ...world, timerErrorNs: () => timerErrorsNs[timer++ % timerErrorsNs.length] ?? 0 };
}

/** Worlds in which everything that is assumed of them holds, and nothing else. */
export const worldCases = ({
  limits,
  longestTravelNs,
  ends = ALL_ENDS,
  mayDie = true,
}: WorldChoice): fc.Arbitrary<WorldCase> =>
  fc.record({
    limits,
    threads: fc.integer({ min: 1, max: 3 }),
    lanes: fc.integer({ min: 1, max: 5 }),
    fates: fc.array(fates(ends), { minLength: 10, maxLength: 80, size: 'max' }),
    timerErrorsNs: timerErrors,
    deathsNs: mayDie ? fc.array(ns(0, 500), { maxLength: 3 }) : fc.constant([]),
    longestTravelNs: fc.constant(longestTravelNs),
  });
