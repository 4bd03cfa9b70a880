import assert from 'node:assert/strict';
import type { Outcome } from '../../../lib/types.ts';
import { exactServers, firstRefusal, nsOf } from '../servers.ts';
import { findOverrun } from '../simulation.ts';
import { runLoop } from './engine.ts';
import type { FlightEnd, LoopLog } from './log.ts';
import type { LoopScenario } from './scenario.ts';

/** What a fraction of a nanosecond loses on its way through milliseconds. */
const ROUNDING_MS = 1e-3;

/** Ends of requests after which nobody knows if they were executed. */
const IN_DOUBT: readonly (FlightEnd | undefined)[] = ['failed', 'TIMEOUT', 'dead', undefined];

function assertLimit({ limit, server, spurious }: LoopScenario, log: LoopLog): void {
  const countedNs = log.countedNs.toSorted((a, b) => a - b);
  const windowNs = BigInt(nsOf(limit.windowMs));
  assert.equal(findOverrun(countedNs, limit.tokens, windowNs), undefined, 'refusals and retries keep the limit');
  for (const exact of exactServers(limit, countedNs)) {
    assert.equal(firstRefusal(exact, countedNs), undefined, 'no server refuses');
  }
  const isExact = server.algorithm !== 'sliding-counter' && server.algorithm !== 'gcra';
  if (isExact && server.limit >= limit.tokens && spurious === 0) assert.equal(log.refusedByLimit, 0);
}

function assertPauses({ retry, hintMs, lateMs }: LoopScenario, { pauses, circuit }: LoopLog): void {
  for (const { causes, delayMs, passedMs, openedMs, eventsInRow, seenInRow, stretch, quietUntilMs } of pauses) {
    if (openedMs === undefined) continue;
    const pausedMs = openedMs - passedMs + ROUNDING_MS;
    assert.ok(openedMs + ROUNDING_MS >= quietUntilMs, 'no hint is shortened');
    // What may still start over is not given out.
    if (retry.scope === 'unfinished') assert.equal(eventsInRow, seenInRow, 'events in a row without an answered item');
    const wasOpen = circuit.some(({ state, fromMs }) => state === 'open' && fromMs <= openedMs && fromMs >= passedMs);
    if (!causes.includes('refused')) continue;
    const leastMs = Math.min(retry.maxMs, retry.initialMs * retry.factor ** (eventsInRow - 1) * stretch);
    assert.ok(pausedMs >= leastMs, `${eventsInRow} events in a row: ${pausedMs} ms are less than ${leastMs}`);
    const mostMs = Math.max(leastMs, hintMs) * (1 + retry.jitter) + ROUNDING_MS;
    assert.ok(delayMs <= mostMs, `${eventsInRow} events in a row: ${delayMs} ms are more than ${mostMs}`);
    if (!wasOpen) assert.ok(pausedMs <= mostMs + lateMs + 2, `it goes on ${pausedMs - mostMs} ms too late`);
  }
}

function assertCircuit({ circuit: rules, threads, lanes }: LoopScenario, log: LoopLog): void {
  if (rules === null) {
    assert.equal(log.circuit.length, 1);
    return;
  }
  let reopenings = 0;
  for (const [n, { state, fromMs }] of log.circuit.entries()) {
    const next = log.circuit[n + 1];
    if (state === 'closed') reopenings = -1;
    if (state !== 'open') continue;
    reopenings++;
    if (next === undefined) continue;
    assert.equal(next.state, 'half-open');
    const openMs = Math.min(rules.maxOpenMs, rules.openMs * rules.openFactor ** reopenings);
    const ms = next.fromMs - fromMs + ROUNDING_MS;
    assert.ok(ms >= openMs, `the circuit was open for ${ms} ms, not for ${openMs}`);
  }
  // Unless its thread died before it could tell.
  for (const phase of log.deaths + log.kills === 0 ? log.failedProbes : []) {
    const next = log.circuit[phase];
    assert.ok(next === undefined || next.state === 'open', 'a probe that failed opens the circuit again');
  }
  assert.ok(log.mostProbes <= rules.halfOpenProbes, `${log.mostProbes} probes at a time`);
  assert.ok(log.mostProbes <= rules.successThreshold, `${log.mostProbes} probes, where fewer would do`);
  for (const { inRow, calls } of log.openedAfter) {
    const isDue = inRow >= rules.failureThreshold || calls >= rules.minimumCalls;
    assert.ok(isDue, `the circuit opened after ${inRow} failures in a row`);
  }
  // Until it opens, a circuit lets through what makes it open, and what is in flight then.
  const most = rules.failureThreshold + threads * lanes;
  assert.ok(log.mostFailuresInRow <= most, `${log.mostFailuresInRow} failures in a row, the circuit opens at ${most}`);
}

