import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { ErrorCode } from '../../lib/errors.ts';
import { ends, failure, openEngine, success } from '../engine/support.ts';
import type { Trick } from './fixtures/tricks.ts';

const HANDLER = new URL('./fixtures/tricks.js', import.meta.url);

interface Expected {
  readonly code: ErrorCode;
  /** Of what is underneath. */
  readonly cause?: RegExp;
  /** The thread is the price. */
  readonly endsThread?: boolean;
}

const TOO_DEEP = { code: 'NOT_CLONEABLE', cause: /nested more than 500 deep/ } as const;
const LOOPS = { code: 'TIMEOUT', endsThread: true } as const;

const EXPECTED: Record<Exclude<Trick, 'fine' | 'slow' | 'a loop after its end'>, Expected | 'ok'> = {
  'a list 400 deep': 'ok',
  'a list 2500 deep': TOO_DEEP,
  'an object 2500 deep': TOO_DEEP,
  'a list 1e5 deep': TOO_DEEP,
  'maps 2500 deep': TOO_DEEP,
  'sets 2500 deep': TOO_DEEP,
  'causes 8000 deep': TOO_DEEP,
  'a list too deep to be read, where nobody looks': {
    code: 'NOT_CLONEABLE',
    cause: /could not tell/,
    endsThread: true,
  },
  'a long chain that leads back': TOO_DEEP,
  'a short chain that leads back': 'ok',
  'very many ways to one object': 'ok',
  'a million objects': 'ok',
  'a getter that loops': LOOPS,
  'a getter that loops at the second look': { code: 'NOT_CLONEABLE', endsThread: true },
  'a message that loops': LOOPS,
  'a detached buffer': { code: 'NOT_CLONEABLE', cause: /detached/ },
  'a port': { code: 'NOT_CLONEABLE', cause: /transfer/ },
  'shared memory': 'ok',
  'a list of a class': 'ok',
  'a value with __proto__': 'ok',
  'throw __proto__': { code: 'HANDLER' },
  'names of __proto__': { code: 'HANDLER' },
  'a code that says no': { code: 'HANDLER' },
  'strange mail': 'ok',
  'a change of workerData': 'ok',
  'the context itself': 'ok',
  'wrecked globals': 'ok',
};

/** Whatever a handler did, the main thread is as it was. */
function assertUnharmed(): void {
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  assert.equal(process.env.SLUICEGATE_POLLUTED, undefined);
  assert.notEqual(process.exitCode, 77);
  assert.deepEqual([JSON.parse('[1]'), [1].map(String)], [[1], ['1']]);
}

for (const [trick, expected] of Object.entries(EXPECTED)) {
  test(`a handler's trick among innocent items: ${trick}`, async (t) => {
    const isLoop = expected !== 'ok' && (expected === LOOPS || trick.includes('loops'));
    const engine = openEngine<string, unknown>(t, HANDLER, {
      concurrency: 4,
      timeoutMs: isLoop ? 300 : 60_000,
      killGraceMs: 50,
      retry: { maxAttempts: 1 },
    });
    const items = Array.from({ length: 16 }, (_, index): Trick => (index % 3 === 0 ? 'slow' : 'fine'));
    items[7] = trick as Trick;
    const { outcomes } = await engine.run(items);
    assert.deepEqual(new Set(ends(outcomes.toSpliced(7, 1))), new Set(['ok']), inspect(outcomes));
    const outcome = outcomes[7];
    if (expected === 'ok') {
      success(outcome);
    } else {
      const { error, attempts } = failure(outcome);
      assert.equal(error.code, expected.code, JSON.stringify(error));
      if (expected.cause !== undefined) assert.match(String(error.cause?.message), expected.cause);
      assert.deepEqual([attempts, error.possiblyExecuted], [1, true]);
      assert.deepEqual(JSON.parse(JSON.stringify(error)), error);
      assert.equal(engine.stats().workerExits > 0, expected.endsThread === true);
    }
    assertUnharmed();
    assert.deepEqual(ends((await engine.run(['fine', 'slow', 'fine'])).outcomes), ['ok', 'ok', 'ok']);
  });
}

test('what must not run twice does not, when nobody can read what became of it', async (t) => {
  const engine = openEngine<string, unknown>(t, HANDLER, { concurrency: 2, threads: 1 });
  const trick: Trick = 'a list too deep to be read, where nobody looks';
  const { outcomes, summary } = await engine.run(['fine', trick, 'fine'], { idempotent: false });
  const [before, end, after] = ends(outcomes);
  assert.deepEqual([before, after, summary.requestsSent], ['ok', 'ok', 3]);
  // In doubt if its thread was ended before it had noted that it was done.
  assert.ok(end === 'NOT_CLONEABLE' || end === 'IN_DOUBT', end);
});

test('a thread that is blocked when nothing of it is in work is replaced', async (t) => {
  const engine = openEngine<string, unknown>(t, HANDLER, {
    concurrency: 2,
    threads: 1,
    timeoutMs: 300,
    killGraceMs: 50,
  });
  assert.deepEqual(ends((await engine.run(['a loop after its end'])).outcomes), ['ok']);
  assert.deepEqual(ends((await engine.run(['fine', 'slow'])).outcomes), ['ok', 'ok']);
  assert.equal(engine.stats().workerExits, 1);
});
