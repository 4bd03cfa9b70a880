import assert from 'node:assert/strict';
import { audit } from '../../lib/audit/audit.ts';
import { type Scenario, worldOf } from './scenario.ts';
import { exactServers, firstRefusal, nsOf, type Refusal, spacedServers } from './servers.ts';
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
  const gapNs = Math.max(...scenario.limits.map(({ spacingMs }) => nsOf(spacingMs)));
  const startsNs = seen.grantedStartsNs.toSorted((a, b) => a - b);
  for (let n = 1; n < startsNs.length; n++) {
    assert.ok((startsNs[n] ?? 0) - (startsNs[n - 1] ?? 0) >= gapNs, `starts ${n - 1} and ${n} are too near`);
  }
  assert.deepEqual(seen.freeInTheEnd.toSorted(), scenario.limits.map(({ tokens }) => tokens).toSorted());
  assert.equal(seen.stuck, 0, 'nobody waits for ever');
  assert.ok(seen.timersAtOnce <= 1, 'one timer per thread');
  return sent;
}
