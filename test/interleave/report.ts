import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { explore, type Scenario } from './explore.ts';

/** Explore all of a scenario, say how much that was, and insist on these ends: no other, and each of them. */
export async function exploreTo<G extends object>(
  t: TestContext,
  scenario: Scenario<G>,
  ends: readonly string[],
): Promise<void> {
  const exploration = await explore(scenario);
  const { states, transitions, kills, schedules, longest, runs } = exploration;
  const orders = schedules < 1e6 ? `${schedules}` : schedules.toExponential(1);
  t.diagnostic(
    `${states} states, ${transitions} transitions, ${kills} kills, ${orders} schedules of up to ${longest} steps, code run ${runs} times`,
  );
  assert.deepEqual([...exploration.ends.keys()].sort(), [...ends].sort());
}
