import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Arrival } from '../../lib/simulator/index.ts';
import { domestic, makeClient, startKis, startSim } from './support.ts';

function symbolOf({ path }: Arrival): string {
  return new URLSearchParams(path.slice(path.indexOf('?'))).get('FID_INPUT_ISCD') ?? '';
}

/** Requests for each symbol, by the status of their answers. */
function answersBySymbol(arrivals: readonly Arrival[]): Map<string, number[]> {
  const answers = new Map<string, number[]>();
  for (const arrival of arrivals) {
    const symbol = symbolOf(arrival);
    answers.set(symbol, [...(answers.get(symbol) ?? []), arrival.status]);
  }
  return answers;
}

describe('a token that expires in the middle of a batch', () => {
  it('is refreshed once for all threads; nothing is lost, and nothing runs twice that need not', async (t) => {
    const options = { threads: 4, concurrency: 16, rate: { limit: 1000, windowMs: 1000 } };
    const { sim, client } = await startKis(
      t as TestContext,
      options,
      { expireTokensAt: 250 },
      { serviceTimeMs: [1, 10] },
    );
    const refreshes: unknown[] = [];
    const threads = new Set<number>();
    client.engine.on('credentials', (event) => refreshes.push(event));
    await client.engine.ready();

    const { outcomes, summary, aborted } = await client.fetchPriceList(domestic(500));

    assert.deepEqual([summary.total, summary.succeeded, aborted], [500, 500, false]);
    for (const [index, outcome] of outcomes.entries()) {
      assert.ok(outcome.ok);
      assert.equal(outcome.value.output.stck_shrn_iscd, domestic(500)[index]?.[0]);
      threads.add(outcome.threadId);
    }
    assert.ok(threads.size > 1, `${threads.size} threads`);
    assert.deepEqual(refreshes, [
      { reason: 'initial', ok: true },
      { reason: 'refused', ok: true },
    ]);
    const stats = await sim.stats();
    assert.deepEqual([stats.tokensIssued, stats.tokenRequests, client.stats().credentialRefreshes], [2, 2, 2]);

    const answers = [...answersBySymbol(await sim.arrivals()).values()];
    const sentTwice = answers.filter((statuses) => statuses.length > 1);
    assert.equal(answers.length, 500);
    // Those that were in flight with the old token, and no others: refused once, then answered.
    assert.ok(sentTwice.length >= 1 && sentTwice.length <= 16, `${sentTwice.length} sent twice`);
    for (const statuses of sentTwice) assert.deepEqual(statuses, [500, 200]);
    assert.equal(stats.total, 500 + sentTwice.length);
    assert.equal(summary.requestsSent, stats.total);
  });

  it('is refreshed once for several batches at the same time', async (t) => {
    const options = { threads: 2, concurrency: 8 };
    const { sim, client } = await startKis(t as TestContext, options, { expireTokensAt: 60 }, { serviceTimeMs: 5 });
    const results = await Promise.all([
      client.fetchPriceList(domestic(60)),
      client.fetchStockInfoList(domestic(40)),
      client.fetchPriceDetailOverseaList([['TSLA', 'NAS']]),
    ]);
    for (const { summary } of results) assert.equal(summary.failed, 0);
    assert.equal((await sim.stats()).tokensIssued, 2);
  });

  it('can be given up while the next one has to be waited for', async (t) => {
    const { sim, client } = await startKis(t as TestContext, { tokenIntervalMs: 60_000 });
    assert.equal((await client.fetchPriceList(domestic(1))).summary.succeeded, 1);
    await sim.expireToken();
    // The next token may be asked for in a minute, and nobody wants to wait for that.
    const stop = new AbortController();
    client.engine.once('paused', () => stop.abort());
    const { aborted, outcomes } = await client.fetchPriceList(domestic(3), { signal: stop.signal });
    assert.equal(aborted, true);
    assert.deepEqual(
      outcomes.map((outcome) => !outcome.ok && outcome.error.code),
      ['ABORTED', 'ABORTED', 'ABORTED'],
    );
    assert.equal((await sim.stats()).tokenRequests, 1);
    await client.close();
  });
});

describe('the token', () => {
  it('is asked for when the first batch starts, and never for nothing', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    await client.engine.ready();
    assert.equal((await sim.stats()).tokenRequests, 0);
    await Promise.all([client.fetchPriceList(domestic(5)), client.fetchPrices(['005930'])]);
    await client.fetchPriceList(domestic(5));
    assert.equal((await sim.stats()).tokenRequests, 1);
  });

  it('of a file is used by the next client, until it is refused', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluicegate-kis-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const tokenFile = join(folder, 'token.json');
    const sim = await startSim(t as TestContext);
    const fetchOne = async (baseUrl = sim.url) => {
      const client = makeClient(t as TestContext, sim, { tokenFile, baseUrl });
      assert.equal((await client.fetchPriceList(domestic(1))).summary.succeeded, 1);
      await client.close();
      return (await sim.stats()).tokensIssued;
    };
    assert.equal(await fetchOne(), 1);
    assert.equal(await fetchOne(), 1);
    const kept = readFileSync(tokenFile, 'utf8');
    await sim.expireToken();
    assert.equal(await fetchOne(), 2);
    assert.notEqual(readFileSync(tokenFile, 'utf8'), kept);
    // The same server under another name is another server.
    assert.equal(await fetchOne(sim.url.replace('127.0.0.1', 'localhost')), 3);
  });

  it('is replaced before it ends, between batches', async (t) => {
    const { client, renewed } = await startShortLived(t as TestContext);
    while (!renewed.aborted) await client.fetchPriceList(domestic(2));
  });

  it('is replaced before it ends, in the middle of a batch', async (t) => {
    const { client, renewed } = await startShortLived(t as TestContext);
    const { summary } = await client.fetchPriceList(domestic(5000), { signal: renewed });
    assert.ok(summary.succeeded > 0);
  });
});

/** Tokens live for some seconds. `renewed` aborts when one has been replaced before its time. */
async function startShortLived(t: TestContext) {
  const { client } = await startKis(
    t,
    { rate: { limit: 50, windowMs: 1000 } },
    { tokenLifetimeMs: 3000, tokenReuseMs: 0 },
  );
  const stop = new AbortController();
  client.engine.on('credentials', ({ reason, ok }) => {
    if (reason === 'requested' && ok) stop.abort();
  });
  return { client, renewed: stop.signal };
}
