import { allowedLatenessNs } from '../../lib/limit/start-slots.ts';
import { createLimiter, type LimiterSettings } from '../../lib/simulator/limiters.ts';
import type { Scenario, ScenarioLimit } from './scenario.ts';

/** Phases at which fixed windows and weighted counters are tried, beside those that begin with a request. */
const EVEN_PHASES = 8;
const PHASES_OF_REQUESTS = 8;

/** Milliseconds as whole nanoseconds, rounded up: on a clock of whole ones a window that is not whole is as good as the next. */
export const nsOf = (ms: number): number => Math.ceil(ms * 1e6);

/** A server that must not refuse any request of a client with these options. */
export type Promised = Omit<LimiterSettings, 'countRefused'>;

/** A server that did refuse. */
export interface Refusal {
  readonly server: Promised;
  readonly atNs: number;
  /** Which of the counted requests it was. */
  readonly place: number;
}

function phases(countedNs: readonly number[], windowNs: number): number[] {
  const even = Array.from({ length: EVEN_PHASES }, (_, n) => Math.floor((n * windowNs) / EVEN_PHASES));
  const step = Math.max(1, Math.floor(countedNs.length / PHASES_OF_REQUESTS));
  // A window that begins with a request, or right after one, has the most to say.
  const own = countedNs.filter((_, place) => place % step === 0).flatMap((ns) => [ns % windowNs, (ns + 1) % windowNs]);
  return [...even, ...own];
}

/**
 * Servers that count one limit exactly, or are laxer than that: they must not refuse whatever the network does.
 *
 * A bucket of N that refills N per W lets through every client that keeps to N in any window: in a time between kW and
 * (k + 1)W there are at most (k + 1)N requests, and the bucket has N + kN for them. GCRA is the same with a tolerance of
 * N - 1. Two weighted counters estimate at most N + N.
 */
export function exactServers({ tokens: limit, windowMs }: ScenarioLimit, countedNs: readonly number[]): Promised[] {
  const windowNs = nsOf(windowMs);
  const plain = { limit, windowNs, burst: limit, phaseNs: 0 };
  return [
    { ...plain, algorithm: 'sliding-log' },
    { ...plain, algorithm: 'token-bucket' },
    { ...plain, algorithm: 'gcra', burst: limit - 1 },
    ...phases(countedNs, windowNs).flatMap((phaseNs): Promised[] => [
      { ...plain, algorithm: 'fixed', phaseNs },
      { ...plain, algorithm: 'sliding-counter', limit: 2 * limit, phaseNs },
    ]),
  ];
}

/**
 * Servers that refuse bunches, and that a client with even spacing must be able to use. Starts count from times that are
 * at least g apart, and a request arrives between 0 and J after that, where J is how late its start may be and how long
 * it leaves and travels.
 *
 * In a time T there arrive at most (T + J) / g + 1 requests. GCRA with one request per g tolerates T / g + 1 and its
 * tolerance, so a tolerance of J / g is enough. Of two weighted counters the new one has at most (x + J) / g + 1 after a
 * time x, and the old one (W + J) / g + 1, of which the share 1 - x / W counts: less than W / g + 2 J / g + 2 together.
 * Without jitter there are W / g in the old window, rounded up, and the sum is at most W / g + 1.
 */
export function spacedServers(
  scenario: Scenario,
  { windowMs }: ScenarioLimit,
  countedNs: readonly number[],
): Promised[] {
  const gapNs = widestGapNs(scenario);
  // A request without an answer that arrives as late as it likes is not spaced from anything.
  if (gapNs === 0 || scenario.strays) return [];
  const jitterNs = (scenario.leaveMs + scenario.travelMs) * 1e6 + latenessNs(scenario);
  const windowNs = nsOf(windowMs);
  const tolerance = Math.ceil(jitterNs / gapNs);
  const onePerGap = { limit: 1, windowNs: gapNs, phaseNs: 0 };
  const estimate = Math.ceil(windowNs / gapNs) + (jitterNs === 0 ? 1 : Math.ceil((2 * jitterNs) / gapNs) + 2);
  return [
    { ...onePerGap, algorithm: 'gcra', burst: tolerance },
    { ...onePerGap, algorithm: 'token-bucket', burst: tolerance + 1 },
    ...phases(countedNs, windowNs).map(
      (phaseNs): Promised => ({ algorithm: 'sliding-counter', limit: estimate, windowNs, burst: 1, phaseNs }),
    ),
  ];
}

/** The widest gap of all limits, which is the one that is kept. */
export function widestGapNs({ limits }: Scenario): number {
  return Math.max(...limits.map(({ spacingMs }) => nsOf(spacingMs)));
}

/** How much nearer than the gap two starts can be: by as much as the timer of the first one was late, within what is allowed. */
export function latenessNs(scenario: Scenario): number {
  const { limits, grainMs, timerErrorMs, late, lateMs, travelMs } = scenario;
  const isOnGrid = grainMs > 0 && travelMs === 0 && limits.every(({ spacingMs }) => Number.isInteger(spacingMs));
  const errorMs = Math.max(timerErrorMs, late > 0 ? lateMs : 0);
  // Timers know only whole milliseconds.
  const mostNs = (errorMs + (isOnGrid && errorMs === 0 ? 0 : 1)) * 1e6;
  return Math.min(mostNs, Number(allowedLatenessNs(BigInt(widestGapNs(scenario)))));
}

/** Let a server decide about all requests that arrived; undefined if it admits all. */
export function firstRefusal(server: Promised, countedNs: readonly number[]): Refusal | undefined {
  const limiter = createLimiter({ ...server, countRefused: true });
  for (const [place, atNs] of countedNs.entries()) if (!limiter.admit(atNs)) return { server, atNs, place };
  return undefined;
}
