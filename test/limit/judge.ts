import assert from 'node:assert/strict';
import { audit } from '../../lib/audit/audit.ts';
import { type Scenario, worldOf } from './scenario.ts';
import { exactServers, firstRefusal, latenessNs, nsOf, type Refusal, spacedServers, widestGapNs } from './servers.ts';
import { findOverrun, type Observation, simulate } from './simulation.ts';

/** What came of a scenario. */
export interface Judged {
  /** Requests that were sent. */
  readonly sent: number;
  /** The servers that refused a request although they must not, each with its first refusal. */
  readonly refusals: readonly Refusal[];
  readonly seen: Observation;
}

/** Simulate a scenario, and ask every server that it must satisfy. */
export async function judge(scenario: Scenario): Promise<Judged> {
  const seen = await simulate(worldOf(scenario));
  const { countedNs } = seen;
  const refusals = scenario.limits
    .flatMap((limit) => [...exactServers(limit, countedNs), ...spacedServers(scenario, limit, countedNs)])
    .flatMap((server) => firstRefusal(server, countedNs) ?? []);
  return { sent: seen.startsNs.length, refusals, seen };
}

/**
 * Assert that of any starts in a row the last one is at least `n * gapNs - latenessNs` after the first, n starts later:
 * not what threads meant to do, but what they did.
 */
export function assertApart(startsNs: readonly number[], gapNs: number, latenessNs: number): void {
  let countsFromNs = Number.NEGATIVE_INFINITY;
  for (const [n, startNs] of startsNs.entries()) {
    const earlyNs = countsFromNs + gapNs - startNs;
    assert.ok(earlyNs <= latenessNs, `start ${n} is ${earlyNs} ns too early, ${latenessNs} ns are allowed`);
    countsFromNs = Math.max(countsFromNs + gapNs, startNs);
  }
}

/**
 * Assert all that is promised of a scenario in which the assumptions hold.
 * @returns how many requests were simulated
 */
export async function assertKept(scenario: Scenario): Promise<number> {
  const { sent, refusals, seen } = await judge(scenario);
  assert.deepEqual(refusals.slice(0, 1), [], 'no server refuses');
  for (const { tokens, windowMs, straggleMs, arrivalWithinMs, initial } of scenario.limits) {
    const windowNs = BigInt(nsOf(windowMs));
    assert.equal(findOverrun(seen.countedNs, tokens, windowNs), undefined, `more than ${tokens} in ${windowMs} ms`);
    const audited = audit(seen.requests, {
      limit: tokens,
      windowMs,
      straggleMs,
      arrivalWithinMs: arrivalWithinMs ?? undefined,
    });
    assert.ok(audited.holds, `${audited.worst?.count} can have been counted in ${windowMs} ms`);
    if (initial === 'empty') assert.ok((seen.startsNs[0] ?? Number.POSITIVE_INFINITY) >= Number(windowNs));
  }
  assertApart(seen.grantsNs, widestGapNs(scenario), latenessNs(scenario));
  assert.deepEqual(seen.freeInTheEnd.toSorted(), scenario.limits.map(({ tokens }) => tokens).toSorted());
  assert.equal(seen.stuck, 0, 'nobody waits for ever');
  assert.ok(seen.timersAtOnce <= 1, 'one timer per thread');
  return sent;
}
