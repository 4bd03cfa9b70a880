import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inWaves, type SideRun, SideRuns, sideBySide } from '../../bench/harness/side-by-side.ts';
import { openSideProcess } from '../../bench/harness/side-process.ts';
import type { OddTask } from './fixtures/side-runs.ts';

const runOf = (measure: () => Promise<string>, closed: string[] = []): SideRun<string> => ({
  measure,
  close: async () => void closed.push('closed'),
});

describe('sideBySide', () => {
  it('has a result for each run in its place, whether it failed or not', async () => {
    const closed: string[] = [];
    const results = await sideBySide(
      [
        async () => runOf(async () => 'first', closed),
        async () => {
          throw new Error('not opened');
        },
        async () =>
          runOf(async () => {
            throw new Error('not measured');
          }, closed),
        async () => runOf(async () => 'last', closed),
      ],
      0,
    );
    assert.deepEqual(results, [
      { result: 'first' },
      { error: 'not opened' },
      { error: 'not measured' },
      { result: 'last' },
    ]);
    assert.equal(closed.length, 3);
  });

  it('does not wait for ever', async () => {
    const limits = { openMs: 20, measureMs: 20 };
    const never = () => new Promise<never>(() => {});
    const runs = await SideRuns.open([never, async () => runOf(never), async () => runOf(async () => 'good')], limits);
    const [unopened, unmeasured, good] = await runs.measure(0);
    assert.match(unopened?.error ?? '', /Not done/);
    assert.match(unmeasured?.error ?? '', /Not done/);
    assert.equal(good?.result, 'good');
  });
});

describe('inWaves', () => {
  it('opens the next ones when all of a wave are closed', async () => {
    const log: string[] = [];
    const opener = (name: string) => async () => {
      log.push(`open ${name}`);
      return { measure: async () => name, close: async () => void log.push(`close ${name}`) };
    };
    const results = await inWaves([opener('a'), opener('b'), opener('c')], 2, 0);
    assert.deepEqual(
      results.map(({ result }) => result),
      ['a', 'b', 'c'],
    );
    assert.deepEqual(log, ['open a', 'open b', 'close a', 'close b', 'open c', 'close c']);
  });
});

describe('openSideProcess', () => {
  const open = (task: OddTask) => openSideProcess<string>(new URL('./fixtures/side-runs.js', import.meta.url), task);

  it('brings back what the runs of a process came to, each for itself', async () => {
    const run = await open({ dies: false });
    try {
      const { runs, loopDelayMs } = await run.measure();
      assert.deepEqual(runs, [{ result: 'measured' }, { error: 'not opened' }, { result: 'alive' }]);
      assert.ok(loopDelayMs >= 0);
    } finally {
      await run.close();
    }
  });

  it('fails for itself when the process ends', async () => {
    const [result] = await sideBySide([() => open({ dies: true })]);
    assert.match(result?.error ?? '', /ended without an answer, with code 7/);
  });
});
