import { InvalidArgumentError } from 'commander';

/** The bounds of the engine's own options. */
const MAX_LIMIT = 1_000_000_000;
const MIN_WINDOW_MS = 0.001;
const MAX_SPAN_MS = 31 * 24 * 3_600_000;

/** The flags of `sluicegate audit`, as commander hands them over; times in milliseconds. */
export interface AuditFlags {
  readonly limit: number;
  readonly window: number;
  readonly arrivalWithin?: number;
  readonly straggle?: number;
  readonly tolerant?: boolean;
  readonly json?: boolean;
}

/** Value of `--limit`. */
export function parseLimit(text: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= MAX_LIMIT) return value;
  // Commander names the flag and the value before this.
  throw new InvalidArgumentError(`Allowed: a whole number from 1 to ${MAX_LIMIT}.`);
}

/** Value of `--window`. */
export function parseWindow(text: string): number {
  return milliseconds(text, MIN_WINDOW_MS);
}

/** Value of `--arrival-within` or `--straggle`. */
export function parseSpan(text: string): number {
  return milliseconds(text, 0);
}

function milliseconds(text: string, min: number): number {
  const value = /^\d{1,10}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= MAX_SPAN_MS) return value;
  throw new InvalidArgumentError(`Allowed: milliseconds, a number from ${min} to ${MAX_SPAN_MS}.`);
}
