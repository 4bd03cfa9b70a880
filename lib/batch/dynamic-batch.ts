/** How the size of groups, and the wait between them, follow how the upstream fares. All are optional. */
export interface DynamicBatchOptions {
  /** The smallest group: an integer from 1 to 1 000 000. Default 5, or `maxSize` if that is less. */
  readonly minSize?: number | undefined;
  /** The largest group: an integer from `minSize` to 1 000 000. Default 100, or `minSize` if that is more. */
  readonly maxSize?: number | undefined;
  /** The shortest wait, in milliseconds from 0 to 2 147 483 647. Default 500, or `maxDelayMs` if that is less. */
  readonly minDelayMs?: number | undefined;
  /** The longest wait, in milliseconds, not less than `minDelayMs`. Default 5000, or `minDelayMs` if that is more. */
  readonly maxDelayMs?: number | undefined;
  /** Errors of the upstream per item that are taken for normal: 0 to 1. Default 0.01. */
  readonly targetErrorRate?: number | undefined;
  /** By which share size and delay change at a time: more than 0, at most 0.5. Default 0.2. */
  readonly step?: number | undefined;
  /** How many groups are looked at, and must have gone by since the last change: an integer from 1 to 1000. Default 3. */
  readonly minBatches?: number | undefined;
  /** The least time between two changes, in milliseconds from 0 to 2 147 483 647. Default 10 000. */
  readonly minIntervalMs?: number | undefined;
  /** How many times its baseline the service time may be before groups shrink: 1 to 1000. Default 1.5. */
  readonly slowdown?: number | undefined;
}

/** `DynamicBatchOptions` with every field filled. */
export type DynamicBatchRules = { readonly [K in keyof DynamicBatchOptions]-?: number };

/** The defaults of `DynamicBatchOptions`. */
export const DYNAMIC_BATCH_DEFAULTS: DynamicBatchRules = Object.freeze({
  minSize: 5,
  maxSize: 100,
  minDelayMs: 500,
  maxDelayMs: 5000,
  targetErrorRate: 0.01,
  step: 0.2,
  minBatches: 3,
  minIntervalMs: 10_000,
  slowdown: 1.5,
});

/** What a group that is done says of the upstream. */
export interface GroupResult {
  readonly items: number;
  /** Attempts with the verdict `retry`: server errors, network errors, timeouts. They speak of the upstream. */
  readonly failedAttempts: number;
  /** Attempts that the upstream refused as too fast. */
  readonly refused: number;
  /** Mean service time of the items that succeeded; undefined if none did. */
  readonly serviceMs: number | undefined;
}

/** What the controller knows. */
export interface DynamicBatchState {
  /** Items of the next group. */
  readonly size: number;
  /** The wait before it. */
  readonly delayMs: number;
  /** When one of the two changed last, or the start. */
  readonly changedAtMs: number;
  /** The latest groups since then, `minBatches` at most. */
  readonly recent: readonly GroupResult[];
  /** The service time of an upstream that is not overloaded, as far as is known. */
  readonly baselineMs: number | undefined;
}

/** How much of the way to a longer service time the baseline goes at a time. */
const BASELINE_CREEP = 0.1;
/** Growth by less is the noise of timers and schedulers, whatever multiple of a very short time it is. */
const SERVICE_NOISE_MS = 5;

/** The controller before the first group. */
export function initialState(
  { size, delayMs }: { readonly size: number; readonly delayMs: number },
  nowMs: number,
): DynamicBatchState {
  return { size, delayMs, changedAtMs: nowMs, recent: [], baselineMs: undefined };
}

