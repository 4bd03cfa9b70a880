import fc from 'fast-check';
import type { RetryRules } from '../../../lib/batch/decide.ts';
import type { DynamicBatchRules } from '../../../lib/batch/dynamic-batch.ts';
import type { BreakerRules } from '../../../lib/recover/circuit-breaker.ts';
import type { FailureLimits } from '../../../lib/shared/circuit-counters.ts';
import type { LimiterSettings } from '../../../lib/simulator/limiters.ts';
import type { ScenarioLimit } from '../scenario.ts';

/**
 * A client that hears what the server thinks of its requests, and acts on it. Plain data, so that a case that failed can
 * be printed, shrunk, and kept; what happens to each request follows from the seed. Times in milliseconds, shares from 0 to 1.
 */
export interface LoopScenario {
  readonly seed: number;
  readonly items: number;
  readonly threads: number;
  /** Lanes of each thread. */
  readonly lanes: number;
  readonly limit: ScenarioLimit;
  /** What the server allows, which may be less than the client believes. */
  readonly server: LimiterSettings;
  /** Share of requests that are refused for no reason. */
  readonly spurious: number;
  /** What refusals ask to wait; 0 for no hint. */
  readonly hintMs: number;
  /** Times in which every request fails. */
  readonly outages: readonly { readonly fromMs: number; readonly forMs: number }[];
  /** The most that a request takes to leave, to travel, and then to be answered; and that threads take to hear each other. */
  readonly leaveMs: number;
  readonly travelMs: number;
  readonly answerMs: number;
  readonly messageMs: number;
  /** Share of requests that never arrive; that are counted and never answered; whose connection is lost instead. */
  readonly vanished: number;
  readonly unanswered: number;
  readonly reset: number;
  /** Share of answers that take longer than the timeout. */
  readonly tooLate: number;
  /** Share of items that must not be sent twice. */
  readonly once: number;
  /** Share of handlers that do not hear that they are to stop. */
  readonly stubborn: number;
  /** When threads die. */
  readonly deathsMs: readonly number[];
  /** The most that timers are late. */
  readonly lateMs: number;
  readonly timeoutMs: number;
  readonly mode: 'cancel' | 'drain';
  readonly retry: RetryRules;
  readonly circuit: (BreakerRules & FailureLimits) | null;
  readonly groups: DynamicBatchRules | null;
}

const ms = (min: number, max: number) => fc.integer({ min, max });
const share = (most: number) => fc.integer({ min: 0, max: most * 100 }).map((n) => n / 100);
const oftenNone = <T>(some: fc.Arbitrary<T>, none: T) => fc.oneof(fc.constant(none), some);

const limits: fc.Arbitrary<Pick<LoopScenario, 'limit' | 'server' | 'travelMs'>> = fc
  .record({
    tokens: ms(1, 20),
    windowMs: fc.oneof(ms(20, 100), ms(50, 500)),
    travelMs: fc.oneof(ms(0, 20), ms(0, 200)),
    assumesArrival: fc.boolean(),
    isStrict: fc.constantFrom(false, false, true),
    algorithm: fc.constantFrom('fixed', 'sliding-log', 'sliding-counter', 'token-bucket', 'gcra'),
    phaseShare: fc.double({ min: 0, max: 1, noNaN: true }),
    countRefused: fc.boolean(),
    isEven: fc.boolean(),
    initial: fc.constantFrom('full' as const, 'empty' as const),
  })
  .map(
    ({
      tokens,
      windowMs,
      travelMs,
      assumesArrival,
      isStrict,
      algorithm,
      phaseShare,
      countRefused,
      isEven,
      initial,
    }) => {
      const limit = Math.max(1, isStrict ? Math.floor(tokens / 2) : tokens);
      return {
        travelMs,
        limit: {
          tokens,
          windowMs,
          spacingMs: isEven ? windowMs / tokens : 0,
          arrivalWithinMs: assumesArrival ? travelMs : null,
          // What is given up on may be counted as late as it would have been otherwise.
          straggleMs: travelMs,
          initial,
        },
        // A server that counts what it refuses, and too much of it, would never let anything through.
        server: {
          algorithm,
          limit,
          windowNs: windowMs * 1e6,
          burst: limit,
          phaseNs: Math.floor(phaseShare * windowMs * 1e6),
          countRefused: countRefused && !isStrict,
        },
      };
    },
  );

