import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpValue } from '../../lib/index.ts';
import { makeCustomEngine, startSim, statsWhen } from '../support/engine-bench.ts';
import { type ChaosItem, type Moment, newCells } from './fixtures/chaos-http.ts';

/** What becomes of a request that must not run twice, whose thread dies at such a moment; and how often it was sent. */
const ENDS: readonly (readonly [Moment, hasBody: boolean, end: string, sent: number])[] = [
  ['before', false, 'ok', 1],
  ['before', true, 'ok', 1],
  // Its bytes were about to leave. Nobody but the thread could know that they have not.
  ['sending', false, 'IN_DOUBT', 0],
  ['sending', true, 'IN_DOUBT', 0],
  // All of its bytes have left, and the thread had no time to say so.
  ['written', true, 'IN_DOUBT', 1],
  ['answered', false, 'IN_DOUBT', 1],
  ['answered', true, 'IN_DOUBT', 1],
  ['judging', false, 'IN_DOUBT', 1],
];

for (const [moment, hasBody, end, sent] of ENDS) {
  test(`a thread that dies ${moment}${hasBody ? ', with a body' : ''}`, async (t) => {
    const sim = await startSim(t);
    const cells = newCells(4);
    const engine = makeCustomEngine<ChaosItem, HttpValue>(t, {
      handler: new URL('./fixtures/chaos-http.js', import.meta.url),
      handlerData: cells,
      http: { baseUrl: sim.url },
      threads: 1,
    });
    const death = { manner: 'exit', moment, afterMs: 0, isOnce: true } as const;
    const body = hasBody ? { body: 'all' } : {};
    const careful: ChaosItem = { index: 0, url: '/careful', method: 'POST', death, ...body };
    const { outcomes, summary } = await engine.run([careful]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.ok || outcome.error.code),
      [end === 'ok' || end],
    );
    assert.equal(Atomics.load(cells.deaths, 0), 1);
    const { total } = await statsWhen(sim, (stats) => stats.total >= sent);
    assert.equal(total, sent);
    assert.ok(summary.requestsSent >= sent);

    // The same, but it may run twice.
    const again = await engine.run([{ ...careful, index: 1, idempotent: true }]);
    assert.deepEqual(
      again.outcomes.map((outcome) => outcome.ok),
      [true],
    );
    assert.equal(Atomics.load(cells.deaths, 1), 1);
  });
}
