import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { HandlerContext } from '../../lib/types.ts';
import { Attempt } from '../../workers/attempt.ts';
import { openEngine, success } from '../engine/support.ts';

const HANDLER = new URL('./fixtures/reach.js', import.meta.url);

test('a handler that looks everywhere finds no shared memory but its own', async (t) => {
  const own = new SharedArrayBuffer(24);
  const engine = openEngine<number, string[]>(t, HANDLER, {
    threads: 1,
    handlerData: { own },
    rate: { limit: 1000, windowMs: 1 },
    circuit: {},
  });
  for (const outcome of (await engine.run([1, 2])).outcomes) {
    const { value } = success(outcome);
    // It has really looked: what the handler was given is found, at every place where it is.
    assert.ok(value.length > 0);
    assert.deepEqual(
      value.filter((place) => !/^\.context\.state\.own \(24 bytes\)$/.test(place)),
      [],
    );
  }
});

test('a context that is logged shows no credentials', () => {
  const host = {
    waiter: undefined,
    nowNs: () => 0n,
    mustStop: () => false,
    onSent() {},
    onWaiting() {},
    onWaited() {},
  };
  const credentials = { headers: { authorization: 'canary' } };
  const context: HandlerContext = new Attempt(host, 0, 1, 1, 'the state', credentials);
  assert.equal(context.credentials, credentials);
  assert.match(inspect(context), /the state/);
  for (const text of [inspect(context, { showHidden: true, depth: 9 }), JSON.stringify(context)]) {
    assert.doesNotMatch(text, /canary/);
  }
  assert.deepEqual(Object.keys(structuredClone(context)).includes('credentials'), false);
});
