import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { KEPT_LOOPS } from './cases/kept-loops.ts';
import type { LoopResult, LoopTask } from './fixtures/loop-runner.ts';
import { assertLoop } from './loop/judge.ts';
import { chooseSeed } from './seed.ts';

const RUNNER = new URL('./fixtures/loop-runner.js', import.meta.url);
const SCENARIOS = process.env.SLUICEGATE_LONG === '1' ? 15_000 : 250;

describe('loops that failed once', () => {
  for (const { why, scenario } of KEPT_LOOPS) {
    it(why, async () => {
      await assertLoop(scenario);
    });
  }
});

describe('a client that hears what the server says', () => {
  it('keeps its limit, its waits and its circuit, and every item has one outcome, whatever is lost, late or dead', {
    timeout: process.env.SLUICEGATE_LONG === '1' ? 3_600_000 : 170_000,
  }, async (t) => {
    const task: LoopTask = { seed: chooseSeed(t), scenarios: SCENARIOS };
    const worker = new Worker(RUNNER, { workerData: task });
    t.after(() => worker.terminate());
    const [{ requests, had, failure }] = (await once(worker, 'message')) as [LoopResult];
    t.diagnostic(`${requests} requests, ${JSON.stringify(had)}`);
    assert.ok(failure === undefined, failure);
    // Otherwise nothing was tried.
    for (const [what, times] of Object.entries(had)) assert.ok(times > 0, `no ${what}`);
  });
});
