import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../lib/errors.ts';
import type { ErrorRecord } from '../../lib/types.ts';
import type { Deed } from './fixtures/hostile.ts';
import { ends, failure, fixture, openEngine, until } from './support.ts';

interface Expected {
  readonly code: ErrorCode;
  readonly message: RegExp;
  /** What is known of the death of its thread. */
  readonly cause?: RegExp;
  readonly possiblyExecuted?: boolean;
}

const TIMEOUT = { code: 'TIMEOUT', message: /timeoutMs \(800 ms\); the request was sent/ } as const;
const LOST = { code: 'WORKER_LOST', message: /died while it ran this item/ } as const;
const NOT_CLONEABLE = { code: 'NOT_CLONEABLE', message: /value that the handler returned cannot be sent/ } as const;

const EXPECTED: Record<Exclude<Deed, 'fine' | 'slow'>, Expected | 'ok'> = {
  'loop forever': TIMEOUT,
  'loop after a wait': TIMEOUT,
  exit: { ...LOST, cause: /exited with code/ },
  'exit later': { ...LOST, cause: /exited with code/ },
  'throw null': { code: 'HANDLER', message: /threw null/ },
  'throw undefined': { code: 'HANDLER', message: /threw undefined/ },
  'throw a string': { code: 'HANDLER', message: /threw just words/ },
  'throw a symbol': { code: 'HANDLER', message: /threw Symbol\(thrown\)/ },
  'throw a proxy': { code: 'HANDLER', message: /not an Error/ },
  'throw an error that throws': { code: 'HANDLER', message: /not an Error/ },
  'throw an error with an endless cause': { code: 'HANDLER', message: /my own cause/ },
  'reject with null': { code: 'HANDLER', message: /threw null/ },
  'throw in a timer': { ...LOST, cause: /from a timer/ },
  'throw null in a timer': LOST,
  'reject unseen': { ...LOST, cause: /unseen/ },
  'return a function': NOT_CLONEABLE,
  'return a symbol': NOT_CLONEABLE,
  'return a throwing getter': { ...NOT_CLONEABLE, cause: /from a getter/ },
  'return a proxy': { code: 'HANDLER', message: /no has/ },
  'return a socket': NOT_CLONEABLE,
  'then that throws': { code: 'HANDLER', message: /no then/ },
  'never settle': TIMEOUT,
  'settle twice': 'ok',
  'fill the heap': { ...LOST, cause: /memory/ },
  'reject late': TIMEOUT,
  'return late': 'ok',
  'tell often': 'ok',
  'use the context afterwards': 'ok',
  'remove all listeners': 'ok',
  'swallow all errors': 'ok',
  'close the parent port': 'ok',
  'patch the prototypes': 'ok',
};

/** They do not go away when they are told to. */
const STAYS: ReadonlySet<string> = new Set<Deed>(['loop forever', 'loop after a wait', 'never settle']);

for (const [deed, expected] of Object.entries(EXPECTED)) {
  test(`a handler among innocent ones: ${deed}`, async (t) => {
    const engine = openEngine<string, string>(t, fixture('hostile'), {
      concurrency: 8,
      // Deeds that end by themselves have all the time that a slow machine may need for them.
      timeoutMs: expected === TIMEOUT || deed === 'return late' ? 800 : 60_000,
      killGraceMs: STAYS.has(deed) ? 50 : 10_000,
      // So that nobody needs a second attempt: being hit by somebody else's deed costs none.
      retry: { maxAttempts: 1 },
      resourceLimits: { maxOldGenerationSizeMb: 24 },
    });
    const items = Array.from({ length: 30 }, (_, index): Deed => (index % 3 === 0 ? 'slow' : 'fine'));
    items[13] = deed as Deed;
    const { outcomes, summary } = await engine.run(items);

    const others = ends(outcomes.toSpliced(13, 1));
    assert.deepEqual(new Set(others), new Set(['ok']), JSON.stringify(outcomes.filter(({ ok }) => !ok)));
    assert.equal(summary.total, 30);
    if (expected === 'ok') {
      assert.equal(ends(outcomes)[13], 'ok', JSON.stringify(outcomes[13]));
    } else {
      const { error, attempts } = failure(outcomes[13]);
      assert.equal(error.code, expected.code, JSON.stringify(error));
      assert.match(error.message, expected.message);
      if (expected.cause !== undefined) assert.match(String(error.cause?.message), expected.cause);
      assert.equal(attempts, 1);
      assert.equal(error.attempts, 1);
      assert.equal(error.possiblyExecuted, true);
      assertPlain(error);
    }

    await until(() => engine.stats().threadsReady === 2);
    const { outcomes: next } = await engine.run(['fine', 'slow', 'fine', 'slow']);
    assert.deepEqual(ends(next), ['ok', 'ok', 'ok', 'ok']);
    const { batches, inFlight, waiting, pending, workerExits } = engine.stats();
    assert.deepEqual({ batches, inFlight, waiting, pending }, { batches: 0, inFlight: 0, waiting: 0, pending: 0 });
    const endsItsThread = expected !== 'ok' && (expected.code === 'WORKER_LOST' || STAYS.has(deed));
    assert.equal(workerExits > 0, endsItsThread, `${workerExits} threads have ended`);
  });
}

test('all of them in one batch', async (t) => {
  const engine = openEngine<string, string>(t, fixture('hostile'), {
    concurrency: 8,
    timeoutMs: 800,
    killGraceMs: 500,
    retry: { maxAttempts: 1 },
  });
  const wicked = Object.keys(EXPECTED) as (keyof typeof EXPECTED)[];
  // What these do to their thread, they do to what runs in it later; and a heap takes its time to fill.
  const others = new Set<Deed>([
    'swallow all errors',
    'close the parent port',
    'remove all listeners',
    'fill the heap',
  ]);
  const items = wicked.filter((deed) => !others.has(deed)).flatMap((deed): Deed[] => [deed, 'fine', 'slow', 'fine']);
  const { outcomes } = await engine.run(items);
  const expected = items.map((deed) => {
    const end = deed === 'fine' || deed === 'slow' ? 'ok' : EXPECTED[deed];
    return end === 'ok' ? 'ok' : end.code;
  });
  assert.deepEqual(
    ends(outcomes).map((end, index) => `${items[index]}: ${end}`),
    expected.map((end, index) => `${items[index]}: ${end}`),
  );
  await until(() => engine.stats().threadsReady === 2);
});

/** Survives threads, JSON and logs. */
function assertPlain(error: ErrorRecord): void {
  assert.deepEqual(structuredClone(error), error);
  assert.deepEqual(JSON.parse(JSON.stringify(error)), error);
  assert.equal(Object.getPrototypeOf(error), Object.prototype);
}
