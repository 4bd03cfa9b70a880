import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CallHistory, HISTORY_SECONDS } from '../../lib/statistics/call-history.ts';
import { after, newRecorder, START, someStatistics, totalsOf } from './support.ts';

const MAX_ENTRIES = 100;

describe('the statistics of an engine', () => {
  it('that has done nothing are there all the same', () => {
    const { recorder } = newRecorder({ threads: 2 });
    const statistics = recorder.snapshot(totalsOf(), START);
    const none = { count: 0, last: [] };
    assert.deepEqual(statistics, {
      startedAt: '2026-01-31T08:15:00.000Z',
      savedAt: '2026-01-31T08:15:00.000Z',
      elapsedMs: 0,
      errorRate: 0,
      maxCallsPerSecond: 0,
      callsPerSecond: { startAt: '2026-01-31T08:15:00.000Z', counts: [0] },
      errors: { byCode: {}, byType: {}, bySeverity: {} },
      rateLimitEvents: none,
      circuit: none,
      batches: none,
      settings: { threads: 2 },
      ...totalsOf(),
    });
  });

  it('have the totals, what failed, and what happened when', () => {
    const statistics = someStatistics();
    assert.equal(statistics.savedAt, '2026-01-31T08:15:01.250Z');
    assert.equal(statistics.elapsedMs, 1_250);
    assert.equal(statistics.callsSent, 12);
    assert.equal(statistics.errorRate, 2 / 12);
    assert.equal(statistics.maxCallsPerSecond, 12);
    assert.deepEqual(statistics.callsPerSecond, { startAt: '2026-01-31T08:15:00.000Z', counts: [12, 0] });
    assert.deepEqual(statistics.errors, {
      byCode: { HTTP_STATUS: 2 },
      byType: { ServerError: 1, '=HYPERLINK("evil"),"x\n': 1 },
      bySeverity: { medium: 1, high: 1 },
    });
    assert.deepEqual(statistics.rateLimitEvents, {
      count: 1,
      last: [{ at: '2026-01-31T08:15:00.500Z', delayMs: 1_000, eventsInRow: 1, causes: ['refused'] }],
    });
    assert.deepEqual(statistics.circuit, {
      count: 1,
      last: [{ at: '2026-01-31T08:15:00.600Z', from: 'closed', to: 'open', openMs: 60_000 }],
    });
    assert.deepEqual(statistics.batches, {
      count: 1,
      last: [{ at: '2026-01-31T08:15:00.700Z', batch: 1, items: 12, failed: 2, elapsedMs: 700 }],
    });
    assert.deepEqual(JSON.parse(JSON.stringify(statistics)), statistics, 'plain data');
  });

  it('belong to who took them', () => {
    const { recorder } = newRecorder({ retry: { factor: 2 } });
    const moment = after(1);
    recorder.onBatch({ batch: 1, items: 1, failed: 0, elapsedMs: 1, size: 50, delayMs: 1_000 }, moment.dateMs);
    const taken = recorder.snapshot(totalsOf(), moment);
    (taken.settings.retry as { factor: number }).factor = 7;
    (taken.batches.last as unknown[]).length = 0;
    const again = recorder.snapshot(totalsOf(), moment);
    assert.deepEqual(again.settings, { retry: { factor: 2 } });
    assert.equal(again.batches.last.length, 1);
    assert.deepEqual(again.batches.last[0]?.size, 50);
  });

  it('can count a type with any name', () => {
    const { recorder } = newRecorder();
    for (const type of ['__proto__', 'constructor']) recorder.onFailure({ code: 'HANDLER', type, severity: 'low' });
    const { byType } = recorder.snapshot(totalsOf(), START).errors;
    assert.deepEqual(Object.entries(byType), [
      ['__proto__', 1],
      ['constructor', 1],
    ]);
  });

  it('list pauses for the sake of the rate limit, and no others', () => {
    const { recorder } = newRecorder();
    for (const causes of [['refused'], ['quota', 'circuit'], ['credentials'], ['circuit']] as const) {
      recorder.onPaused({ delayMs: 1, eventsInRow: 1, causes }, START.dateMs);
    }
    assert.deepEqual(
      recorder.snapshot(totalsOf(), START).rateLimitEvents.last.map(({ causes }) => causes),
      [['refused'], ['quota', 'circuit']],
    );
  });

  it('do not grow with the days', () => {
    const { recorder, calls } = newRecorder();
    const DAYS = 3;
    const seconds = DAYS * 86_400;
    const sizes: number[] = [];
    for (let second = 0; second < seconds; second++) {
      const { dateMs } = after(second);
      calls.add(second, 18);
      recorder.harvest();
      recorder.onFailure({ code: 'TIMEOUT', type: 'Timeout', severity: 'medium' });
      recorder.onPaused({ delayMs: 1_000, eventsInRow: 1, causes: ['refused'] }, dateMs);
      recorder.onCircuit({ from: 'open', to: 'half-open' }, dateMs);
      recorder.onBatch({ batch: second, items: 18, failed: 1, elapsedMs: 1_000 }, dateMs);
      if ((second + 1) % 86_400 === 0) {
        sizes.push(JSON.stringify(recorder.snapshot(totalsOf(), after(second + 0.5))).length);
      }
    }
    const statistics = recorder.snapshot(totalsOf(), after(seconds - 0.5));
    assert.equal(statistics.callsPerSecond.counts.length, HISTORY_SECONDS);
    assert.ok(statistics.callsPerSecond.counts.every((count) => count === 18));
    assert.equal(statistics.callsPerSecond.startAt, new Date(after(seconds - HISTORY_SECONDS).dateMs).toISOString());
    for (const { count, last } of [statistics.rateLimitEvents, statistics.circuit, statistics.batches]) {
      assert.equal(count, seconds);
      assert.equal(last.length, MAX_ENTRIES);
      assert.equal(last.at(-1)?.at, new Date(after(seconds - 1).dateMs).toISOString());
    }
    assert.equal(statistics.batches.last[0]?.batch, seconds - MAX_ENTRIES);
    // Only by the digits of the counts.
    const [first = 0, , third = 0] = sizes;
    assert.ok(Math.abs(third - first) < 500, `${first} and ${third} characters`);
  });
});

