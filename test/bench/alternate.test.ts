import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { alternate, byItemsPerSecond, type Contender, failuresOf, timingRow } from '../../bench/harness/alternate.ts';
import { timeInTurn } from '../../bench/harness/in-turn.ts';

/** Writes down whose turn it is. */
class Log {
  readonly turns: string[] = [];

  contender(name: string, step: () => unknown = () => {}, ms?: number): Contender {
    return {
      name,
      items: 10,
      run: async () => {
        this.turns.push(name);
        await step();
      },
      ...(ms === undefined ? {} : { ownMs: () => ms }),
    };
  }
}

describe('alternate', () => {
  it('gives everybody a turn in each round, and another one the first', async () => {
    const log = new Log();
    await alternate([log.contender('a'), log.contender('b'), log.contender('c')], { rounds: 3, warmUps: 0 });
    assert.equal(log.turns.join(''), 'abcbcacab');
  });

  it('warms everybody up for the same time, however many runs that takes', async () => {
    const log = new Log();
    let nowMs = 0;
    const taking = (name: string, ms: number) =>
      log.contender(name, () => {
        nowMs += ms;
      });
    const timings = await alternate([taking('quick', 2), taking('slow', 30)], {
      rounds: 2,
      warmUps: 1,
      warmUpMs: 60,
      clockMs: () => nowMs,
    });
    const runsOf = (name: string) => log.turns.filter((turn) => turn === name).length;
    assert.equal(runsOf('quick'), 60 / 2 + 2);
    assert.equal(runsOf('slow'), 60 / 30 + 2);
    assert.deepEqual(
      timings.map(({ samplesMs }) => samplesMs),
      [
        [2, 2],
        [30, 30],
      ],
    );
  });

  it('warms everybody up with so many runs, however long they take', async () => {
    const log = new Log();
    await alternate([log.contender('a')], { rounds: 1, warmUps: 3, clockMs: () => 0 });
    assert.equal(log.turns.length, 3 + 1);
  });

  it('believes a contender that times itself', async () => {
    const [timing] = await alternate([new Log().contender('a', undefined, 5)], { rounds: 3, warmUps: 0 });
    assert.deepEqual(timing?.samplesMs, [5, 5, 5]);
  });

  it('goes on without one that fails, and makes a row of it', async () => {
    const log = new Log();
    let left = 2;
    const failing = log.contender('bad', () => {
      if (left-- === 0) throw new Error('no more', { cause: new Error('for a reason') });
    });
    const timings = await alternate([failing, log.contender('good', undefined, 1)], { rounds: 4, warmUps: 1 });
    const [bad, good] = timings;
    assert.equal(bad?.error, 'no more for a reason');
    assert.equal(good?.ms.samples, 4);
    assert.ok(bad && Number.isNaN(bad.ms.median), 'no figure of what came before');
    assert.deepEqual(bad && timingRow(bad), { contender: 'bad', items: 10, failed: 'no more for a reason' });
    assert.deepEqual(failuresOf(timings), [{ who: 'bad', error: 'no more for a reason' }]);
    assert.deepEqual(
      byItemsPerSecond(timings).map(({ name }) => name),
      ['good', 'bad'],
    );
  });

  it('goes on without one that does not end', async () => {
    const log = new Log();
    const hanging = log.contender('hanging', () => new Promise(() => {}));
    const [bad, good] = await alternate([hanging, log.contender('good')], { rounds: 2, warmUps: 0, runLimitMs: 20 });
    assert.match(bad?.error ?? '', /Not done after 0.02 s/);
    assert.equal(good?.ms.samples, 2);
  });
});

describe('timeInTurn', () => {
  const once = { rounds: 1, warmUps: 0 };
  const opener = (name: string, steps: { open?: () => void; after?: () => Promise<void>; close?: () => void }) => ({
    name,
    items: 1,
    open: () => {
      steps.open?.();
      return {
        run: async () => {},
        ...(steps.after === undefined ? {} : { after: steps.after }),
        close: async () => steps.close?.(),
      };
    },
  });
  const fail = (message: string) => () => {
    throw new Error(message);
  };

  it('has a row for one that cannot be opened', async () => {
    const { timings, failures } = await timeInTurn([opener('a', { open: fail('gone') }), opener('b', {})], once);
    assert.deepEqual(
      timings.map(({ name, error }) => [name, error]),
      [
        ['a', 'gone'],
        ['b', undefined],
      ],
    );
    assert.deepEqual(failures, [{ who: 'a', error: 'gone' }]);
  });

  it('keeps the figures of one that fails later, and says so', async () => {
    const { timings, failures } = await timeInTurn(
      [opener('a', { after: async () => fail('late')() }), opener('b', { close: fail('stuck') })],
      once,
    );
    assert.deepEqual(
      timings.map(({ ms }) => ms.samples),
      [1, 1],
    );
    assert.deepEqual(failures, [
      { who: 'a: afterwards', error: 'late' },
      { who: 'b: to close it', error: 'stuck' },
    ]);
  });
});
