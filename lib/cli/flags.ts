import { InvalidArgumentError } from 'commander';

/** The most prices that one run of the demo fetches: some 14 minutes with the conservative preset. */
export const MAX_ITEMS = 10_000;
/** Numbers of requests that can be refused on demand. */
const MAX_REQUEST = 1_000_000;
/** What the simulator takes as a seed. */
const MAX_SEED = 2 ** 32 - 1;

/** The ready-made options that the demo can run with. */
export const PRESET_NAMES = ['conservative', 'exact'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

/** What is run again after a rate-limit error. */
export const SCOPES = ['unfinished', 'batch'] as const;
export type Scope = (typeof SCOPES)[number];

/** The flags of `sluicegate demo`, as commander hands them over. */
export interface DemoFlags {
  readonly json?: boolean;
  readonly items: number;
  readonly preset: PresetName;
  /** Numbers of the requests that the server refuses, from 1. */
  readonly rejectAt?: readonly number[];
  readonly scope: Scope;
  readonly seed: number;
}

/** Value of `--items`. */
export function parseItems(text: string): number {
  return integer(text, 1, MAX_ITEMS);
}

/** Value of `--seed`. */
export function parseSeed(text: string): number {
  return integer(text, 0, MAX_SEED);
}

/** One value of `--reject-at`, which may come several times: a number or a list of them. */
export function parseRejectAt(text: string, previous: readonly number[] | undefined): readonly number[] {
  const what = `numbers of requests, from 1 to ${MAX_REQUEST}, such as 50 or 50,51,52`;
  return [...(previous ?? []), ...text.split(',').map((number) => integer(number, 1, MAX_REQUEST, what))];
}

function integer(text: string, min: number, max: number, what = `a whole number from ${min} to ${max}`): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  // Commander names the flag and the value before this.
  throw new InvalidArgumentError(`Allowed: ${what}.`);
}
