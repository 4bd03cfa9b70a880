import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { audit } from '../../lib/audit/audit.ts';
import type { TraceLine } from '../../lib/index.ts';
import type { Script } from './fixtures/script.ts';
import { auditOf, linesOf, makeStage, timesIn, timesOf, until } from './support.ts';

/** Request, verdict and the names of the times of each line. */
const story = (lines: readonly TraceLine[]) =>
  lines.map((line) => [line.request ?? 0, line.verdict, timesIn(line).join(' ')]);

describe('the trace of a thread that dies', { concurrency: 2 }, () => {
  it('has every request that left or may have, and each end that was known', async (t) => {
    const rate = { limit: 4, windowMs: 50 };
    const { engine, trace } = makeStage(t, { threads: 1, concurrency: 1, rate });
    const first: Script = ['sent', 'answered', 'acquire', 'further sent', 'further answered'];
    await engine.run([[...first, 'acquire', 'further sent', 'acquire', 'exit once']]);
    await engine.close();
    const lines = linesOf(trace);
    assert.deepEqual(story(lines.filter(({ verdict }) => verdict === 'lost')), [
      [0, 'lost', 'startedNs sentNs answeredNs'],
      [1, 'lost', 'startedNs sentNs answeredNs'],
      [2, 'lost', 'startedNs sentNs abandonedNs'],
      [3, 'lost', 'startedNs abandonedNs'],
    ]);
    assert.equal(lines.filter(({ verdict }) => verdict === 'ok').length, 4);
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('says when a request was answered, not when the thread died: its token was another one’s by then', async (t) => {
    const rate = { limit: 1, windowMs: 50 };
    const { engine, trace } = makeStage(t, { threads: 1, concurrency: 2, rate });
    // The second one gets the token a window after the first has answered, and only then may the first one die.
    const { outcomes } = await engine.run([
      ['sent', 'answered', { await: 1 }, 'exit once'],
      ['sent', { set: 1 }, 'answered'],
    ]);
    assert.ok(outcomes.every(({ ok }) => ok));
    await engine.close();
    const lines = linesOf(trace);
    const lost = lines.find(({ verdict }) => verdict === 'lost');
    const other = lines.find(({ item }) => item === 1);
    assert.deepEqual([lost?.item, timesIn(lost)], [0, ['startedNs', 'sentNs', 'answeredNs']]);
    assert.equal((await auditOf(trace, rate)).holds, true);
    // What would have been written without knowing of the answer is rejected.
    const times = await timesOf(trace);
    const endNs = BigInt(other?.answeredNs ?? 0);
    const asIfSilent = times.map((one) =>
      String(one.endNs) === lost?.answeredNs ? { ...one, endNs, isAnswered: false } : one,
    );
    assert.equal(audit(asIfSilent, rate).holds, false);
  });

  it('has an attempt that the watchdog ended', async (t) => {
    const rate = { limit: 2, windowMs: 50 };
    const { engine, trace } = makeStage(t, { threads: 1, concurrency: 1, rate, timeoutMs: 200, killGraceMs: 20 });
    const { outcomes } = await engine.run([['sent', 'acquire', 'hang once']]);
    assert.ok(outcomes[0]?.ok);
    await engine.close();
    const lines = linesOf(trace);
    assert.deepEqual(story(lines.slice(0, 2)), [
      [0, 'lost', 'startedNs sentNs abandonedNs'],
      [1, 'lost', 'startedNs abandonedNs'],
    ]);
    assert.ok(BigInt(lines[0]?.abandonedNs ?? 0) - BigInt(lines[0]?.startedNs ?? 0) >= 200_000_000n);
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('has what still waited for its token as not started', async (t) => {
    const rate = { limit: 1, windowMs: 50 };
    const { engine, trace, cells } = makeStage(t, { threads: 1, concurrency: 2, rate });
    const running = engine.run([['sent', { await: 1 }, 'exit once'], []]);
    await until(() => engine.stats().inFlight === 1 && engine.stats().waiting === 1);
    Atomics.store(cells, 1, 1);
    await running;
    await engine.close();
    const [before, after] = [linesOf(trace).slice(0, 2), linesOf(trace).slice(2)];
    assert.deepEqual(
      before.map((line) => [line.item, line.verdict, timesIn(line).length]),
      [
        [0, 'lost', 3],
        [1, 'not-started', 0],
      ],
    );
    assert.deepEqual(
      after.map(({ verdict }) => verdict),
      ['ok', 'ok'],
    );
  });

  it('has all requests of attempts that end with the engine', async (t) => {
    const { engine, trace } = makeStage(t, { threads: 2, concurrency: 2, cancelGraceMs: 20 });
    const deaf: Script = ['sent', 'acquire', 'further sent', 'be deaf'];
    const running = engine.run([deaf, deaf]);
    await until(() => engine.stats().requestsSent >= 4);
    await engine.close({ mode: 'abort' });
    assert.equal((await running).aborted, true);
    for (const item of [0, 1]) {
      const lines = linesOf(trace).filter((line) => line.item === item);
      assert.deepEqual(story(lines), [
        [0, 'lost', 'startedNs sentNs abandonedNs'],
        [1, 'lost', 'startedNs sentNs abandonedNs'],
      ]);
    }
  });

  it('has every item of many that were done or under way', async (t) => {
    const { engine, trace } = makeStage(t, { threads: 2, concurrency: 4 });
    const plain: Script = ['sent', 'answered'];
    const items = Array.from({ length: 3_000 }, (_, n): Script => (n === 2_000 ? ['sent', 'exit once'] : plain));
    const { outcomes } = await engine.run(items);
    assert.ok(outcomes.every(({ ok }) => ok));
    await engine.close();
    const lines = linesOf(trace);
    const done = lines.filter(({ verdict }) => verdict === 'ok');
    assert.deepEqual(
      done.map(({ item }) => item).sort((a, b) => a - b),
      [...items.keys()],
    );
    const lost = lines.filter(({ verdict }) => verdict === 'lost');
    assert.equal(lines.length, done.length + lost.length);
    assert.deepEqual(lost.filter(({ item }) => item === 2_000).map(timesIn), [['startedNs', 'sentNs', 'abandonedNs']]);
    // Whatever was done but not yet reported had its answers.
    for (const line of lost) if (line.item !== 2_000) assert.ok(line.answeredNs !== undefined, `item ${line.item}`);
  });
});
