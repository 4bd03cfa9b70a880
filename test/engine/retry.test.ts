import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { EngineEvents } from '../../lib/events.ts';
import type { RetryOptions } from '../../lib/options.ts';
import type { Calls, Trouble } from './fixtures/verdicts.ts';
import { ends, failure, fixture, openEngine, success } from './support.ts';

function openVerdicts(t: TestContext, retry: RetryOptions) {
  // One thread, because the handler counts its calls in a variable of its own.
  const engine = openEngine<Trouble, Calls>(t, fixture('verdicts'), { threads: 1, concurrency: 8, retry });
  const retries: EngineEvents['retry'][] = [];
  engine.on('retry', (event) => retries.push(event));
  return { engine, retries };
}

/** The times between the calls. */
function gaps({ atMs }: Calls): number[] {
  return atMs.slice(1).map((time, index) => time - (atMs[index] ?? 0));
}

test('the waits grow to their maximum', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 10, factor: 3, maxMs: 50, jitter: 0, maxAttempts: 5 });
  const { outcomes, summary } = await engine.run([{ failures: 4, as: 'retry' }, { failures: 0 }]);
  assert.deepEqual(
    retries.map(({ batch, index, attempt, code, delayMs }) => [batch, index, attempt, code, delayMs]),
    [10, 30, 50, 50].map((delayMs, index) => [1, 0, index + 1, 'INVALID_RESPONSE', delayMs]),
  );
  const { value, attempts } = success(outcomes[0]);
  assert.equal(attempts, 5);
  assert.deepEqual(value.attempts, [1, 2, 3, 4, 5]);
  for (const [index, gapMs] of gaps(value).entries()) assert.ok(gapMs >= (retries[index]?.delayMs ?? 0));
  assert.equal(success(outcomes[1]).attempts, 1);
  assert.equal(summary.retried, 4);
  assert.equal(engine.stats().retried, 4);
});

test('an item leaves its lane while it waits', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 2_000, jitter: 0 });
  const items = [{ failures: 1, as: 'retry' }, ...Array.from({ length: 40 }, () => ({ failures: 0 }))];
  const order: number[] = [];
  for await (const { index } of engine.stream(items)) order.push(index);
  assert.equal(order.length, 41);
  assert.equal(order.at(-1), 0);
  assert.equal(retries.length, 1);
});

test('jitter comes on top', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 4, factor: 1, jitter: 1, maxAttempts: 9, adaptive: false });
  await engine.run(Array.from({ length: 8 }, () => ({ failures: 8, as: 'retry' })));
  assert.equal(retries.length, 64);
  assert.ok(retries.every(({ delayMs }) => delayMs >= 4 && delayMs <= 8));
  assert.ok(new Set(retries.map(({ delayMs }) => delayMs)).size > 1);
});

test('a hint is kept, and never shortened', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 1, maxMs: 2, jitter: 0.5, maxRetryAfterMs: 1_000 });
  const { outcomes } = await engine.run([
    { failures: 1, as: 'retry', retryAfterMs: 80 },
    { failures: 1, as: 'retry', retryAfterMs: 1_000.5 },
  ]);
  const [retry] = retries;
  assert.equal(retries.length, 1);
  assert.ok(retry !== undefined && retry.delayMs >= 80 && retry.delayMs <= 120);
  assert.ok((gaps(success(outcomes[0]).value)[0] ?? 0) >= 80);
  // A longer one than is waited for ends the item, at once.
  const { error, attempts } = failure(outcomes[1]);
  assert.deepEqual([error.code, error.retryAfterMs, attempts], ['INVALID_RESPONSE', 1_000.5, 1]);
});

test('no attempt is left: the last error stands', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 1, maxAttempts: 2 });
  const { outcomes, summary } = await engine.run([
    { failures: 9, as: 'retry', code: 'NETWORK', message: 'the line is dead' },
  ]);
  const { error, attempts } = failure(outcomes[0]);
  assert.deepEqual([error.code, error.message, error.attempts, attempts], ['NETWORK', 'the line is dead', 2, 2]);
  assert.equal(retries.length, 1);
  assert.deepEqual(summary.errors, { NETWORK: 1 });
});

test('what must not be sent twice is not tried again', async (t) => {
  const { engine, retries } = openVerdicts(t, { initialMs: 1 });
  const { outcomes } = await engine.run(
    [
      { failures: 1, as: 'retry' },
      { failures: 1, as: 'retry', code: 'NETWORK' },
    ],
    { idempotent: false },
  );
  assert.deepEqual(ends(outcomes), ['INVALID_RESPONSE', 'IN_DOUBT']);
  for (const outcome of outcomes) assert.equal(failure(outcome).error.possiblyExecuted, true);
  assert.equal(retries.length, 0);
});

test('every form of a verdict', async (t) => {
  const { engine } = openVerdicts(t, { initialMs: 1, jitter: 0 });
  const items: [Trouble, string][] = [
    [{ failures: 1, as: 'ok', form: 'word' }, 'ok after 1'],
    [{ failures: 1, as: 'ok' }, 'ok after 1'],
    [{ failures: 1, as: 'retry', form: 'word' }, 'ok after 2'],
    [{ failures: 1, as: 'retry' }, 'ok after 2'],
    [{ failures: 1, as: 'rate-limit', form: 'word' }, 'ok after 1'],
    [{ failures: 1, as: 'rate-limit', retryAfterMs: 5 }, 'ok after 1'],
    [{ failures: 1, as: 'fatal', form: 'word' }, 'INVALID_RESPONSE: The answer was classified as fatal.'],
    [{ failures: 1, as: 'fatal', code: 'IN_DOUBT', message: 'who knows' }, 'IN_DOUBT: who knows'],
    [{ failures: 1, as: 'fatal', code: 'NO_SUCH_CODE' }, 'INVALID_RESPONSE: The answer was classified as fatal.'],
    [{ failures: 1, as: 'perhaps', form: 'word' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1, as: 'perhaps' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1 }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1, form: 'throw' }, 'HANDLER: cannot tell'],
    [{ failures: 1, form: 'promise' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1, form: 'null' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1, form: 'number' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 1, form: 'getter' }, 'HANDLER: classify did not return a verdict.'],
    [{ failures: 0, form: 'ok for a rejection' }, 'HANDLER: classify called a rejection "ok".'],
  ];
  const { outcomes, summary } = await engine.run(items.map(([item]) => item));
  assert.deepEqual(
    outcomes.map((outcome) =>
      outcome.ok ? `ok after ${outcome.attempts}` : `${outcome.error.code}: ${outcome.error.message}`,
    ),
    items.map(([, end]) => end),
  );
  assert.equal(summary.refused, 2);
  assert.equal(engine.stats().workerExits, 0);
  // A refusal is no attempt, and the handler is told so.
  const refused = outcomes[4];
  if (refused?.ok) assert.deepEqual(new Set(refused.value.attempts), new Set([1]));
});
