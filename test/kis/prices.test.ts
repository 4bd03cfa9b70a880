import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { statsWhen } from '../simulator/support.ts';
import { domestic, ends, startKis, symbols } from './support.ts';

/** Names that a single price and one of many have in common, once both are made alike. */
const COMMON = [
  'stck_shrn_iscd',
  'stck_prpr',
  'prdy_vrss',
  'prdy_vrss_sign',
  'prdy_ctrt',
  'acml_vol',
  'stck_oprc',
] as const;

describe('many prices', () => {
  it('cost one request for thirty: 100 cost 4', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const { outcomes, summary, items, aborted } = await client.fetchPrices(symbols(100));
    assert.deepEqual(
      [summary.total, summary.succeeded, summary.failed, summary.requestsSent, aborted],
      [100, 100, 0, 4, false],
    );
    assert.equal((await sim.stats()).total, 4);
    assert.deepEqual(items, domestic(100));
    for (const [index, outcome] of outcomes.entries()) {
      assert.ok(outcome.ok);
      assert.equal(outcome.index, index);
      assert.equal(outcome.value.output.stck_shrn_iscd, symbols(100)[index]);
      assert.equal(outcome.value.rt_cd, '0');
    }
    assert.ok(summary.elapsedMs > 0 && summary.throughputPerSecond > 0 && summary.durationMs.max > 0);
  });

  it('are the same prices, under the same names, as those that come alone', async (t) => {
    const { client } = await startKis(t as TestContext);
    const together = await client.fetchPrices(symbols(3));
    const alone = await client.fetchPriceList(domestic(3));
    for (const [index, one] of together.outcomes.entries()) {
      const other = alone.outcomes[index];
      assert.ok(one.ok && other?.ok);
      for (const name of COMMON) assert.equal(one.value.output[name], other.value.output[name], name);
      assert.equal(one.value.output.inter2_prpr, other.value.output.stck_prpr);
    }
  });

  it('come alone in paper trading', async (t) => {
    const { sim, client } = await startKis(t as TestContext, { environment: 'paper' }, { multiPrice: false });
    const { outcomes, summary } = await client.fetchPrices(symbols(40));
    assert.deepEqual([summary.succeeded, summary.requestsSent], [40, 40]);
    assert.ok(outcomes.every((outcome, at) => outcome.ok && outcome.value.output.stck_shrn_iscd === symbols(40)[at]));
    assert.equal((await sim.stats()).total, 40);
  });

  it('come alone where the server has nothing else, and are not asked for in vain again', async (t) => {
    const { sim, client } = await startKis(t as TestContext, {}, { multiPrice: false });
    const first = await client.fetchPrices(symbols(40));
    assert.deepEqual([first.summary.succeeded, first.summary.failed, first.summary.requestsSent], [40, 0, 42]);
    const { rounds, errors, elapsedMs, throughputPerSecond } = first.summary;
    assert.deepEqual([rounds, errors], [1, {}]);
    assert.ok(Math.abs(throughputPerSecond - 40_000 / elapsedMs) < 1e-9);
    await sim.reset();
    assert.equal((await client.fetchPrices(symbols(40))).summary.requestsSent, 40);
  });

  it('ask alone for what is missing, so that its error is its own', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const wanted = ['005930', '000000', '000660', 'a b', '005930', undefined as never];
    const { outcomes, summary } = await client.fetchPrices(wanted);
    assert.deepEqual(ends(outcomes), [
      'ok',
      'INVALID_RESPONSE KIOK0560',
      'ok',
      'HANDLER INVALID_ITEM',
      'ok',
      'HANDLER INVALID_ITEM',
    ]);
    assert.deepEqual(
      outcomes.map(({ index }) => index),
      [0, 1, 2, 3, 4, 5],
    );
    assert.deepEqual([summary.succeeded, summary.failed, summary.errorRate], [3, 3, 0.5]);
    assert.deepEqual(summary.errors, { INVALID_RESPONSE: 1, HANDLER: 2 });
    assert.equal((await sim.stats()).total, 2);
  });

  it('take rows by their symbol, whatever else comes', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const row = (symbol: string, price: string) => ({ inter_shrn_iscd: symbol, inter2_prpr: price });
    for (const output of [
      [row('000102', '3'), null, 'x', { inter_shrn_iscd: 5 }, row('000100', '1'), row('999999', '9')],
      {},
      'x',
    ]) {
      const body = { rt_cd: '0', msg_cd: 'MCA00000', msg1: '', output };
      await sim.reset();
      await sim.setFaults([{ kind: 'status', status: 200, body, at: 1 }]);
      const { outcomes, summary } = await client.fetchPrices(symbols(3));
      assert.deepEqual(ends(outcomes), ['ok', 'ok', 'ok']);
      const [first, second, third] = outcomes.map((outcome) => (outcome.ok ? outcome.value.output.stck_prpr : ''));
      if (Array.isArray(output)) assert.deepEqual([first, third], ['1', '3']);
      assert.ok(Number(second) > 3);
      assert.equal(summary.requestsSent, Array.isArray(output) ? 2 : 4);
    }
  });

  it('fail together when their request fails', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    await sim.setFaults([{ kind: 'kis', code: 'EGW00304', path: '/uapi/*', times: 1 }]);
    const { outcomes, summary } = await client.fetchPrices(symbols(31));
    const words = ends(outcomes);
    assert.equal(words.filter((word) => word === 'ok').length, summary.succeeded);
    assert.ok(summary.failed === 30 || summary.failed === 1, `${summary.failed}`);
    assert.equal(new Set(words).size, 2);
    assert.equal((await sim.stats()).total, 2);
  });

  it('stop when they are aborted', async (t) => {
    const { client } = await startKis(t as TestContext);
    const { outcomes, aborted, summary } = await client.fetchPrices(symbols(100), { signal: AbortSignal.abort() });
    assert.equal(aborted, true);
    assert.deepEqual(new Set(ends(outcomes)), new Set(['ABORTED']));
    assert.deepEqual(summary.errors, { ABORTED: 100 });
  });
});