function assertGroups({ groups: rules }: LoopScenario, { groups }: LoopLog): void {
  if (rules === null) return;
  let changedAtMs = 0;
  for (const [n, { size, delayMs, atMs }] of groups.entries()) {
    assert.ok(size >= rules.minSize && size <= rules.maxSize, `groups of ${size}`);
    if (n > 0) assert.ok(delayMs >= rules.minDelayMs && delayMs <= rules.maxDelayMs, `waits of ${delayMs} ms`);
    const next = groups[n + 1];
    if (next === undefined || (next.size === size && (n === 0 || next.delayMs === delayMs))) continue;
    assert.ok(atMs - changedAtMs >= rules.minIntervalMs, 'no change comes soon after another');
    changedAtMs = atMs;
  }
}

/** An item fails for a reason that there was. */
function assertReason(scenario: LoopScenario, log: LoopLog, item: number, outcome: Outcome): void {
  if (outcome.ok) return;
  const { retry, circuit } = scenario;
  const { code } = outcome.error;
  const flights = log.flights[item] ?? [];
  const failed = flights.filter((end) => IN_DOUBT.includes(end)).length;
  const refused = flights.filter((end) => end === 'refused').length;
  const inRow = Math.max(0, ...log.pauses.map(({ eventsInRow }) => eventsInRow));
  const rounds = log.pauses.filter(({ causes }) => causes.includes('refused')).length;
  switch (code) {
    case 'RATE_LIMITED':
      assert.ok(
        retry.scope === 'batch'
          ? rounds >= retry.maxAttempts
          : refused >= retry.maxRefusals || inRow >= retry.maxRefusals,
        `refused for good after ${refused} refusals and ${inRow} events in a row`,
      );
      break;
    case 'CIRCUIT_OPEN': {
      assert.ok(circuit !== null);
      const openings = log.circuit.filter(({ state }) => state === 'open').length;
      const isTooLong = circuit.maxOpenMs > scenario.timeoutMs;
      assert.ok(circuit.whenOpen === 'fail' ? openings > 0 : openings > 1 || (isTooLong && openings > 0));
      break;
    }
    case 'WORKER_LOST':
      assert.ok(log.deaths > 0, 'lost, although no thread died by itself');
      break;
    case 'IN_DOUBT':
      assert.ok(failed > 0 && scenario.once > 0, 'in doubt without a request');
      break;
    default:
      assert.ok(['HTTP_STATUS', 'NETWORK', 'TIMEOUT'].includes(code), `failed with ${code}`);
      assert.ok(
        failed >= retry.maxAttempts || (scenario.once > 0 && failed > 0),
        `given up after ${failed} of ${retry.maxAttempts} attempts`,
      );
  }
}

function assertItems(scenario: LoopScenario, log: LoopLog, isOnce: (item: number) => boolean): void {
  const { retry } = scenario;
  for (const [item, outcomes] of log.outcomes.entries()) {
    const [outcome] = outcomes;
    assert.ok(outcome !== undefined && outcomes.length === 1, `item ${item} has ${outcomes.length} outcomes`);
    assertReason(scenario, log, item, outcome);
    const flights = log.flights[item] ?? [];
    const count = (...ends: readonly (FlightEnd | undefined)[]) => flights.filter((end) => ends.includes(end)).length;
    if (outcome.ok) assert.ok(count('ok') > 0, 'a success without an answer');
    if (retry.scope === 'batch') continue;
    // Requests are bounded: each beyond the first has a reason, and each reason a bound. What a thread has not reported
    // before it died is not known to have been.
    const lost = log.deaths + log.kills;
    const bounds: readonly (readonly [number, number])[] = [
      [count('refused'), retry.maxRefusals + lost],
      [count('failed', 'TIMEOUT'), retry.maxAttempts + lost],
      [count('CANCELLED'), log.pauses.length],
      [count('dead', undefined), lost],
      [count('ok'), 1 + lost],
    ];
    for (const [times, most] of bounds)
      assert.ok(times <= most, `item ${item} is sent too often: ${flights.join(', ')}`);
    if (!isOnce(item)) continue;
    const doubtful = flights.findIndex((end) => end === 'ok' || IN_DOUBT.includes(end));
    assert.ok(doubtful === -1 || doubtful === flights.length - 1, `item ${item} was sent again: ${flights.join(', ')}`);
  }
}

/**
 * Let all of a scenario happen, and assert what is promised of it.
 * @returns what was to be seen
 */
export async function assertLoop(scenario: LoopScenario): Promise<LoopLog> {
  const { log, items } = await runLoop(scenario);
  assertLimit(scenario, log);
  assertItems(scenario, log, (item) => items[item]?.idempotent === false);
  assert.equal(log.sentWhileClosed, 0, 'nothing is sent between a refusal and the opening of the gate');
  assert.equal(log.overlaps, 0, 'nothing of before the barrier overlaps what comes after it');
  assertPauses(scenario, log);
  assertCircuit(scenario, log);
  assertGroups(scenario, log);
  const { circuit, once, retry, deathsMs } = scenario;
  if (circuit === null && once === 0 && retry.maxAttempts >= 1_000 && deathsMs.length === 0) {
    assert.ok(
      log.outcomes.every(([outcome]) => outcome?.ok),
      'a patient client gets everything done',
    );
  }
  assert.deepEqual([log.waiting, log.chunks, log.free], [0, 0, scenario.limit.tokens], 'nothing is left over');
  return log;
}
