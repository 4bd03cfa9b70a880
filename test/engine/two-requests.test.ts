import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TwoPosts } from './fixtures/two-posts.ts';
import { failure, fixture, openEngine } from './support.ts';

test('a second request that finds no server does not make the first one run again', async (t) => {
  let executed = 0;
  const server = createServer((request, response) => {
    executed++;
    request.resume();
    response.end();
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const nobody = createServer().listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const urlOf = ({ port }: AddressInfo) => `http://127.0.0.1:${port}/`;
  const first = urlOf(server.address() as AddressInfo);
  const second = urlOf(nobody.address() as AddressInfo);
  nobody.close();
  await once(nobody, 'close');

  for (const rate of [undefined, { limit: 20, windowMs: 100 }]) {
    executed = 0;
    const engine = openEngine<TwoPosts>(t, fixture('two-posts'), {
      threads: 1,
      retry: { initialMs: 1, maxAttempts: 3 },
      ...(rate && { rate }),
    });
    const { outcomes } = await engine.run(
      [
        { first, second },
        { first: '', second },
      ],
      { idempotent: false },
    );
    assert.equal(executed, 1);
    const { error, attempts } = failure(outcomes[0]);
    assert.equal(error.code, 'IN_DOUBT');
    assert.equal(error.possiblyExecuted, true);
    assert.equal(attempts, 1);
    // Nothing of this one was ever sent.
    const unsent = failure(outcomes[1]);
    assert.equal(unsent.error.code, 'NETWORK');
    assert.equal(unsent.error.possiblyExecuted, false);
    assert.equal(unsent.attempts, 3);
  }
});