describe('the calls per second', () => {
  it('begin with the second in which the engine was made, and end with this one', () => {
    const { recorder, calls } = newRecorder();
    calls.add(0, 4);
    calls.add(2, 6);
    assert.deepEqual(recorder.snapshot(totalsOf(), after(3.5)).callsPerSecond.counts, [4, 0, 6, 0]);
  });

  it('are those of the last minutes, but the most is that of all time', () => {
    const { recorder, calls } = newRecorder();
    calls.add(0, 40);
    calls.add(HISTORY_SECONDS + 9, 7);
    const { callsPerSecond, maxCallsPerSecond } = recorder.snapshot(totalsOf(), after(HISTORY_SECONDS + 9));
    assert.deepEqual(callsPerSecond.counts, [...new Array(HISTORY_SECONDS - 1).fill(0), 7]);
    assert.equal(maxCallsPerSecond, 40);
  });

  it('are those of a list of all calls, however they come in', () => {
    const additions = fc.array(
      fc.record({ skip: fc.nat(40), late: fc.nat(3), calls: fc.integer({ min: 1, max: 50 }) }),
    );
    fc.assert(
      fc.property(additions, (list) => {
        const history = new CallHistory();
        const made = new Map<number, number>();
        let last = 0;
        for (const { skip, late, calls } of list) {
          last += skip;
          const second = Math.max(0, last - late);
          history.add(second, calls);
          made.set(second, (made.get(second) ?? 0) + calls);
        }
        const from = Math.max(0, last - HISTORY_SECONDS + 4);
        assert.deepEqual(
          history.between(from, last),
          Array.from({ length: last - from + 1 }, (_, i) => made.get(from + i) ?? 0),
        );
        assert.equal(history.max, Math.max(0, ...made.values()));
      }),
    );
  });
});
