import * as v from 'valibot';
import { InvalidOptionError } from '../errors.ts';
import { durationMs, integer, number, options, positive } from '../schema-parts.ts';
import {
  DYNAMIC_BATCH_DEFAULTS as DEFAULTS,
  type DynamicBatchOptions,
  type DynamicBatchRules,
} from './dynamic-batch.ts';
import type { GroupRules } from './feeder.ts';

/** The first group of a batch with dynamic groups, where the user does not say. */
const START = Object.freeze({ size: 50, delayMs: 1000 });

const MAX_SIZE = 1_000_000;
/** Node's timers fire at once for anything longer. */
const MAX_DELAY_MS = 2_147_483_647;

const dynamicBatch = options(
  {
    minSize: v.optional(integer(1, MAX_SIZE)),
    maxSize: v.optional(integer(1, MAX_SIZE)),
    minDelayMs: v.optional(durationMs(0, MAX_DELAY_MS)),
    maxDelayMs: v.optional(durationMs(0, MAX_DELAY_MS)),
    targetErrorRate: v.optional(number(0, 1)),
    step: v.optional(positive(0.5, 'a number more than 0 and at most 0.5')),
    minBatches: v.optional(integer(1, 1000)),
    minIntervalMs: v.optional(durationMs(0, MAX_DELAY_MS)),
    slowdown: v.optional(number(1, 1000)),
  },
  'true, false, or a plain object of options',
);

/** The entries of `RunOptions` that are about groups, for its schema. */
export const groupEntries = {
  batchSize: v.optional(integer(1, MAX_SIZE)),
  batchDelayMs: v.optional(durationMs(0, MAX_DELAY_MS)),
  dynamicBatch: v.optional(v.lazy((input) => (typeof input === 'boolean' ? v.boolean() : dynamicBatch))),
};

/** What the user said about groups: it fits `groupEntries`. */
export interface GivenGroups {
  readonly batchSize?: number | undefined;
  readonly batchDelayMs?: number | undefined;
  readonly dynamicBatch?: boolean | DynamicBatchOptions | undefined;
}

/**
 * How a batch is handed out in groups; undefined if it is not.
 * @throws InvalidOptionError for options that do not go together
 */
export function resolveGroups(given: GivenGroups): GroupRules | undefined {
  const { batchSize, batchDelayMs, dynamicBatch: dynamic = false } = given;
  if (dynamic === false) {
    if (batchSize !== undefined) return { size: batchSize, delayMs: batchDelayMs ?? 0, dynamic: undefined };
    if (batchDelayMs === undefined) return undefined;
    throw new InvalidOptionError('batchDelayMs', batchDelayMs, 'only together with "batchSize" or "dynamicBatch"');
  }
  const rules = resolveDynamic(dynamic === true ? {} : dynamic);
  const { minSize, maxSize, minDelayMs, maxDelayMs } = rules;
  return {
    size: startOf('batchSize', batchSize, START.size, minSize, maxSize),
    delayMs: startOf('batchDelayMs', batchDelayMs, START.delayMs, minDelayMs, maxDelayMs),
    dynamic: rules,
  };
}

function resolveDynamic(given: DynamicBatchOptions): DynamicBatchRules {
  const [minSize, maxSize] = boundsOf(given, 'minSize', 'maxSize');
  const [minDelayMs, maxDelayMs] = boundsOf(given, 'minDelayMs', 'maxDelayMs');
  return {
    minSize,
    maxSize,
    minDelayMs,
    maxDelayMs,
    targetErrorRate: given.targetErrorRate ?? DEFAULTS.targetErrorRate,
    step: given.step ?? DEFAULTS.step,
    minBatches: given.minBatches ?? DEFAULTS.minBatches,
    minIntervalMs: given.minIntervalMs ?? DEFAULTS.minIntervalMs,
    slowdown: given.slowdown ?? DEFAULTS.slowdown,
  };
}

/** If only one bound is given, the default of the other moves with it where it has to. */
function boundsOf(
  given: DynamicBatchOptions,
  lower: 'minSize' | 'minDelayMs',
  upper: 'maxSize' | 'maxDelayMs',
): readonly [number, number] {
  const { [lower]: min, [upper]: max } = given;
  if (min !== undefined && max !== undefined && max < min) {
    const allowed = `at least "dynamicBatch.${lower}", which is ${min}`;
    throw new InvalidOptionError(`dynamicBatch.${upper}`, max, allowed);
  }
  return [min ?? Math.min(DEFAULTS[lower], max ?? Infinity), max ?? Math.max(DEFAULTS[upper], min ?? 0)];
}

/** Where a batch begins: what is given must be within the bounds, the default is moved there. */
function startOf(option: string, given: number | undefined, usual: number, min: number, max: number): number {
  if (given === undefined) return Math.min(max, Math.max(min, usual));
  if (given >= min && given <= max) return given;
  throw new InvalidOptionError(option, given, `${min} to ${max}, the bounds of "dynamicBatch"`);
}
