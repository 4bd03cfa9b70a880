import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Act, CELL } from './fixtures/stage.ts';
import { Board, count, ends, failure, fixture, openEngine, success, tally } from './support.ts';

test('TIMEOUT names the limit, after maxAttempts attempts', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    timeoutMs: 40,
    retry: { initialMs: 1, maxAttempts: 3 },
    handlerData: board.data,
  });
  const retries: string[] = [];
  engine.on('retry', ({ index, attempt, code }) => retries.push(`${index}: ${attempt} ${code}`));
  const { outcomes, summary } = await engine.run([{ wait: 'obeys' }]);
  const { error, attempts } = failure(outcomes[0]);
  assert.deepEqual(
    [error.code, error.name, error.attempts, attempts, error.possiblyExecuted],
    ['TIMEOUT', 'TimeoutError', 3, 3, true],
  );
  assert.match(error.message, /timeoutMs \(40 ms\).*was sent/);
  assert.equal(board.get(CELL.called), 3);
  assert.equal(board.get(CELL.stopped), 3);
  assert.equal(summary.retried, 2);
  assert.deepEqual(retries, ['0: 1 TIMEOUT', '0: 2 TIMEOUT']);
  assert.equal(engine.stats().workerExits, 0);
});

test('an item that must not be sent twice is in doubt after its timeout', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    timeoutMs: 40,
    retry: { initialMs: 1 },
    handlerData: board.data,
  });
  const { outcomes } = await engine.run([{ wait: 'obeys' }, { wait: 'obeys', idempotent: true }], {
    idempotent: false,
  });
  assert.deepEqual(ends(outcomes), ['IN_DOUBT', 'TIMEOUT']);
  const { error, attempts } = failure(outcomes[0]);
  assert.equal(attempts, 1);
  assert.equal(error.cause?.code, 'TIMEOUT');
  assert.match(error.message, /timeoutMs \(40 ms\)/);
  assert.equal(board.get(CELL.called), 4);
});

test('waiting for a token is no time of the attempt', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    rate: { limit: 1, windowMs: 250 },
    concurrency: 4,
    timeoutMs: 200,
    retry: { maxAttempts: 1 },
    handlerData: board.data,
  });
  const { outcomes } = await engine.run([{}, {}, {}, {}]);
  assert.deepEqual(ends(outcomes), ['ok', 'ok', 'ok', 'ok']);
  // Each in a window of its own.
  const waits = outcomes.map((outcome) => success(outcome).waitMs).sort((a, b) => a - b);
  for (const [index, waitMs] of waits.entries()) assert.ok(waitMs >= 250 * index - 250);
  assert.ok((waits[3] ?? 0) > 200);
  assert.equal(engine.stats().workerExits, 0);
});

test('the timeout of one item does not hit the next', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    threads: 1,
    concurrency: 1,
    timeoutMs: 900,
    retry: { maxAttempts: 1 },
    handlerData: board.data,
  });
  // Their times add up to more than one timeout.
  const { outcomes } = await engine.run(count(4).map((): Act => ({ takesMs: 300 })));
  assert.deepEqual(tally(ends(outcomes)), { ok: 4 });
});

test('a thread that one handler keeps busy: only that one is to blame', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    threads: 1,
    concurrency: 4,
    timeoutMs: 400,
    killGraceMs: 20,
    retry: { maxAttempts: 2, initialMs: 1 },
    handlerData: board.data,
  });
  // They start before it and wait for a timer when it takes the thread, so their deadlines pass before its own.
  const { outcomes } = await engine.run([{ takesMs: 20 }, { takesMs: 20 }, { takesMs: 20 }, { spin: true }]);
  assert.deepEqual(ends(outcomes), ['ok', 'ok', 'ok', 'TIMEOUT']);
  assert.equal(failure(outcomes[3]).attempts, 2);
  for (const outcome of outcomes.slice(0, 3)) assert.equal(success(outcome).attempts, 1);
});
