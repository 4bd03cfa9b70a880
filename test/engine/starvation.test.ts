import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Board, ends, failure, fixture, openEngine } from './support.ts';

test('items that hold a token while they wait for the next do not starve each other for ever', async (t) => {
  const tokens = 4;
  const engine = openEngine<number, string>(t, fixture('starve'), {
    handlerData: { ...new Board().data, tokens },
    rate: { limit: tokens, windowMs: 20, straggleMs: 20 },
    concurrency: 6,
    // Long enough for the first four to find each other.
    timeoutMs: 400,
    retry: { maxAttempts: 1 },
  });
  await engine.ready();
  const { outcomes, summary } = await engine.run([0, 1, 2, 3, 4, 5]);
  // The first four take all tokens. Who gives up first frees one: on a slow machine the last may wait long enough for it.
  const starved = outcomes.filter(({ ok }) => !ok);
  assert.ok(starved.length >= 1, String(ends(outcomes)));
  for (const outcome of starved) {
    const { error } = failure(outcome);
    assert.equal(error.code, 'TIMEOUT');
    // Two more turns than one, each of an attempt, a window and the straggle.
    assert.equal(
      error.message,
      'No further token within 1320 ms: too many items hold one while they wait for the next.',
    );
  }
  assert.equal(summary.total, 6);
});
