import fc from 'fast-check';
import { type LimitOptions, planLimits } from '../../lib/limit/plan.ts';
import { type Random, seededRandom } from '../../lib/simulator/random.ts';
import type { Fate, World } from './simulation.ts';

/**
 * A world in a few numbers: plain data, so that a case that failed can be printed, shrunk, and kept. What happens to
 * each of its many requests follows from the seed. Times are in milliseconds, shares from 0 to 1.
 */
export interface Scenario {
  readonly seed: number;
  /** Requests that are sent, but for what is lost with threads. */
  readonly requests: number;
  readonly threads: number;
  readonly lanes: number;
  /** The client's limits; `Infinity` is `null`, as JSON has it. */
  readonly limits: readonly ScenarioLimit[];
  /** All times are multiples of this, so that some fall exactly on the ends of windows; 0 for none. */
  readonly grainMs: number;
  /** The most that a lane waits before it asks, that a request takes to leave, to arrive, and to be answered. */
  readonly thinkMs: number;
  readonly leaveMs: number;
  readonly travelMs: number;
  readonly answerMs: number;
  /** Shares of requests that end so; the others are answered. */
  readonly lost: number;
  readonly givenBack: number;
  readonly cancelled: number;
  /** Share of lost requests that the upstream never hears of. */
  readonly vanished: number;
  /** Requests without an answer may arrive as late as `straggleMs` allows, and not only within `travelMs`. */
  readonly strays: boolean;
  /** Share of requests whose handler says when they leave. */
  readonly reported: number;
  /** Timers are early by up to 0.96 of this, or late by up to this. */
  readonly timerErrorMs: number;
  /** Share of timers that are late by up to `lateMs` instead. */
  readonly late: number;
  readonly lateMs: number;
  /** Share of answers after which the thread stands still for up to `stallMs` before it settles the tokens. */
  readonly stalled: number;
  readonly stallMs: number;
  /** When threads die. */
  readonly deathsMs: readonly number[];
  /** Requests travel for `travelMs` whatever `arrivalWithinMs` assumes. */
  readonly lies?: boolean;
}

/** The options of one limit. */
export type ScenarioLimit = Omit<LimitOptions, 'arrivalWithinMs'> & { readonly arrivalWithinMs: number | null };

/** How all requests of a while travel: those that travel long beside those that do not are what bunches them. */
const MOODS = ['slow', 'fast', 'any'] as const;
/** Share of requests at which the mood changes. */
const MOOD_CHANGE = 0.05;
/** Far more than any of these worlds needs. */
const EVENTS_PER_REQUEST = 2_000;

/** Build the world of a scenario. */
export function worldOf(scenario: Scenario): World {
  const random = seededRandom(scenario.seed);
  return {
    limits: planLimits(
      scenario.limits.map(({ arrivalWithinMs, ...limit }) => ({
        ...limit,
        arrivalWithinMs: arrivalWithinMs ?? Number.POSITIVE_INFINITY,
      })),
    ),
    threads: scenario.threads,
    lanes: scenario.lanes,
    fates: fatesOf(scenario, random),
    longestTravelNs: scenario.travelMs * 1e6,
    ...(scenario.strays ? {} : { longestStrayNs: scenario.travelMs * 1e6 }),
    ...(scenario.lies ? { travelsAnyway: true } : {}),
    timerErrorNs: () => {
      if (random() < scenario.late) return Math.floor(random() * scenario.lateMs * 1e6);
      return Math.floor((random() * 1.96 - 0.96) * scenario.timerErrorMs * 1e6);
    },
    deathsNs: scenario.deathsMs.map((ms) => ms * 1e6),
    maxEvents: EVENTS_PER_REQUEST * (scenario.requests + 10),
  };
}

