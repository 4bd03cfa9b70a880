import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import type { Engine, EngineEvents, EngineOptions, Progress } from '../../lib/index.ts';
import { type Log, RUNS, type Step } from './fixtures/batch-control.ts';
import { count, ends, fixture, openEngine, tally, until } from './support.ts';

type Group = EngineEvents['group'];

/** An engine of four lanes in two threads, whose items log what they do. */
function openLog(t: TestContext, options: Omit<EngineOptions, 'handler'> = {}) {
  const log: Log = {
    cells: new Int32Array(new SharedArrayBuffer(4 * 1_024)),
    entries: new Int32Array(new SharedArrayBuffer(4 * 4_096)),
    timesNs: new BigInt64Array(new SharedArrayBuffer(8 * 4_096)),
  };
  const retry = { initialMs: 1, maxMs: 1, jitter: 0, ...options.retry };
  const engine = openEngine<Step, number>(t, fixture('batch-control'), {
    concurrency: 4,
    ...options,
    retry,
    handlerData: log,
  });
  const groups: Group[] = [];
  engine.on('group', (group) => groups.push(group));
  return { engine, groups, log };
}

interface Entry {
  readonly index: number;
  readonly isStart: boolean;
  readonly atMs: number;
}

function entriesOf({ cells, entries, timesNs }: Log): Entry[] {
  return count(Atomics.load(cells, 0)).map((position) => {
    const entry = entries[position] ?? 0;
    return { index: Math.abs(entry) - 1, isStart: entry > 0, atMs: Number(timesNs[position]) / 1e6 };
  });
}

const runsOf = ({ cells }: Log, items: number): number[] => [...cells.slice(RUNS, RUNS + items)];
const letGo = ({ cells }: Log): void => void Atomics.store(cells, 1, 1);
const running = ({ cells }: Log): number => Atomics.load(cells, 0);
const steps = (length: number, step: Step = {}): Step[] => count(length).map(() => step);

/** Every start of a group comes after every end of the one before, by the wait between them. */
function assertApart(log: Log, groups: readonly Pick<Group, 'items' | 'delayMs'>[]): void {
  const entries = entriesOf(log);
  let from = 0;
  let lastEndMs = Number.NEGATIVE_INFINITY;
  for (const [number, { items, delayMs }] of groups.entries()) {
    const own = entries.filter(({ index }) => index >= from && index < from + items);
    const startsMs = own.filter(({ isStart }) => isStart).map(({ atMs }) => atMs);
    assert.ok(startsMs.length >= items, `group ${number} ran`);
    const gapMs = Math.min(...startsMs) - lastEndMs;
    assert.ok(gapMs >= delayMs, `group ${number} began ${gapMs} ms after the one before it, not ${delayMs}`);
    lastEndMs = Math.max(...own.map(({ atMs }) => atMs));
    from += items;
  }
}

async function isIdle(engine: Engine<Step, number>): Promise<void> {
  await until(() => {
    const { batches, pending, inFlight, waiting } = engine.stats();
    return batches + pending + inFlight + waiting === 0;
  });
}

