import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { audit } from '../../lib/audit/audit.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { allowedLatenessNs } from '../../lib/limit/start-slots.ts';
import { KEPT_WORLDS } from './cases/kept-worlds.ts';
import { assertApart } from './judge.ts';
import { chooseSeed } from './seed.ts';
import { findOverrun, type Observation, simulate, type World } from './simulation.ts';
import { limitOf, limits, MS, type WorldCase, type WorldChoice, worldCases, worldOf } from './worlds.ts';

const TRAVEL_NS = 250e6;
/** Without shrinking: of worlds as large as these it takes minutes, and the seed would be told too late or never. */
const AT_ONCE = { endOnFailure: true, includeErrorInReport: true };
const anything = fc.constant(undefined);
const atOnce = fc.constant(0n);
const finite = fc.bigInt({ min: 0n, max: 120n * MS });
const single = (assumed: fc.Arbitrary<bigint | undefined>) => limits(assumed).map((limit) => [limit]);

/** Milliseconds that are read as so many nanoseconds, although what is read is rounded up. */
const msOf = (ns: bigint): number => Math.max(0, (Number(ns) - 0.5) / 1e6);

/** What our side knows of its requests says that nobody can have counted too many, whoever did what. */
function assertAudited({ limits }: World, { requests }: Observation): void {
  for (const { tokens, windowNs, arrivalWithinNs, straggleNs } of limits) {
    const arrivalWithinMs = arrivalWithinNs === undefined ? undefined : msOf(arrivalWithinNs);
    const limit = { limit: tokens, windowMs: msOf(windowNs), straggleMs: msOf(straggleNs) };
    const { holds, worst } = audit(requests, { ...limit, arrivalWithinMs });
    assert.ok(holds, `${worst?.count} can have been counted in ${windowNs} ns`);
  }
}

/** What must hold in every world that keeps to what is assumed of it. */
function assertExact(world: World, seen: Observation): void {
  for (const { tokens, windowNs, initial } of world.limits) {
    assert.equal(findOverrun(seen.countedNs, tokens, windowNs), undefined, `more than ${tokens} in ${windowNs} ns`);
    if (initial === 'empty') for (const startNs of seen.startsNs) assert.ok(startNs >= Number(windowNs));
  }
  assertAudited(world, seen);
  assert.deepEqual(
    seen.freeInTheEnd,
    world.limits.map(({ tokens }) => tokens),
    'every token is free again once all has settled',
  );
  assert.equal(seen.stuck, 0, 'nobody waits for ever');
  assert.ok(seen.timersAtOnce <= 1, 'one timer per thread');
}

/** Assert all of it of a case. */
async function assertCase(one: WorldCase): Promise<void> {
  const world = worldOf(one);
  const seen = await simulate(world);
  assertExact(world, seen);
  const gapNs = Math.max(...world.limits.map((limit) => Number(limit.gapNs)));
  assertApart(seen.grantsNs, gapNs, Number(allowedLatenessNs(BigInt(gapNs))));
}

async function holds(t: TestContext, choice: WorldChoice, numRuns: number): Promise<void> {
  await fc.assert(fc.asyncProperty(worldCases(choice), assertCase), { seed: chooseSeed(t), numRuns, ...AT_ONCE });
}

describe('worlds that failed once', () => {
  for (const { why, world } of KEPT_WORLDS) it(why, () => assertCase(world));
});

describe('an upstream that counts exactly', () => {
  it('never counts too many, however long requests travel', (t) =>
    holds(t, { limits: single(anything), longestTravelNs: TRAVEL_NS }, 150));

  it('never counts too many that travel no longer than arrivalWithin', (t) =>
    holds(t, { limits: single(finite), longestTravelNs: TRAVEL_NS }, 150));

  it('never counts too many with arrivalWithin 0 and no travelling', (t) =>
    holds(t, { limits: single(atOnce), longestTravelNs: 0, ends: ['given back', 'cancelled'] }, 100));

  it('never counts too many under several limits', (t) =>
    holds(
      t,
      {
        limits: fc.array(limits(fc.oneof(anything, finite)), { minLength: 2, maxLength: 3 }),
        longestTravelNs: TRAVEL_NS,
      },
      100,
    ));

  it('sees starts at least one gap apart but for what may be late, also with several limits', (t) => {
    const spaced = fc
      .tuple(limits(fc.oneof(anything, finite)), fc.bigInt({ min: 1n, max: 40n * MS }))
      .map(([limit, gapNs]): PlannedLimit => ({ ...limit, gapNs }));
    const some = fc.array(fc.oneof(spaced, limits(anything)), { minLength: 1, maxLength: 3 });
    return holds(t, { limits: some, longestTravelNs: TRAVEL_NS }, 100);
  });
});

describe('what makes the promise', () => {
  /** Two requests that travel 90 ms and then two that travel 0, of two that are allowed per 100 ms. */
  const bunched = (arrivalWithinNs: bigint | undefined): World => ({
    limits: [limitOf({ tokens: 2, arrivalWithinNs })],
    threads: 1,
    lanes: 4,
    fates: [1, 1, 0, 0].map((arrivalShare) => ({
      end: 'answered',
      reportsSent: true,
      thinkNs: 0,
      leaveNs: 0,
      arrivalShare,
      answerNs: 0,
      vanishes: false,
    })),
    longestTravelNs: 90e6,
    timerErrorNs: () => 0,
    deathsNs: [],
  });

  it('is the assumption: with arrivalWithin 0 real delays are seen to break it', async () => {
    // The simulation keeps to the shortest assumption, so the world is made with none and then lied about.
    const honest = bunched(undefined);
    assert.equal(findOverrun((await simulate(honest)).countedNs, 2, 100n * MS), undefined);
    const liedTo = { ...bunched(0n), travelsAnyway: true };
    const late = await simulate(liedTo);
    assert.notEqual(findOverrun(late.countedNs, 2, 100n * MS), undefined);
    // By what our side knows and assumes it is right; without the assumption the audit sees that it may not be.
    assertAudited(liedTo, late);
    assert.throws(() => assertAudited(honest, late), /4 can have been counted/);
  });

  it('is the assumption: the properties above fail in worlds that do not keep to it', async (t) => {
    const choice = { limits: single(atOnce), longestTravelNs: TRAVEL_NS, mayDie: false };
    const broken = fc.asyncProperty(worldCases(choice), async (one) => {
      const world = worldOf(one);
      assertExact(world, await simulate({ ...world, travelsAnyway: true }));
    });
    const seed = chooseSeed(t);
    const { failed, errorInstance } = await fc.check(broken, { seed, numRuns: 1_000, ...AT_ONCE });
    assert.ok(failed);
    assert.match(String(errorInstance), /more than \d in \d+ ns/);
  });
});