describe('closing', () => {
  it('lets prices come to their end, also those that need a second batch', async (t) => {
    const { client } = await startKis(t as TestContext, {}, { multiPrice: false }, { serviceTimeMs: 5 });
    const prices = client.fetchPrices(symbols(40));
    await client.close();
    assert.deepEqual([(await prices).summary.succeeded, (await prices).aborted], [40, false]);
    await assert.rejects(client.fetchPrices(symbols(1)), { code: 'ENGINE_CLOSED' });
    await assert.rejects(client.fetchPriceList(domestic(1)), { code: 'ENGINE_CLOSED' });
  });

  it('by force leaves nobody without an outcome', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    await sim.setFaults([{ kind: 'hang', path: '/uapi/*' }]);
    const prices = client.fetchPrices(symbols(40));
    await statsWhen(sim, ({ total }) => total === 2);
    await client.close({ mode: 'abort' });
    const { outcomes, aborted } = await prices;
    assert.equal(aborted, true);
    assert.deepEqual(new Set(ends(outcomes)), new Set(['ABORTED']));
  });

  it('by force between two batches leaves nobody without an outcome either', async (t) => {
    const { sim, client } = await startKis(t as TestContext, { locale: 'ko' });
    const body = { rt_cd: '0', msg_cd: 'MCA00000', msg1: '', output: [] };
    await sim.setFaults([{ kind: 'status', status: 200, body }]);
    let closed: Promise<void> | undefined;
    // The last progress of the first batch: the second one starts after it.
    const prices = client.fetchPrices(symbols(2), {
      onProgress: ({ done, total }) => {
        if (done === total) closed ??= client.close({ mode: 'abort' });
      },
    });
    const { outcomes, aborted, summary } = await prices;
    assert.equal(aborted, true);
    assert.equal(summary.total, 2);
    for (const [index, outcome] of outcomes.entries()) {
      assert.ok(!outcome.ok);
      const { code, type, userMessage, attempts } = outcome.error;
      assert.deepEqual([outcome.index, code, type, attempts], [index, 'ABORTED', 'AbortError', 0]);
      assert.equal(userMessage, '요청이 취소되었습니다.');
    }
    assert.ok(closed !== undefined);
    await closed;
  });

  it('says what is wrong with its options, and may be called again', async (t) => {
    const { client } = await startKis(t as TestContext);
    await assert.rejects(client.close({ mode: 'x' } as never), { option: 'mode' });
    assert.equal((await client.fetchPriceList(domestic(1))).summary.succeeded, 1);
    await Promise.all([client.close(), client.close(), client[Symbol.asyncDispose]()]);
  });
});