describe('batchSize', { concurrency: 2 }, () => {
  it('runs group after group, with the wait between them', async (t) => {
    const { engine, groups, log } = openLog(t);
    const progress: Progress[] = [];
    const { outcomes, summary } = await engine.run(steps(35, { takesMs: 1 }), {
      batchSize: 10,
      batchDelayMs: 120,
      onProgress: (now) => progress.push(now),
    });
    assert.deepEqual(
      outcomes.map((outcome) => outcome.ok && outcome.value),
      count(35),
    );
    assert.deepEqual(
      groups.map(({ batch, size, items, delayMs, failed }) => [batch, size, items, delayMs, failed]),
      [
        [1, 10, 10, 0, 0],
        [1, 10, 10, 120, 0],
        [1, 10, 10, 120, 0],
        [1, 10, 5, 120, 0],
      ],
    );
    assertApart(log, groups);
    assert.ok(groups.every(({ elapsedMs, serviceMs = 0 }) => elapsedMs >= serviceMs && serviceMs > 0));
    assert.ok(progress.length > 1 && progress.every(({ total }) => total === 35), 'all items count from the start');
    assert.equal(summary.rounds, 1);
  });

  it('needs no wait, and no two items at a time', async (t) => {
    const { engine, groups, log } = openLog(t);
    const { summary } = await engine.run(steps(20), { batchSize: 1 });
    assert.deepEqual([summary.succeeded, groups.length], [20, 20]);
    assertApart(log, groups);
  });

  it('larger than the batch changes nothing', async (t) => {
    const { engine, groups } = openLog(t);
    const result = await engine.run(steps(5), { batchSize: 1_000_000, batchDelayMs: 2_147_483_647 });
    assert.deepEqual([result.summary.succeeded, groups.length, groups[0]?.items], [5, 1, 5]);
    assert.deepEqual((await engine.run([], { batchSize: 1 })).outcomes, []);
  });

  it('holds for each of several batches on its own', async (t) => {
    const { engine, groups } = openLog(t);
    const results = await Promise.all([
      engine.run(steps(9), { batchSize: 3, batchDelayMs: 5 }),
      engine.run(steps(9), { batchSize: 5 }),
      engine.run(steps(9)),
    ]);
    assert.ok(results.every(({ summary }) => summary.succeeded === 9));
    const itemsOf = (batch: number) => groups.filter((group) => group.batch === batch).map(({ items }) => items);
    assert.deepEqual([itemsOf(1), itemsOf(2), itemsOf(3)], [[3, 3, 3], [5, 4], []]);
  });

  it('counts what it holds back as pending', async (t) => {
    const { engine, log } = openLog(t);
    const run = engine.run(steps(10, { act: 'hold' }), { batchSize: 2 });
    await until(() => running(log) === 2);
    const { pending, inFlight } = engine.stats();
    assert.deepEqual([pending, inFlight], [8, 2]);
    letGo(log);
    await run;
  });
});

describe('an end before the end', { concurrency: 2 }, () => {
  it('abort: what was not fed ends at once and never runs', async (t) => {
    const { engine, groups, log } = openLog(t);
    const controller = new AbortController();
    const run = engine.run(steps(100, { act: 'hold' }), { batchSize: 3, signal: controller.signal });
    await until(() => running(log) === 3);
    controller.abort();
    const { outcomes, aborted } = await run;
    assert.deepEqual([aborted, tally(ends(outcomes))], [true, { ABORTED: 100 }]);
    await isIdle(engine);
    assert.deepEqual(runsOf(log, 100), [1, 1, 1, ...count(97).map(() => 0)]);
    assert.deepEqual([groups.length, groups[0]?.failed], [1, 3]);
  });

  it('abort between two groups: the wait ends, too', async (t) => {
    const { engine } = openLog(t);
    const controller = new AbortController();
    engine.on('group', () => controller.abort());
    const { outcomes } = await engine.run(steps(9), {
      batchSize: 3,
      batchDelayMs: 2_147_483_647,
      signal: controller.signal,
    });
    assert.deepEqual(ends(outcomes), [...count(3).map(() => 'ok'), ...count(6).map(() => 'ABORTED')]);
    await isIdle(engine);
  });

  it('close lets all groups run; with abort nothing more does', async (t) => {
    const drained = openLog(t);
    const draining = drained.engine.run(steps(9), { batchSize: 3, batchDelayMs: 20 });
    await drained.engine.close();
    assert.deepEqual(tally(ends((await draining).outcomes)), { ok: 9 });
    assertApart(drained.log, drained.groups);

    const { engine, log } = openLog(t);
    const run = engine.run(steps(9), { batchSize: 3, batchDelayMs: 2_147_483_647 });
    await new Promise((resolve) => engine.once('group', resolve));
    await engine.close({ mode: 'abort' });
    assert.deepEqual(tally(ends((await run).outcomes)), { ok: 3, ABORTED: 6 });
    assert.deepEqual(runsOf(log, 9), [1, 1, 1, 0, 0, 0, 0, 0, 0]);
  });
});

