import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CAUSE } from '../../lib/shared/gate.ts';
import { type LoopObservation, type LoopScenario, runLoop } from './closed-loop.ts';
import { findOverrun } from './simulation.ts';

const ms = (min: number, max: number) => fc.integer({ min, max });
const share = (most: number) => fc.integer({ min: 0, max: most * 100 }).map((n) => n / 100);

/** Clients that believe in the limit of their server, or in twice as much, and servers that fail now and then. */
const scenarios: fc.Arbitrary<LoopScenario> = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    items: fc.noBias(ms(1, 300)),
    threads: ms(1, 3),
    lanes: ms(1, 6),
    tokens: ms(1, 20),
    windowMs: ms(50, 500),
    isStrict: fc.boolean(),
    algorithm: fc.constantFrom('fixed', 'sliding-log', 'sliding-counter', 'token-bucket', 'gcra'),
    countRefused: fc.boolean(),
    spacing: fc.constantFrom('none', 'even'),
    spurious: share(0.2),
    hintMs: fc.constantFrom(0, 0, 700),
    outages: fc.array(fc.record({ fromMs: ms(0, 4_000), forMs: ms(1, 4_000) }), { maxLength: 2 }),
    travelMs: ms(0, 100),
    answerMs: ms(0, 200),
    jitter: share(0.5),
    factor: fc.constantFrom(1, 2, 3),
    initialMs: ms(1, 500),
    maxMs: ms(500, 5_000),
    failureThreshold: ms(1, 12),
    successThreshold: ms(1, 4),
    openMs: ms(100, 2_000),
    halfOpenProbes: ms(1, 4),
    minSize: ms(1, 20),
    growth: ms(1, 10),
    minDelayMs: ms(0, 100),
  })
  .map(({ tokens, windowMs, isStrict, algorithm, countRefused, spacing, minSize, growth, minDelayMs, ...rest }) => {
    const limit = Math.max(1, isStrict ? Math.floor(tokens / 2) : tokens);
    const { jitter, factor, initialMs, maxMs, ...more } = rest;
    const { failureThreshold, successThreshold, openMs, halfOpenProbes, ...world } = more;
    return {
      ...world,
      limit: {
        tokens,
        windowMs,
        spacingMs: spacing === 'even' ? windowMs / tokens : 0,
        arrivalWithinMs: Number.POSITIVE_INFINITY,
        // What is cancelled may be counted as late as it would have been otherwise.
        straggleMs: world.travelMs,
        initial: 'full',
      },
      // A server that counts what it refuses, and too much of it, would never let anything through.
      server: {
        algorithm,
        limit,
        windowNs: windowMs * 1e6,
        burst: limit,
        phaseNs: 0,
        countRefused: countRefused && !isStrict,
      },
      retry: { initialMs, factor, maxMs, jitter },
      circuit: {
        failureThreshold,
        successThreshold,
        openMs,
        openFactor: 2,
        maxOpenMs: 8_000,
        halfOpenProbes,
        failureRate: 0.5,
        minimumCalls: 100,
        windowMs: 60_000,
      },
      groups: {
        minSize,
        maxSize: minSize * growth,
        minDelayMs,
        maxDelayMs: minDelayMs * growth,
        targetErrorRate: 0.01,
        step: 0.2,
        minBatches: 3,
        minIntervalMs: 1_000,
        slowdown: 1.5,
      },
    };
  });

