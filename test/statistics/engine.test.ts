import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  createEngine,
  type EngineOptions,
  InvalidOptionError,
  type Statistics,
  StatisticsError,
} from '../../lib/index.ts';
import { startSimulator } from '../../lib/simulator/index.ts';
import { temporaryFolder } from './support.ts';

const ECHO = new URL('../engine/fixtures/echo.js', import.meta.url);
const MORTAL = new URL('./fixtures/mortal.js', import.meta.url);
const SECRET = 'S3CR3T';

const sum = (counts: readonly number[]): number => counts.reduce((all, count) => all + count, 0);

function engineOf(t: TestContext, options: EngineOptions) {
  const engine = createEngine<unknown, unknown>(options);
  t.after(() => engine.close({ mode: 'abort' }));
  return engine;
}

describe('the statistics that an engine keeps', () => {
  it('count every call in its second, under a limit', async (t) => {
    const limit = 20;
    const server = await startSimulator({ kis: false, limit, refusal: '429', faults: [{ kind: 'refuse', at: 30 }] });
    t.after(() => server.close());
    const engine = engineOf(t as TestContext, {
      rate: { limit, windowMs: 1000 },
      retry: { initialMs: 50 },
      http: { baseUrl: server.url, headers: { authorization: SECRET } },
      threads: 2,
    });
    const { summary } = await engine.run(Array.from({ length: 45 }, (_, id) => ({ url: `/prices/${id}` })));
    const statistics = engine.statistics();
    assert.equal(statistics.callsSent, summary.requestsSent);
    assert.equal(sum(statistics.callsPerSecond.counts), summary.requestsSent);
    assert.equal(statistics.maxCallsPerSecond, Math.max(...statistics.callsPerSecond.counts));
    assert.ok(statistics.maxCallsPerSecond <= limit);
    assert.equal(statistics.succeeded, 45);
    assert.ok(statistics.refused >= 1);
    assert.equal(statistics.rateLimitEvents.count, summary.rateLimitEvents);
    assert.deepEqual(statistics.rateLimitEvents.last[0]?.causes, ['refused']);
    assert.equal(statistics.batches.last[0]?.items, 45);
    assert.ok(statistics.waitMs.max > 0 && statistics.durationMs.max > 0);
    assert.doesNotMatch(JSON.stringify(statistics), new RegExp(SECRET));
  });

  it('count the calls of threads that died', async (t) => {
    const engine = engineOf(t as TestContext, {
      handler: MORTAL,
      threads: 3,
      concurrency: 12,
      retry: { initialMs: 0 },
    });
    await engine.run(Array.from({ length: 600 }, (_, item) => item));
    const { callsPerSecond, callsSent, errors, failed } = engine.statistics();
    assert.ok(engine.stats().workerExits >= 2, 'threads died');
    assert.equal(sum(callsPerSecond.counts), callsSent);
    assert.equal(sum(Object.values(errors.byCode)), failed);
    assert.equal(sum(Object.values(errors.byType)), failed);
    assert.equal(sum(Object.values(errors.bySeverity)), failed);
  });

  it('list groups one by one', async (t) => {
    const engine = engineOf(t as TestContext, { handler: ECHO, threads: 1 });
    await engine.run([1, 2, 3, 4, 5], { batchSize: 2, batchDelayMs: 0 });
    await engine.run([6]);
    const { count, last } = engine.statistics().batches;
    assert.equal(count, 4);
    assert.deepEqual(
      last.map(({ batch, items, size }) => [batch, items, size]),
      [
        [1, 2, 2],
        [1, 2, 2],
        [1, 1, 2],
        [2, 1, undefined],
      ],
    );
  });

  it('do not count failures that a later round made good', async (t) => {
    const server = await startSimulator({
      kis: false,
      refusal: '429',
      faults: [
        { kind: 'status', status: 404, at: 1 },
        { kind: 'refuse', at: 3 },
      ],
    });
    t.after(() => server.close());
    const engine = engineOf(t as TestContext, {
      concurrency: 1,
      retry: { scope: 'batch', initialMs: 0 },
      http: { baseUrl: server.url },
    });
    const { summary } = await engine.run(Array.from({ length: 4 }, (_, id) => ({ url: `/${id}` })));
    assert.deepEqual([summary.rounds, summary.failed], [2, 0]);
    assert.deepEqual(engine.statistics().errors, { byCode: {}, byType: {}, bySeverity: {} });
  });

  it('are saved when asked for, also after the engine was closed', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const path = join(folder, 'stats.json');
    const engine = engineOf(t as TestContext, { handler: ECHO, threads: 1 });
    await engine.run([1, 2, 3]);
    assert.equal(await engine.saveStatistics(path), path);
    await engine.close();
    await engine.saveStatistics(path);
    const saved = JSON.parse(readFileSync(path, 'utf8')) as Statistics;
    assert.deepEqual([saved.callsSent, saved.succeeded, sum(saved.callsPerSecond.counts)], [3, 3, 3]);
    await assert.rejects(engine.saveStatistics(folder), StatisticsError);
    await assert.rejects(engine.saveStatistics(''), InvalidOptionError);
    await assert.rejects(engine.saveStatistics(path, { format: 'xml' as 'json' }), InvalidOptionError);
  });

  it('are saved at an interval and at the end', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const engine = engineOf(t as TestContext, {
      handler: ECHO,
      threads: 1,
      statistics: { path: join(folder, 'stats-{date}.jsonl'), format: 'jsonl', intervalMs: 100 },
    });
    await engine.run([1, 2]);
    while (readdirSync(folder).every((name) => name.startsWith('.')))
      await new Promise((resolve) => setImmediate(resolve));
    await engine.run([3]);
    await engine.close();
    const [name = ''] = readdirSync(folder);
    assert.match(name, /^stats-\d{4}-\d\d-\d\d\.jsonl$/);
    const lines = readFileSync(join(folder, name), 'utf8').trimEnd().split('\n');
    assert.ok(lines.length >= 2);
    assert.equal((JSON.parse(lines.at(-1) ?? '') as Statistics).callsSent, 3);
  });
});
