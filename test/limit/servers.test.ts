import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import type { Algorithm } from '../../lib/simulator/limiters.ts';
import { KEPT } from './cases/kept.ts';
import { CONVENTIONAL, FAMILIES, type Family } from './families.ts';
import type { FamilyResult, FamilyTask } from './fixtures/family-runner.ts';
import { assertKept, judge } from './judge.ts';
import { AVERAGE_REQUESTS, limitOptions, type Scenario, type ScenarioLimit, scenarios } from './scenario.ts';
import { chooseSeed } from './seed.ts';
import { firstRefusal, nsOf, type Promised } from './servers.ts';

const IS_LONG = process.env.SLUICEGATE_LONG === '1';
/** Requests that are simulated at least, over all families. */
const REQUESTS = IS_LONG ? 100_000_000 : 1_000_000;

const RUNNER = new URL('./fixtures/family-runner.js', import.meta.url);

/** Check a family, in a thread of its own, in as many scenarios as make up its share of requests. */
async function check(t: TestContext, name: string, { share }: Family): Promise<void> {
  const requests = share * REQUESTS;
  const task: FamilyTask = {
    family: name,
    seed: chooseSeed(t),
    // A tenth more than should be needed: how many requests a scenario has is up to chance.
    scenarios: Math.ceil((1.1 * requests) / AVERAGE_REQUESTS),
  };
  const startedMs = performance.now();
  const worker = new Worker(RUNNER, { workerData: task });
  t.after(() => worker.terminate());
  const [result] = (await once(worker, 'message')) as [FamilyResult];
  const perSecond = Math.round((result.requests / (performance.now() - startedMs)) * 1e3);
  t.diagnostic(`${result.requests} requests, ${perSecond} per second`);
  assert.ok(result.failure === undefined, result.failure);
  assert.ok(result.requests >= requests, `only ${result.requests} requests were simulated`);
}

/** In which of many scenarios of the conventional limiter one of these servers refuses. */
async function findRefusal(algorithm: Algorithm, seed: number): Promise<Scenario | undefined> {
  for (const scenario of fc.sample(CONVENTIONAL, { numRuns: 1_000, seed })) {
    const { refusals } = await judge(scenario);
    if (refusals.some(({ server }) => server.algorithm === algorithm)) return scenario;
  }
  return undefined;
}

describe('cases that failed once', () => {
  for (const { why, scenario } of KEPT) {
    it(why, async () => {
      await assertKept(scenario);
    });
  }
});

describe('servers of every kind, however bad the network is, refuse no request', {
  concurrency: IS_LONG ? 2 : 1,
}, () => {
  for (const [name, family] of Object.entries(FAMILIES)) {
    it(name, { timeout: IS_LONG ? 3_600_000 : 120_000 }, (t) => check(t, name, family));
  }

  it('which makes up all requests that were to be simulated', () => {
    const shares = Object.values(FAMILIES).reduce((sum, { share }) => sum + share, 0);
    assert.ok(Math.abs(shares - 1) < 1e-9);
  });

  it('whatever the phase of their windows: every one of them', async (t) => {
    const some = scenarios(limitOptions().map((limit) => [limit])).map((scenario) => ({
      ...scenario,
      requests: 1 + (scenario.requests % 300),
    }));
    const everyPhase = fc.asyncProperty(some, async (scenario) => {
      const { countedNs } = (await judge(scenario)).seen;
      for (const { tokens: limit, windowMs } of scenario.limits) {
        const windowNs = nsOf(windowMs);
        // A window with too many in it could as well begin with the first of them.
        for (const ns of countedNs) {
          const server = { algorithm: 'fixed', limit, windowNs, burst: 1, phaseNs: ns % windowNs } as const;
          assert.equal(firstRefusal(server, countedNs), undefined);
        }
      }
    });
    await fc.assert(everyPhase, { seed: chooseSeed(t), numRuns: 100 });
  });
});

describe('settings that a server needs', () => {
  const bunched = FAMILIES['of one exact limit'];
  const even = FAMILIES['of even starts without any jitter, if they tolerate nothing'];

  /** In how many of many scenarios this server refuses. */
  async function refusals(family: Family | undefined, server: (limit: ScenarioLimit) => Promised): Promise<number> {
    assert.ok(family);
    let refused = 0;
    for (const scenario of fc.sample(family.scenarios, { numRuns: 25, seed: 1 })) {
      const { seen } = await judge(scenario);
      const isRefused = scenario.limits.some((limit) => firstRefusal(server(limit), seen.countedNs) !== undefined);
      if (isRefused) refused++;
    }
    return refused;
  }

  it('are spaced starts where a bucket holds little', async () => {
    const nginx = (limit: ScenarioLimit) =>
      ({ algorithm: 'gcra', limit: limit.tokens, windowNs: nsOf(limit.windowMs), burst: 1, phaseNs: 0 }) as const;
    assert.ok((await refusals(bunched, nginx)) > 0);
    assert.equal(await refusals(even, nginx), 0);
  });

  it('are spaced starts there even if threads are late by more than the gap', async () => {
    const limit = { tokens: 20, windowMs: 1_000, arrivalWithinMs: null, straggleMs: 1_000, spacingMs: 50 };
    const [scenario] = fc.sample(scenarios(fc.constant([{ ...limit, initial: 'full' }])), { numRuns: 1, seed: 1 });
    assert.ok(scenario);
    const nginx = { algorithm: 'gcra', limit: 20, windowNs: 1e9, burst: 1, phaseNs: 0 } as const;
    for (let seed = 0; seed < 40; seed++) {
      const { seen } = await judge({
        ...{
          ...scenario,
          seed,
          requests: 200,
          threads: 4,
          lanes: 5,
          grainMs: 0,
          thinkMs: 0,
          answerMs: 20,
          deathsMs: [],
        },
        ...{ lost: 0, leaveMs: 5, travelMs: 30, stalled: 0, timerErrorMs: 1, late: 0.5, lateMs: 60 },
      });
      assert.equal(firstRefusal(nginx, seen.countedNs), undefined);
    }
  });

  it('are spaced starts and one token less where two counters are weighted', async () => {
    const counter = (spare: number) => (limit: ScenarioLimit) => {
      const settings = { limit: limit.tokens + spare, windowNs: nsOf(limit.windowMs), burst: 1, phaseNs: 0 } as const;
      return { algorithm: 'sliding-counter', ...settings } as const;
    };
    assert.ok((await refusals(bunched, counter(1))) > 0);
    assert.ok((await refusals(even, counter(0))) > 0);
    assert.equal(await refusals(even, counter(1)), 0);
  });
});

describe('without its assumption the promise is broken, and the same judges see it within seconds', () => {
  for (const algorithm of ['fixed', 'sliding-log', 'sliding-counter', 'token-bucket', 'gcra'] as const) {
    it(`by a server with ${algorithm}, with arrivalWithinMs 0 and no margin`, { timeout: 30_000 }, async (t) => {
      assert.ok(await findRefusal(algorithm, chooseSeed(t)));
    });
  }

  it('by fast-check, which tells how', { timeout: 30_000 }, async (t) => {
    const broken = fc.asyncProperty(CONVENTIONAL, async (scenario) => void (await assertKept(scenario)));
    const { failed, errorInstance } = await fc.check(broken, {
      seed: chooseSeed(t),
      numRuns: 1_000,
      endOnFailure: true,
    });
    assert.ok(failed);
    assert.match(String(errorInstance), /no server refuses/);
  });
});
