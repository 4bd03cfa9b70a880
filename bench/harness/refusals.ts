import type { Arrival } from '../../lib/simulator/index.ts';

/** A request that was on its way when a refusal left reaches the server within this time. */
const ON_ITS_WAY_NS = 5_000_000n;

/** Requests, other than refused ones, that the server had or was about to get when it refused another. */
export function inFlightAtRefusals(arrivals: readonly Arrival[]): number {
  const refusals = arrivals.filter(isRefusal);
  const others = arrivals.filter((arrival) => !isRefusal(arrival));
  return others.filter((other) => refusals.some((refusal) => overlap(other, refusal))).length;
}

/** How many requests were refused, by the limit or by a fault. */
export function countRefusals(arrivals: readonly Arrival[]): number {
  return arrivals.filter(isRefusal).length;
}

function isRefusal({ outcome }: Arrival): boolean {
  return outcome === 'refused' || outcome === 'injected';
}

function overlap(other: Arrival, { atNs, answeredAtNs = atNs }: Arrival): boolean {
  const isBegun = other.atNs <= answeredAtNs + ON_ITS_WAY_NS;
  return isBegun && (other.answeredAtNs === undefined || other.answeredAtNs >= atNs);
}