/**
 * The state after a group. Nothing changes before `minBatches` groups and `minIntervalMs` have gone by since the last
 * change; then the latest `minBatches` groups decide together:
 *
 * - more errors per item than the target: a step smaller and slower; more than twice the target: two steps
 * - otherwise a mean service time of more than `slowdown` times the baseline: a step smaller and slower
 * - otherwise errors of up to half the target: a step larger and quicker. Between half the target and the target nothing
 *   changes, so that chance does not make the size swing.
 *
 * The baseline is, as in TCP Vegas (Brakmo, Peterson 1994), the shortest mean service time seen, taken for that of an
 * upstream without a queue. Vegas never forgives a route that has become longer for good; here the baseline creeps
 * towards a longer time, a tenth of the way each time it is looked at. The factor 1.5 that a service time may grow
 * by is the `rttTolerance` of Netflix's Gradient2 limit.
 */
export function observe(
  state: DynamicBatchState,
  group: GroupResult,
  rules: DynamicBatchRules,
  nowMs: number,
): DynamicBatchState {
  if (group.items === 0) return state;
  const recent = [...state.recent, group].slice(-rules.minBatches);
  if (recent.length < rules.minBatches || nowMs - state.changedAtMs < rules.minIntervalMs) return { ...state, recent };

  const serviceMs = meanServiceMs(recent);
  const isSlow = isOverloaded(serviceMs, state.baselineMs, rules.slowdown);
  const baselineMs = nextBaseline(serviceMs, state.baselineMs);
  const steps = stepsFor(errorsPerItem(recent), isSlow, rules.targetErrorRate);
  const size = nextSize(state.size, steps, rules);
  const delayMs = nextDelayMs(state.delayMs, steps, rules);
  if (size === state.size && delayMs === state.delayMs) return { ...state, recent, baselineMs };
  return { size, delayMs, changedAtMs: nowMs, recent: [], baselineMs };
}

/** Steps towards larger groups and shorter waits; negative ones lead away from that. */
function stepsFor(errorRate: number, isSlow: boolean, target: number): -2 | -1 | 0 | 1 {
  if (errorRate > 2 * target) return -2;
  if (errorRate > target || isSlow) return -1;
  return errorRate <= target / 2 ? 1 : 0;
}

function nextSize(size: number, steps: number, { step, minSize, maxSize }: DynamicBatchRules): number {
  const changed = size * (1 + steps * step);
  // Always by at least one: a fifth of 4 is less than an item.
  const whole = steps < 0 ? Math.min(size - 1, Math.round(changed)) : Math.max(size + 1, Math.round(changed));
  return steps === 0 ? size : within(whole, minSize, maxSize);
}

function nextDelayMs(delayMs: number, steps: number, { step, minDelayMs, maxDelayMs }: DynamicBatchRules): number {
  // From nothing, no factor leads away: a wait grows as if it were a hundredth of the longest one at least.
  const fromMs = steps < 0 ? Math.max(delayMs, maxDelayMs / 100) : delayMs;
  return within(fromMs * (1 - steps * step), minDelayMs, maxDelayMs);
}

function errorsPerItem(groups: readonly GroupResult[]): number {
  let items = 0;
  let errors = 0;
  for (const group of groups) {
    items += group.items;
    errors += group.failedAttempts + group.refused;
  }
  return errors / items;
}

/** Each group as heavy as it has items. */
function meanServiceMs(groups: readonly GroupResult[]): number | undefined {
  let items = 0;
  let sumMs = 0;
  for (const group of groups) {
    if (group.serviceMs === undefined) continue;
    items += group.items;
    sumMs += group.items * group.serviceMs;
  }
  return items === 0 ? undefined : sumMs / items;
}

function isOverloaded(serviceMs: number | undefined, baselineMs: number | undefined, slowdown: number): boolean {
  if (serviceMs === undefined || baselineMs === undefined) return false;
  return serviceMs > baselineMs * slowdown && serviceMs > baselineMs + SERVICE_NOISE_MS;
}

function nextBaseline(serviceMs: number | undefined, baselineMs: number | undefined): number | undefined {
  if (serviceMs === undefined || baselineMs === undefined) return serviceMs ?? baselineMs;
  return serviceMs < baselineMs ? serviceMs : baselineMs + (serviceMs - baselineMs) * BASELINE_CREEP;
}

function within(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
