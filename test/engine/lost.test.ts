import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { EngineOptions } from '../../lib/options.ts';
import { type Blow, CELL } from './fixtures/mortal.ts';
import { Board, count, ends, failure, fixture, openEngine, success, tally, until } from './support.ts';

function openMortal(t: TestContext, options: Omit<EngineOptions, 'handler'>) {
  const board = new Board();
  return { board, engine: openEngine<Blow>(t, fixture('mortal'), { ...options, handlerData: board.data }) };
}

test('items that are lost together are innocent; one that is lost alone ends as WORKER_LOST', async (t) => {
  const { engine } = openMortal(t, { threads: 1, concurrency: 4 });
  const { outcomes } = await engine.run([
    { diesBeside: 4 },
    { waitsFor: 'a death' },
    { waitsFor: 'a death' },
    { waitsFor: 'a death' },
  ]);
  assert.deepEqual(ends(outcomes), ['WORKER_LOST', 'ok', 'ok', 'ok']);
  const { error, attempts } = failure(outcomes[0]);
  assert.deepEqual([attempts, error.attempts, error.possiblyExecuted], [1, 1, true]);
  // Being lost with another costs no attempt.
  for (const outcome of outcomes.slice(1)) assert.equal(success(outcome).attempts, 1);
  // Together, then the guilty one alone.
  assert.equal(engine.stats().workerExits, 2);
});

test('the innocent of all threads go on while lost items run alone', async (t) => {
  const { engine } = openMortal(t, { threads: 2, concurrency: 8 });
  const items = count(120).map((index): Blow => (index % 40 === 7 ? { diesBeside: 1 } : { takesMs: 2 }));
  const { outcomes } = await engine.run(items);
  assert.deepEqual(tally(ends(outcomes)), { ok: 117, WORKER_LOST: 3 });
  for (const index of [7, 47, 87]) failure(outcomes[index]);
});

test('an item that is not idempotent: in doubt if its handler was called, run again if not', async (t) => {
  const { board, engine } = openMortal(t, {
    threads: 1,
    concurrency: 3,
    // The third waits for a token, so its handler is not called before the thread dies.
    rate: { limit: 2, windowMs: 100 },
  });
  const { outcomes } = await engine.run([{ diesBeside: 2 }, { waitsFor: 'a death' }, { isLogged: true }], {
    idempotent: false,
  });
  assert.deepEqual(ends(outcomes), ['IN_DOUBT', 'IN_DOUBT', 'ok']);
  for (const outcome of outcomes.slice(0, 2)) {
    const { error, attempts } = failure(outcome);
    assert.match(error.message, /may have been executed.*not idempotent/);
    assert.equal(error.cause?.code, 'WORKER_LOST');
    assert.deepEqual([attempts, error.possiblyExecuted], [1, true]);
  }
  assert.equal(success(outcomes[2]).attempts, 1);
  assert.equal(board.get(CELL.logged), 1);
});

test('an item’s own word on being idempotent goes before that of the run', async (t) => {
  const { engine } = openMortal(t, { threads: 1, concurrency: 3 });
  const { outcomes } = await engine.run(
    [{ diesBeside: 3 }, { waitsFor: 'a death' }, { waitsFor: 'a death', idempotent: true }],
    { idempotent: false },
  );
  assert.deepEqual(ends(outcomes), ['IN_DOUBT', 'IN_DOUBT', 'ok']);
});

test('what was done before the death of its thread stays done', async (t) => {
  const { board, engine } = openMortal(t, { threads: 1, concurrency: 1 });
  // Quick items, so that chunks are large when the blow comes.
  const items = count(500).map((index): Blow => (index === 400 ? { diesBeside: 1 } : { isLogged: true }));
  const { outcomes } = await engine.run(items, { idempotent: false });
  assert.deepEqual(tally(ends(outcomes)), { ok: 499, IN_DOUBT: 1 });
  failure(outcomes[400]);
  // None of them was called twice.
  assert.equal(board.get(CELL.logged), 499);
});

test('20 threads end at any moment of 2,000 items: one outcome each, and only the guilty may fail', async (t) => {
  const { board, engine } = openMortal(t, { threads: 2, concurrency: 16 });
  const exits: number[] = [];
  engine.on('workerExit', ({ threadId }) => exits.push(threadId));
  const items = count(2_000).map(
    (index): Blow => (index % 97 === 50 ? { diesOnce: (index - 50) / 97, takesMs: index % 5 } : { isLogged: true }),
  );
  for (let at = 0; at < items.length; at += 3) if (items[at]?.isLogged) items[at] = { takesMs: 1, isLogged: true };
  const killers = new Set(items.flatMap(({ diesOnce }, index) => (diesOnce === undefined ? [] : [index])));
  assert.ok(killers.size >= 20);

  const { outcomes, summary } = await engine.run(items);
  assert.equal(exits.length, killers.size);
  assert.equal(new Set(exits).size, killers.size);
  assert.equal(outcomes.length, 2_000);
  for (const [index, outcome] of outcomes.entries()) {
    assert.equal(outcome.index, index);
    // A killer that was hit by another before its own blow came to it alone.
    if (!outcome.ok) assert.ok(killers.has(index) && outcome.error.code === 'WORKER_LOST', JSON.stringify(outcome));
  }
  assert.equal(summary.succeeded + summary.failed, 2_000);
  assert.ok(board.get(CELL.logged) >= 2_000 - killers.size);
  await until(() => engine.stats().threadsReady === 2);
  assert.deepEqual(ends((await engine.run([{}, {}])).outcomes), ['ok', 'ok']);
});

test('the lanes of threads that died are all there again', async (t) => {
  const { board, engine } = openMortal(t, { threads: 3, concurrency: 7 });
  await engine.run(count(6).map((): Blow => ({ diesBeside: 1 })));
  await until(() => engine.stats().threadsReady === 3);
  board.set(CELL.running, 0);
  const running = engine.run(count(21).map((): Blow => ({ waitsFor: 'the end' })));
  await until(() => board.get(CELL.running) === 7);
  board.set(CELL.isTheEnd, 1);
  assert.deepEqual(tally(ends((await running).outcomes)), { ok: 21 });
});