const retries: fc.Arbitrary<RetryRules> = fc
  .record({
    jitter: share(0.5),
    factor: fc.constantFrom(1, 2, 3),
    initialMs: fc.oneof(ms(1, 10), ms(1, 500)),
    maxMs: ms(500, 5_000),
    isPatient: fc.boolean(),
    maxAttempts: ms(1, 5),
    maxRefusals: ms(1, 4),
    scope: fc.constantFrom('unfinished' as const, 'unfinished' as const, 'unfinished' as const, 'batch' as const),
  })
  .map(({ isPatient, maxAttempts, maxRefusals, ...rules }) => ({
    ...rules,
    maxAttempts: isPatient ? 1_000 : maxAttempts,
    maxRefusals: isPatient ? 1_000 : maxRefusals,
    scope: isPatient ? 'unfinished' : rules.scope,
    maxRetryAfterMs: 120_000,
  }));

const circuits: fc.Arbitrary<LoopScenario['circuit']> = fc
  .record({
    failureThreshold: ms(1, 12),
    successThreshold: ms(1, 4),
    openMs: ms(50, 600),
    halfOpenProbes: ms(1, 4),
    whenOpen: fc.constantFrom('wait' as const, 'wait' as const, 'wait' as const, 'fail' as const),
  })
  .map((rules) => ({
    ...{ ...rules, openFactor: 2, maxOpenMs: 4_000 },
    ...{ failureRate: 0.5, minimumCalls: 100, windowMs: 60_000 },
  }));

const groups: fc.Arbitrary<LoopScenario['groups']> = fc
  .record({ minSize: ms(1, 20), growth: ms(1, 10), minDelayMs: ms(0, 100) })
  .map(({ minSize, growth, minDelayMs }) => ({
    minSize,
    maxSize: minSize * growth,
    minDelayMs,
    maxDelayMs: minDelayMs * growth,
    ...{ targetErrorRate: 0.01, step: 0.2, minBatches: 3, minIntervalMs: 1_000, slowdown: 1.5 },
  }));

/** Clients that believe in the limit of their server, or in twice as much, and servers that fail now and then. */
export const loopScenarios: fc.Arbitrary<LoopScenario> = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    items: fc.noBias(ms(1, 250)),
    threads: ms(1, 3),
    lanes: ms(1, 6),
    limits,
    spurious: oftenNone(share(0.2), 0),
    hintMs: fc.constantFrom(0, 0, 700),
    outages: fc.array(fc.record({ fromMs: ms(0, 1_500), forMs: ms(1, 1_500) }), { maxLength: 3 }),
    leaveMs: oftenNone(ms(0, 30), 0),
    answerMs: ms(0, 200),
    messageMs: fc.constantFrom(0, 1, 5, 60),
    vanished: oftenNone(share(0.05), 0),
    unanswered: oftenNone(share(0.05), 0),
    reset: oftenNone(share(0.05), 0),
    tooLate: oftenNone(share(0.05), 0),
    once: oftenNone(share(0.3), 0),
    stubborn: oftenNone(share(0.2), 0),
    deathsMs: oftenNone(fc.array(ms(0, 4_000), { maxLength: 4 }), []),
    lateMs: fc.constantFrom(0, 2, 80),
    timeoutMs: ms(300, 2_000),
    mode: fc.constantFrom('cancel' as const, 'cancel' as const, 'drain' as const),
    retry: retries,
    circuit: fc.option(circuits, { freq: 3, nil: null }),
    groups: oftenNone(groups, null),
  })
  .map(({ limits, ...rest }) => ({ ...rest, ...limits }));
