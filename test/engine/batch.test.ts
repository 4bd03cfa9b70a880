import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Act } from './fixtures/stage.ts';
import { CELL } from './fixtures/stage.ts';
import { Board, count, ends, fixture, openEngine, success, tally, until } from './support.ts';

test('100,000 items: every index once, in order, with its own value', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  const items = count(100_000);
  const { outcomes, summary, aborted } = await engine.run(items);

  assert.equal(outcomes.length, items.length);
  for (const [index, outcome] of outcomes.entries()) {
    const { value, attempts, index: own, threadId } = success(outcome);
    assert.ok(own === index && value === index * 2 && attempts === 1 && threadId > 0);
  }
  assert.equal(aborted, false);
  const { total, succeeded, failed, errorRate, errors, rounds, requestsSent } = summary;
  assert.deepEqual(
    { total, succeeded, failed, errorRate, errors, rounds, requestsSent },
    { total: 100_000, succeeded: 100_000, failed: 0, errorRate: 0, errors: {}, rounds: 1, requestsSent: 100_000 },
  );
});

test('no items, and one', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  const none = await engine.run([]);
  assert.deepEqual(none.outcomes, []);
  assert.equal(none.aborted, false);
  assert.equal(none.summary.total, 0);
  assert.equal(none.summary.errorRate, 0);

  const { outcomes } = await engine.run([21]);
  assert.deepEqual(
    outcomes.map((outcome) => success(outcome).value),
    [42],
  );
});

test('a hole in the array is an item like any other', async (t) => {
  const engine = openEngine<number | undefined, number>(t, fixture('double'));
  const items: (number | undefined)[] = new Array(5);
  items[1] = 4;
  const { outcomes } = await engine.run(items);
  assert.deepEqual(
    outcomes.map((outcome) => success(outcome).value),
    [Number.NaN, 8, Number.NaN, Number.NaN, Number.NaN],
  );
});

test('the array may change once run was called', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  const items = [1, 2, 3];
  const running = engine.run(items);
  items.fill(100);
  items.length = 1;
  const { outcomes } = await running;
  assert.deepEqual(
    outcomes.map((outcome) => success(outcome).value),
    [2, 4, 6],
  );
});

test('batches of slow items take turns', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), { concurrency: 4, handlerData: board.data });
  await engine.ready();

  // Longer than a chunk aims at, so that every chunk has one item, whatever the machine does.
  const batch = (log: number) => engine.run(count(100).map(() => ({ takesMs: 20, log })));
  const first = batch(1);
  await until(() => board.get(CELL.logged) >= 8);
  const second = batch(2);
  await Promise.all([first, second]);

  const order = [...board.cells.subarray(CELL.log, CELL.log + 200)];
  assert.deepEqual(tally(order.map(String)), { 1: 100, 2: 100 });
  // From the second's first end to the first's last one.
  const shared = order.slice(order.indexOf(2), order.lastIndexOf(1) + 1);
  assert.ok(shared.length > 100, `the first batch was done after ${order.lastIndexOf(1) + 1} items`);
  let lead = 0;
  for (const batchNumber of shared) {
    lead += batchNumber === 1 ? 1 : -1;
    assert.ok(Math.abs(lead) <= 12, `one batch is ${Math.abs(lead)} items ahead: ${shared.join(' ')}`);
  }
});

test('thousands of runs at once', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  const results = await Promise.all(count(3_000).map((index) => engine.run([index])));
  for (const [index, { outcomes, summary }] of results.entries()) {
    assert.equal(success(outcomes[0]).value, index * 2);
    assert.equal(summary.total, 1);
  }
  const { succeeded, batches, pending, inFlight, requestsSent } = engine.stats();
  assert.deepEqual(
    { succeeded, batches, pending, inFlight, requestsSent },
    { succeeded: 3_000, batches: 0, pending: 0, inFlight: 0, requestsSent: 3_000 },
  );
});

test('never more items in work than concurrency, and all of it is used', async (t) => {
  for (const [threads, concurrency] of [
    [2, 5],
    [3, 3],
    [1, 7],
  ] as const) {
    const board = new Board();
    const engine = openEngine<Act>(t, fixture('stage'), { threads, concurrency, handlerData: board.data });
    const running = engine.run(count(concurrency * 4).map(() => ({ wait: 'obeys' })));
    await until(() => board.get(CELL.running) === concurrency);
    board.set(CELL.isOpen, 1);
    const { outcomes } = await running;
    assert.deepEqual(tally(ends(outcomes)), { ok: concurrency * 4 });
    assert.equal(board.get(CELL.mostRunning), concurrency);
  }
});
