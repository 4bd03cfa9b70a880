import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type SideRun, SideRuns, sideBySide } from '../../bench/harness/side-by-side.ts';

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