describe('rate-limit events', { concurrency: 2 }, () => {
  /** The second of three groups of five is refused; how often, its first item says. */
  const refusedIn = (times: number): Step[] => [...steps(5), { act: 'refuse', times }, ...steps(4), ...steps(5)];

  it('keep the group in work until all of it is done', async (t) => {
    const { engine, groups, log } = openLog(t);
    const { outcomes, summary } = await engine.run(refusedIn(2), { batchSize: 5, batchDelayMs: 10 });
    assert.deepEqual(tally(ends(outcomes)), { ok: 15 });
    assert.deepEqual([summary.rounds, summary.refused], [3, 2]);
    assert.deepEqual(
      groups.map(({ items, refused, failed }) => [items, refused, failed]),
      [
        [5, 0, 0],
        [5, 2, 0],
        [5, 0, 0],
      ],
    );
    assertApart(log, groups);
  });

  it('with scope "batch" start the group over, and no other', async (t) => {
    // One lane: what comes behind the refused item has not run when the group starts over.
    const { engine, groups, log } = openLog(t, { concurrency: 1, threads: 1, retry: { scope: 'batch' } });
    const items = [...steps(5), ...steps(4), { act: 'refuse', times: 2 } as const, ...steps(5)];
    const { outcomes, summary } = await engine.run(items, { batchSize: 5 });
    assert.deepEqual(tally(ends(outcomes)), { ok: 15 });
    assert.equal(summary.rounds, 3);
    assert.deepEqual(runsOf(log, 15), [1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1]);
    assert.deepEqual(
      groups.map(({ refused }) => refused),
      [0, 2, 0],
    );
    assertApart(log, groups);
  });

  it('with scope "batch" use up the rounds of their group, and later groups have their own', async (t) => {
    const { engine, log } = openLog(t, {
      concurrency: 1,
      threads: 1,
      retry: { scope: 'batch', maxAttempts: 2 },
    });
    const items: Step[] = [{}, { act: 'refuse', times: 99 }, {}, { act: 'refuse', times: 1 }, {}, {}];
    const { outcomes, summary } = await engine.run(items, { batchSize: 2 });
    assert.deepEqual(ends(outcomes), ['ok', 'RATE_LIMITED', 'ok', 'ok', 'ok', 'ok']);
    assert.equal(summary.rounds, 3);
    assert.deepEqual(runsOf(log, 6), [2, 2, 2, 2, 1, 1]);
  });

  it('that end the batch end what was not fed', async (t) => {
    const { engine, log } = openLog(t, { retry: { maxRefusals: 2 } });
    const { outcomes } = await engine.run(steps(20, { act: 'refuse', times: 99 }), { batchSize: 4 });
    assert.deepEqual(tally(ends(outcomes)), { RATE_LIMITED: 20 });
    assert.deepEqual(runsOf(log, 20).slice(4), [...count(16).map(() => 0)]);
  });
});

describe('a stream', { concurrency: 2 }, () => {
  it('runs in groups of what its source gives', async (t) => {
    const { engine, groups, log } = openLog(t);
    function* source() {
      yield* steps(23, { takesMs: 1 });
    }
    const indices: number[] = [];
    for await (const { ok, index } of engine.stream(source(), { batchSize: 10, batchDelayMs: 50 })) {
      assert.ok(ok);
      indices.push(index);
    }
    assert.deepEqual(
      indices.sort((a, b) => a - b),
      count(23),
    );
    assert.deepEqual(
      groups.map(({ items, delayMs }) => [items, delayMs]),
      [
        [10, 0],
        [10, 50],
        [3, 50],
      ],
    );
    assertApart(log, groups);
  });

  it('does not wait for a group to be full', async (t) => {
    const { engine, groups } = openLog(t);
    let read = 0;
    // Gives an item only when the one before it has come out at the other end.
    async function* source() {
      for (let given = 0; given < 12; given++) {
        await until(() => read === given);
        yield {};
      }
    }
    for await (const { ok } of engine.stream(source(), { batchSize: 5 })) {
      assert.ok(ok);
      read++;
    }
    assert.deepEqual(
      groups.map(({ items }) => items),
      [5, 5, 2],
    );
  });

  it('that is left in a wait stops there', async (t) => {
    const { engine, log } = openLog(t);
    let read = 0;
    for await (const _ of engine.stream(steps(50), { batchSize: 5, batchDelayMs: 2_147_483_647 })) {
      if (++read === 5) break;
    }
    await isIdle(engine);
    assert.deepEqual(runsOf(log, 50), [...count(5).map(() => 1), ...count(45).map(() => 0)]);
  });

  it('that is closed in a wait gives all that it has pulled', async (t) => {
    const { engine, groups } = openLog(t);
    const reading = (async () => {
      const got: string[] = [];
      const stream = engine.stream(steps(12), { batchSize: 5, batchDelayMs: 20 });
      for await (const outcome of stream) got.push(...ends([outcome]));
      return got;
    })();
    await new Promise((resolve) => engine.once('group', resolve));
    await engine.close();
    const got = await reading;
    assert.ok(got.length >= 5 && got.every((end) => end === 'ok'));
    assert.equal(
      groups.reduce((sum, { items }) => sum + items, 0),
      got.length,
    );
  });
});