function assertPauses({ retry, hintMs, circuit }: LoopScenario, { pauses }: LoopObservation): void {
  for (const { causes, passedNs, openedNs, eventsInRow, stretch, quietUntilNs, reopenings } of pauses) {
    const pausedMs = (openedNs - passedNs) / 1e6;
    // But for what a fraction of a millisecond loses on its way.
    assert.ok(openedNs + 1 >= quietUntilNs, 'no hint is shortened');
    if (reopenings !== undefined) {
      const openMs = Math.min(circuit.maxOpenMs, circuit.openMs * circuit.openFactor ** reopenings);
      assert.ok(pausedMs + 1e-6 >= openMs, `the circuit was open for ${pausedMs} ms, not for ${openMs}`);
    }
    if (causes !== CAUSE.refused) continue;
    const leastMs = Math.min(retry.maxMs, retry.initialMs * retry.factor ** (eventsInRow - 1) * stretch);
    assert.ok(pausedMs + 1e-6 >= leastMs, `${eventsInRow} events in a row: ${pausedMs} ms are less than ${leastMs}`);
    const mostMs = Math.max(leastMs, hintMs) * (1 + retry.jitter) + 1;
    assert.ok(pausedMs <= mostMs, `${eventsInRow} events in a row: ${pausedMs} ms are more than ${mostMs}`);
  }
}

function assertGroups({ groups: rules }: LoopScenario, { groups }: LoopObservation): void {
  let changedAtMs = 0;
  for (const state of groups) {
    assert.ok(state.size >= rules.minSize && state.size <= rules.maxSize, `groups of ${state.size}`);
    assert.ok(state.delayMs >= rules.minDelayMs && state.delayMs <= rules.maxDelayMs, `waits of ${state.delayMs} ms`);
    if (state.changedAtMs === changedAtMs) continue;
    assert.ok(state.changedAtMs - changedAtMs >= rules.minIntervalMs, 'no change comes soon after another');
    changedAtMs = state.changedAtMs;
  }
}

function assertLoop(scenario: LoopScenario, seen: LoopObservation): void {
  const { limit, circuit, outages } = scenario;
  assert.ok(
    seen.succeeded.every((times) => times === 1),
    'every item succeeds once',
  );
  const windowNs = BigInt(limit.windowMs * 1e6);
  assert.equal(findOverrun(seen.countedNs, limit.tokens, windowNs), undefined, 'refusals and retries keep the limit');
  assert.equal(seen.sentWhileClosed, 0, 'nothing is sent while the gate is closed');
  assert.ok(seen.mostProbes <= circuit.halfOpenProbes, `${seen.mostProbes} probes at a time`);
  assertPauses(scenario, seen);
  assertGroups(scenario, seen);
  // Until it opens, a circuit lets through what makes it open, and what is in flight then.
  const lanes = scenario.threads * scenario.lanes;
  const { closed, halfOpen } = seen.openings;
  const perOpening = circuit.failureThreshold + lanes;
  const most = (closed + outages.length) * perOpening + (closed + halfOpen) * circuit.halfOpenProbes;
  assert.ok(seen.failures <= most + closed * circuit.failureThreshold, `${seen.failures} failures, ${closed} openings`);
}

describe('a client that hears what the server says', () => {
  it('keeps its limit, its waits and its circuit, and does every item once', { timeout: 120_000 }, async (t) => {
    const seed = Number(process.env.SLUICEGATE_SEED ?? randomInt(2 ** 31));
    t.diagnostic(`seed ${seed}; to run it again: SLUICEGATE_SEED=${seed}`);
    let requests = 0;
    const had = { refusals: 0, openings: 0, reopenings: 0, changes: 0 };
    await fc.assert(
      fc.asyncProperty(scenarios, async (scenario) => {
        const seen = await runLoop(scenario);
        assertLoop(scenario, seen);
        requests += seen.countedNs.length;
        had.refusals += seen.pauses.filter(({ causes }) => (causes & CAUSE.refused) !== 0).length;
        had.openings += seen.openings.closed;
        had.reopenings += seen.openings.halfOpen;
        had.changes += seen.groups.filter(({ recent }) => recent.length === 0).length;
      }),
      { seed, numRuns: process.env.SLUICEGATE_LONG === '1' ? 20_000 : 500 },
    );
    t.diagnostic(`${requests} requests, ${JSON.stringify(had)}`);
    // Otherwise nothing was tried.
    for (const [what, times] of Object.entries(had)) assert.ok(times > 10, `${what}: ${times}`);
  });
});