function* fatesOf(scenario: Scenario, random: Random): Generator<Fate> {
  const grainNs = scenario.grainMs * 1e6;
  const upTo = (ms: number): number => {
    const draw = random();
    // The least, the most, or anything.
    const ns = draw < 0.3 ? 0 : draw < 0.5 ? ms * 1e6 : Math.floor(random() * ms * 1e6);
    return grainNs === 0 ? ns : ns - (ns % grainNs);
  };
  let mood: (typeof MOODS)[number] = 'slow';
  for (let sent = 0; sent < scenario.requests; ) {
    if (random() < MOOD_CHANGE) mood = MOODS[Math.floor(random() * MOODS.length)] ?? mood;
    const end = endOf(scenario, random());
    if (end === 'answered' || end === 'lost') sent++;
    yield {
      end,
      reportsSent: random() < scenario.reported,
      thinkNs: upTo(scenario.thinkMs),
      leaveNs: upTo(scenario.leaveMs),
      arrivalShare: mood === 'slow' ? 1 : mood === 'fast' ? 0 : random(),
      answerNs: upTo(scenario.answerMs),
      vanishes: random() < scenario.vanished,
      stallNs: random() < scenario.stalled ? upTo(scenario.stallMs) : 0,
    };
  }
}

function endOf({ lost, givenBack, cancelled }: Scenario, draw: number): Fate['end'] {
  if (draw < lost) return 'lost';
  if (draw < lost + givenBack) return 'given back';
  return draw < lost + givenBack + cancelled ? 'cancelled' : 'answered';
}

/** Evenly, so that the number of requests that are simulated can be foretold. */
const evenly = (min: number, max: number): fc.Arbitrary<number> => fc.noBias(fc.integer({ min, max }));
const share = (most: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: most * 100 }).map((n) => n / 100);
const oftenNone = (ms: fc.Arbitrary<number>): fc.Arbitrary<number> => fc.oneof(fc.constant(0), ms);

/** The average number of requests of a scenario. */
export const AVERAGE_REQUESTS = 800;

/** A limit of up to 40 requests in 20 to 400 ms. */
export function limitOptions(spacing: 'none' | 'even' | 'any' = 'none'): fc.Arbitrary<ScenarioLimit> {
  return fc
    .record({
      tokens: fc.integer({ min: 1, max: 40 }),
      windowMs: fc.oneof(evenly(20, 400), fc.constantFrom(20.000_001, 99.999_999, 1_000 / 3)),
      arrivalWithinShare: fc.constantFrom(null, null, 0, 0.05, 0.5),
      straggleShare: fc.constantFrom(1, 0, 0.5, 2),
      initial: fc.constantFrom('full' as const, 'empty' as const),
      gapShare: fc.constantFrom(0, 0.1, 1, 3),
    })
    .map(({ tokens, windowMs, initial, arrivalWithinShare, straggleShare, gapShare }) => ({
      tokens,
      windowMs,
      initial,
      arrivalWithinMs: arrivalWithinShare === null ? null : windowMs * arrivalWithinShare,
      straggleMs: windowMs * straggleShare,
      spacingMs: spacing === 'none' ? 0 : (windowMs / tokens) * (spacing === 'even' ? 1 : gapShare),
    }));
}

/** Scenarios in which everything may happen that is not ruled out by the assumptions. */
export function scenarios(limits: fc.Arbitrary<readonly ScenarioLimit[]>): fc.Arbitrary<Scenario> {
  return limits.chain((limits) => {
    // Short beside the window, or up to three of them.
    const windowMs = Math.ceil(Math.min(...limits.map(({ windowMs }) => windowMs)));
    const upTo = (windows: number) => fc.integer({ min: 0, max: windows * windowMs });
    return fc.record({
      seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      requests: evenly(1, 2 * AVERAGE_REQUESTS - 1),
      threads: fc.integer({ min: 1, max: 4 }),
      lanes: fc.integer({ min: 1, max: 12 }),
      limits: fc.constant(limits),
      grainMs: fc.constantFrom(0, 1, 4),
      thinkMs: oftenNone(upTo(1)),
      leaveMs: oftenNone(upTo(1)),
      travelMs: upTo(3),
      answerMs: oftenNone(upTo(2)),
      lost: share(0.3),
      givenBack: share(0.2),
      cancelled: share(0.2),
      vanished: share(1),
      strays: fc.constant(true),
      reported: share(1),
      timerErrorMs: fc.constantFrom(1, 0),
      late: share(0.3),
      lateMs: fc.constantFrom(3, 30, 500),
      stalled: share(0.1),
      stallMs: upTo(3),
      deathsMs: fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 4 }),
    });
  });
}