describe('dynamicBatch', { concurrency: 2 }, () => {
  const DYNAMIC = {
    minSize: 5,
    maxSize: 40,
    minDelayMs: 0,
    maxDelayMs: 40,
    minBatches: 1,
    minIntervalMs: 0,
    // However slow this machine is: here only errors count.
    slowdown: 1_000,
  };

  it('makes groups smaller and waits longer while the upstream fails, and the other way round', async (t) => {
    const { engine, groups, log } = openLog(t, { circuit: false });
    const items = [...steps(20, { act: 'break', takesMs: 5 }), ...steps(60, { takesMs: 5 })];
    const { summary } = await engine.run(items, { batchSize: 20, batchDelayMs: 20, dynamicBatch: DYNAMIC });
    assert.deepEqual([summary.succeeded, summary.retried], [80, 20]);
    assert.deepEqual(
      groups.map(({ size, delayMs, failedAttempts }) => [size, Math.round(delayMs * 100) / 100, failedAttempts]),
      [
        [20, 0, 20],
        [12, 28, 0],
        [14, 22.4, 0],
        [17, 17.92, 0],
        [20, 14.34, 0],
      ],
    );
    assertApart(log, groups);
  });

  it('takes refusals for errors as well', async (t) => {
    const { engine, groups } = openLog(t);
    const items = [{ act: 'refuse' } as const, ...steps(39)];
    await engine.run(items, { batchSize: 20, batchDelayMs: 1, dynamicBatch: DYNAMIC });
    assert.deepEqual(
      groups.slice(0, 2).map(({ size, refused }) => [size, refused]),
      [
        [20, 1],
        [12, 0],
      ],
    );
  });

  it('starts with 50 items and changes nothing for ten seconds', async (t) => {
    const { engine, groups } = openLog(t, { concurrency: 50 });
    const controller = new AbortController();
    engine.on('group', () => controller.abort());
    const run = engine.run(steps(120), { dynamicBatch: true, signal: controller.signal });
    assert.deepEqual(tally(ends((await run).outcomes)), { ok: 50, ABORTED: 70 });
    assert.deepEqual([groups[0]?.size, groups[0]?.delayMs], [50, 0]);
  });
});

describe('progressInterval', { concurrency: 2 }, () => {
  it('reports each time that so many more items are done, and the end', async (t) => {
    const { engine } = openLog(t);
    for (const [items, expected] of [
      [100, [25, 50, 75, 100]],
      [60, [25, 50, 60]],
      [0, [0]],
    ] as const) {
      const done: number[] = [];
      const heard: number[] = [];
      const listener = (progress: Progress) => heard.push(progress.done);
      engine.on('progress', listener);
      await engine.run(steps(items), { progressInterval: 25, onProgress: (progress) => done.push(progress.done) });
      engine.off('progress', listener);
      assert.deepEqual([done, heard], [expected, expected]);
    }
  });

  it('does not report as time goes by', async (t) => {
    const { engine, log } = openLog(t);
    const done: number[] = [];
    const onProgress = (progress: Progress) => done.push(progress.done);
    const slow = engine.run(steps(4, { act: 'hold' }), { progressInterval: 2, onProgress });
    // The other batch reports by time: when it has done so five times, the first one would have, too.
    let reports = 0;
    const other = engine.run([{ act: 'hold', times: 2 }], { onProgress: () => reports++ });
    await until(() => reports >= 5);
    assert.deepEqual(done, []);
    letGo(log);
    await Promise.all([slow, other]);
    assert.deepEqual(done, [2, 4]);
  });

  it('lets the callback abort its own batch, or throw', async (t) => {
    const { engine } = openLog(t);
    const controller = new AbortController();
    const warning = once(process, 'warning');
    const { outcomes, aborted } = await engine.run(steps(1_000, { takesMs: 1 }), {
      batchSize: 100,
      progressInterval: 10,
      signal: controller.signal,
      onProgress: () => {
        if (controller.signal.aborted) return;
        controller.abort();
        throw new Error('from onProgress');
      },
    });
    assert.equal(aborted, true);
    const { ok = 0, ABORTED = 0 } = tally(ends(outcomes));
    assert.ok(ok >= 10 && ok + ABORTED === 1_000);
    assert.match(String((await warning)[0]), /from onProgress/);
    await isIdle(engine);
  });
});
