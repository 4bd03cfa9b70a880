import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BreakerRules, CircuitBreaker } from '../../lib/recover/circuit-breaker.ts';
import { CircuitCounters } from '../../lib/shared/circuit-counters.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';

const RULES: BreakerRules = {
  successThreshold: 2,
  openMs: 100,
  openFactor: 2,
  maxOpenMs: 350,
  halfOpenProbes: 3,
  whenOpen: 'wait',
};
const LIMITS = { failureThreshold: 2, failureRate: 0.5, minimumCalls: 2, windowMs: 60_000 };

class Bench {
  nowMs = 1_000;
  readonly changes: string[] = [];
  readonly counters = new CircuitCounters(createControlBlock({ tokens: [], slots: 0 }), LIMITS);
  readonly breaker: CircuitBreaker;

  constructor(rules: Partial<BreakerRules> = {}) {
    this.breaker = new CircuitBreaker({
      rules: { ...RULES, ...rules },
      counters: this.counters,
      nowMs: () => this.nowMs,
      onChange: (from, to, openMs) => this.changes.push(`${from} > ${to}${openMs === undefined ? '' : ` ${openMs}`}`),
    });
  }

  /** Open, and wait until it is half-open. */
  halfOpen(): void {
    this.breaker.open();
    this.nowMs += this.breaker.openLeftMs;
    this.breaker.halfOpenIfDue();
  }
}

describe('CircuitBreaker', () => {
  it('is closed at first, and lets everything go', () => {
    const { breaker, changes } = new Bench();
    assert.deepEqual(
      [breaker.state, breaker.openLeftMs, breaker.probesAllowed, breaker.openings],
      ['closed', 0, undefined, 0],
    );
    // Nothing that only another state knows does anything.
    breaker.halfOpenIfDue();
    assert.equal(breaker.succeed(), false);
    assert.deepEqual([breaker.state, changes], ['closed', []]);
  });

  it('is open until its time is over, and not a moment less', () => {
    const bench = new Bench();
    const { breaker } = bench;
    breaker.open();
    assert.deepEqual([breaker.state, breaker.openLeftMs, breaker.openings], ['open', 100, 1]);
    bench.nowMs += 99.999;
    breaker.halfOpenIfDue();
    assert.equal(breaker.state, 'open');
    assert.ok(breaker.openLeftMs > 0);
    bench.nowMs = 1_100;
    assert.equal(breaker.openLeftMs, 0);
    assert.equal(breaker.state, 'open', 'it does not change by being looked at');
    breaker.halfOpenIfDue();
    assert.deepEqual([breaker.state, breaker.probesAllowed], ['half-open', 2]);
    assert.deepEqual(bench.changes, ['closed > open 100', 'open > half-open']);
  });

  it('is opened once, however many failures come', () => {
    const bench = new Bench();
    bench.breaker.open();
    bench.nowMs += 60;
    bench.breaker.open();
    assert.deepEqual([bench.breaker.openLeftMs, bench.breaker.openings, bench.changes.length], [40, 1, 1]);
    assert.equal(bench.breaker.succeed(), false, 'what succeeds while it is open was sent before');
  });

  it('opens again for longer each time, and anew once it was closed', () => {
    const bench = new Bench();
    for (let n = 0; n < 4; n++) bench.halfOpen();
    assert.equal(bench.breaker.succeed(), false);
    assert.equal(bench.breaker.succeed(), true);
    bench.halfOpen();
    assert.deepEqual(
      bench.changes.filter((change) => change.includes('> open')),
      [
        'closed > open 100',
        'half-open > open 200',
        'half-open > open 350',
        'half-open > open 350',
        'closed > open 100',
      ],
    );
    assert.equal(bench.breaker.openings, 5);
  });

  it('forgets the failures of before when it closes, and not earlier', () => {
    const bench = new Bench();
    const { breaker, counters } = bench;
    counters.addFailure(0n);
    counters.addFailure(0n);
    bench.halfOpen();
    breaker.succeed();
    assert.deepEqual([counters.failuresInRow, counters.recent(0n)], [2, { calls: 2, failures: 2 }]);
    assert.equal(breaker.probesAllowed, 1);
    assert.equal(breaker.succeed(), true);
    assert.deepEqual([breaker.state, breaker.probesAllowed], ['closed', undefined]);
    assert.deepEqual([counters.failuresInRow, counters.recent(0n)], [0, { calls: 0, failures: 0 }]);
    assert.equal(counters.addFailure(0n), false, 'one failure is one failure again');
  });

  it('tells every change, and only changes, whatever it is told in whatever order', () => {
    const told = fc.array(fc.constantFrom('open', 'success', 'due', 'wait', 'wait long'), { maxLength: 80 });
    const thresholds = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(told, thresholds, fc.integer({ min: 1, max: 4 }), (words, successThreshold, halfOpenProbes) => {
        const bench = new Bench({ successThreshold, halfOpenProbes });
        const { breaker, changes } = bench;
        let openings = 0;
        for (const word of words) {
          const before = breaker.state;
          const leftMs = breaker.openLeftMs;
          const count = changes.length;
          if (word === 'open') breaker.open();
          else if (word === 'due') breaker.halfOpenIfDue();
          else if (word === 'success')
            assert.equal(breaker.succeed(), before === 'half-open' && breaker.state === 'closed');
          else bench.nowMs += word === 'wait' ? 30 : 1_000;

          const after = breaker.state;
          assert.equal(changes.length, count + (before === after ? 0 : 1));
          if (before !== after) assert.ok(changes.at(-1)?.startsWith(`${before} > ${after}`));
          if (after === 'open' && before !== 'open') openings++;
          if (before === 'open') assert.equal(after, word === 'due' && leftMs === 0 ? 'half-open' : 'open');
          if (before === 'closed') assert.equal(after, word === 'open' ? 'open' : 'closed');
          if (before === 'half-open' && word === 'open') assert.equal(after, 'open');
          assert.equal(breaker.openings, openings);
          if (breaker.openLeftMs > 0) assert.equal(after, 'open');
          const allowed = breaker.probesAllowed;
          assert.equal(allowed === undefined, after !== 'half-open');
          if (allowed !== undefined) assert.ok(allowed >= 1 && allowed <= Math.min(halfOpenProbes, successThreshold));
        }
      }),
    );
  });
});
