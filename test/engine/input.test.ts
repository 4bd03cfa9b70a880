import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { Engine } from '../../lib/index.ts';
import { count, ends, failure, fixture, openEngine, success, tally, until } from './support.ts';

test('items that cannot be cloned fail; all others run', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const bad: unknown[] = [
    () => {},
    Symbol('item'),
    { nested: { fn() {} } },
    {
      get value(): never {
        throw new Error('from a getter');
      },
    },
    new Proxy({}, {}),
    new WeakMap(),
    Promise.resolve(1),
    port2,
  ];
  const items: unknown[] = count(1_000).map((index) => (index % 100 === 50 ? bad[(index - 50) / 100] : { index }));
  const isBad = (index: number) => index % 100 === 50 && index < 800;
  const { outcomes, summary } = await engine.run(items);
  assert.deepEqual(summary.errors, { NOT_CLONEABLE: bad.length });
  for (const [index, outcome] of outcomes.entries()) {
    if (!isBad(index)) {
      assert.deepEqual(success(outcome).value, items[index]);
      continue;
    }
    const { error, attempts, threadId } = failure(outcome);
    assert.deepEqual(
      [error.code, error.possiblyExecuted, error.attempts, attempts, threadId],
      ['NOT_CLONEABLE', false, 0, 0, -1],
    );
    assert.match(error.message, /item cannot be sent to a worker thread/);
    assert.ok(error.cause?.message);
  }
  assert.equal(engine.stats().workerExits, 0);
  assert.equal(engine.stats().inFlight, 0);
});

test('a stream with items that cannot be cloned', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  const got: string[] = [];
  for await (const outcome of engine.stream([1, () => {}, 3])) {
    got[outcome.index] = outcome.ok ? 'ok' : outcome.error.code;
  }
  assert.deepEqual(got, ['ok', 'NOT_CLONEABLE', 'ok']);
});

test('nothing but items that cannot be cloned', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  const { outcomes } = await engine.run(count(50).map(() => Symbol('item')));
  assert.deepEqual(tally(ends(outcomes)), { NOT_CLONEABLE: 50 });
  await until(() => engine.stats().batches === 0);
  assert.deepEqual(ends((await engine.run([1])).outcomes), ['ok']);
});

test('an item whose getter has side effects ends all the same', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  let reads = 0;
  // Can be read by whoever checks it, never by whoever sends it.
  const fickle = {
    get value(): number {
      reads++;
      if (reads % 2 === 1) throw new Error('not now');
      return reads;
    },
  };
  const { outcomes } = await engine.run([1, fickle, 2]);
  assert.deepEqual(ends(outcomes), ['ok', 'NOT_CLONEABLE', 'ok']);
});

test('what is no array, and wrong options, are refused', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  for (const items of [undefined, null, 5, 'text', {}, { length: 1 }, new Set([1]), new Uint8Array(2)]) {
    await assert.rejects(engine.run(items as never), {
      name: 'InvalidOptionError',
      code: 'INVALID_OPTION',
      option: 'items',
    });
  }
  for (const [option, value] of [
    ['signal', {}],
    ['signal', new AbortController()],
    ['onProgress', 'x'],
    ['idempotent', 1],
    ['sginal', undefined],
  ] as const) {
    await assert.rejects(engine.run([], { [option]: value } as never), { code: 'INVALID_OPTION', option });
  }
  await assert.rejects(engine.run([], 5 as never), { code: 'INVALID_OPTION' });
  assert.equal(engine.stats().batches, 0);
  assert.deepEqual(ends((await engine.run([1], undefined)).outcomes), ['ok']);
});

test('values that are cloned come back as they were', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'));
  const values = [
    undefined,
    null,
    0,
    -0,
    Number.NaN,
    10n ** 30n,
    '',
    'text',
    new Date(5),
    /x/gi,
    new Map([[1, new Set([2])]]),
    new Uint8Array([1, 2, 3]),
    new Array(3),
    Object.fromEntries([['then', 5]]),
    { ok: false, error: {} },
  ];
  const { outcomes } = await engine.run(values);
  assert.deepEqual(
    outcomes.map((outcome) => success(outcome).value),
    values,
  );
});

const nested = (depth: number): unknown => {
  let value: unknown = 'the bottom';
  for (let n = 0; n < depth; n++) value = [value];
  return value;
};

/** How deep a list is that the main thread can write and a thread with little stack cannot read: V8's versions differ. */
async function unreadableDepth(engine: Engine<unknown, unknown>): Promise<number> {
  for (let depth = 600; ; depth = Math.ceil(1.1 * depth)) {
    const [outcome] = (await engine.run([nested(depth)], { idempotent: false })).outcomes;
    // It was read, whatever became of the copy that went back.
    if (outcome?.ok || outcome?.error.possiblyExecuted) continue;
    assert.equal(failure(outcome).error.cause?.message, 'The thread could not read it.', `a list ${depth} deep`);
    return depth;
  }
}

test('items that a thread cannot read fail, those beside them run', async (t) => {
  const engine = openEngine<unknown>(t, fixture('echo'), { resourceLimits: { stackSizeMb: 0.5 }, concurrency: 4 });
  const deep = nested(1.2 * (await unreadableDepth(engine)));
  const items = count(60).map((index) => (index % 20 === 10 ? deep : index));
  const { outcomes } = await engine.run(items, { idempotent: false });
  for (const [index, outcome] of outcomes.entries()) {
    if (index % 20 !== 10) {
      assert.equal(success(outcome).value, index);
      continue;
    }
    const { error, attempts } = failure(outcome);
    assert.deepEqual([error.code, error.possiblyExecuted, attempts], ['NOT_CLONEABLE', false, 0]);
    assert.deepEqual(error.cause, { name: 'RangeError', message: 'The thread could not read it.' });
  }
  assert.equal(engine.stats().workerExits, 0);
});
