import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Grant, Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { allowedLatenessNs } from '../../lib/limit/start-slots.ts';
import { systemClock, Ticket, Waiter } from '../../lib/limit/waiter.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { VirtualClock, VirtualTime } from './virtual-time.ts';
import { limitOf, MS } from './worlds.ts';

const START_NS = 1_000_000_000n;

/** One thread's waiter in virtual time, and a limiter of another thread on the same tokens. */
class Bench {
  readonly time = new VirtualTime(START_NS);
  readonly clock: VirtualClock;
  readonly limiter: Limiter;
  readonly other: Limiter;
  readonly waiter: Waiter;
  /** The tickets that have come to an end, in that order. */
  readonly ended: { readonly name: string; readonly grant: Grant | undefined; readonly atNs: bigint }[] = [];

  constructor(limit: Partial<PlannedLimit>, timerErrorNs: () => number = () => 0) {
    const limits = [limitOf(limit)];
    const block = createControlBlock({ tokens: limits.map(({ tokens }) => tokens), slots: 0 });
    this.clock = new VirtualClock(this.time, timerErrorNs);
    this.limiter = new Limiter(block, limits, 1);
    this.other = new Limiter(block, limits, 2);
    this.waiter = new Waiter(this.limiter, this.clock);
  }

  get free(): number {
    return this.limiter.buckets[0]?.countFree(this.time.nowNs) ?? -1;
  }

  /** Milliseconds since the start. */
  get nowMs(): number {
    return Number(this.time.nowNs - START_NS) / 1e6;
  }

  acquireNow(): Grant {
    const got = this.waiter.acquire(this.time.nowNs);
    assert.ok(got instanceof Grant, 'there is a token now');
    return got;
  }

  wait(name: string): Ticket {
    const got = this.waiter.acquire(this.time.nowNs);
    assert.ok(got instanceof Ticket, 'there is no token now');
    void got.granted.then((grant) => this.ended.push({ name, grant, atNs: this.time.nowNs }));
    return got;
  }

  get names(): string {
    return this.ended.map(({ name, grant }) => (grant === undefined ? `-${name}` : name)).join(' ');
  }

  passMs(ms: number): Promise<void> {
    return this.time.runUntil(this.time.nowNs + BigInt(Math.round(ms * 1e6)));
  }
}

describe('Waiter', () => {
  it('gives a grant at once while there are tokens, and sets no timer', () => {
    const bench = new Bench({ tokens: 2 });
    bench.acquireNow();
    bench.acquireNow();
    assert.equal(bench.waiter.size, 0);
    assert.equal(bench.clock.timers, 0);
  });

  it('grants in the order of asking, as tokens become free', async () => {
    const bench = new Bench({ tokens: 2, windowNs: 100n * MS });
    bench.acquireNow().answered(bench.time.nowNs);
    const second = bench.acquireNow();
    for (const name of ['a', 'b', 'c']) bench.wait(name);
    await bench.passMs(40);
    second.answered(bench.time.nowNs);
    assert.equal(bench.names, '');
    await bench.passMs(59.9);
    assert.equal(bench.names, '');
    await bench.passMs(1.1);
    assert.equal(bench.names, 'a');
    await bench.passMs(38);
    assert.equal(bench.names, 'a');
    await bench.passMs(2);
    assert.equal(bench.names, 'a b');
    assert.equal(bench.waiter.size, 1);
  });

  it('lets nobody pass those who wait, even if there is a token for them', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 100n * MS });
    const held = bench.acquireNow();
    bench.wait('a');
    held.giveBack();
    // The token is free, but the first in the queue has not been told yet.
    bench.wait('b');
    bench.waiter.look();
    await bench.passMs(0);
    assert.equal(bench.names, 'a');
  });

  it('grants a token that was given back in this thread at the next look', async () => {
    const bench = new Bench({ tokens: 1 });
    const held = bench.acquireNow();
    bench.wait('a');
    bench.wait('b');
    held.giveBack();
    bench.waiter.look();
    await bench.passMs(0);
    assert.equal(bench.names, 'a');
    assert.equal(bench.nowMs, 0);
  });

  it('finds a token that another thread gave back after an eighth of a window', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 80n * MS });
    const held = bench.other.tryAcquire(bench.time.nowNs);
    bench.wait('a');
    await bench.passMs(1);
    held?.giveBack();
    await bench.passMs(8.9);
    assert.equal(bench.names, '');
    await bench.passMs(0.2);
    assert.equal(bench.names, 'a');
  });

  it('sets its timer for the earliest token, and moves it when an earlier one turns up', async () => {
    const bench = new Bench({ tokens: 2, windowNs: 400n * MS, arrivalWithinNs: 0n });
    bench.acquireNow().sent(bench.time.nowNs);
    await bench.passMs(380);
    const given = bench.acquireNow();
    bench.wait('a');
    assert.deepEqual(bench.clock.delaysMs, [20]);
    given.giveBack();
    bench.wait('b');
    bench.waiter.look();
    await bench.passMs(0);
    assert.equal(bench.names, 'a');
    await bench.passMs(20);
    assert.equal(bench.names, 'a b');
    assert.equal(bench.clock.timers, 0);
    assert.equal(bench.clock.mostTimersAtOnce, 1);
  });

  it('sets its timer earlier when those who wait can be served earlier than it was set for', async () => {
    const bench = new Bench({ tokens: 2, windowNs: 1_000n * MS, gapNs: 5n * MS });
    const first = bench.acquireNow();
    await bench.passMs(5);
    const second = bench.acquireNow();
    await bench.passMs(5);
    for (const name of ['a', 'b']) bench.wait(name);
    // Nobody knows when the two that are held will be free: it looks again after 50 ms.
    assert.deepEqual(bench.clock.delaysMs, [50]);
    await bench.passMs(10);
    first.giveBack();
    second.giveBack();
    bench.waiter.look();
    await bench.passMs(0);
    assert.equal(bench.names, 'a');
    await bench.passMs(5);
    assert.equal(bench.names, 'a b', 'one gap later, and not when the first timer was to fire');
    assert.equal(bench.clock.mostTimersAtOnce, 1);
  });

  it('never grants early, and looks again, when its timer fires early', async () => {
    let errorNs = -900_000;
    const bench = new Bench({ tokens: 1, windowNs: 40n * MS }, () => errorNs);
    bench.acquireNow().answered(bench.time.nowNs);
    await bench.passMs(38);
    bench.wait('a');
    await bench.passMs(1.5);
    assert.equal(bench.names, '', 'it has fired, half a millisecond early');
    assert.equal(bench.clock.timers, 1);
    errorNs = 0;
    await bench.passMs(0.4);
    assert.equal(bench.names, '');
    await bench.passMs(2);
    assert.equal(bench.names, 'a');
  });

  it('sets one timer for all who wait, rounded up so that it need not look twice', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 20_500_000n, arrivalWithinNs: 0n });
    bench.acquireNow().sent(bench.time.nowNs);
    await bench.passMs(18.2);
    for (const name of ['a', 'b', 'c', 'd']) bench.wait(name);
    assert.deepEqual(bench.clock.delaysMs, [3]);
    await bench.passMs(3);
    assert.equal(bench.names, 'a');
    assert.equal(bench.clock.delaysMs.length, 2);
  });

  it('grants late, but does grant, when its timer fires late', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 40n * MS }, () => 25e6);
    bench.acquireNow().answered(bench.time.nowNs);
    bench.wait('a');
    await bench.time.run();
    assert.equal(bench.names, 'a');
    assert.ok(bench.nowMs >= 40);
  });
});

describe('Waiter with spaced starts', () => {
  it('holds a grant back until its start', async () => {
    const bench = new Bench({ tokens: 3, windowNs: 1_000n * MS, gapNs: 50n * MS });
    bench.acquireNow();
    bench.wait('a');
    bench.wait('b');
    assert.equal(bench.free, 2, 'no token is taken before the start');
    await bench.passMs(49.9);
    assert.equal(bench.names, '');
    await bench.passMs(0.1);
    assert.equal(bench.names, 'a');
    await bench.passMs(49.9);
    assert.equal(bench.names, 'a');
    await bench.passMs(0.1);
    assert.equal(bench.names, 'a b');
    assert.equal(bench.clock.timers, 0);
  });

  it('does not grant before the start when its timer fires early', async () => {
    const bench = new Bench({ tokens: 3, windowNs: 1_000n * MS, gapNs: 50n * MS }, () => -900_000);
    bench.acquireNow();
    bench.wait('a');
    await bench.time.run();
    const [end] = bench.ended;
    assert.ok(end?.grant && end.atNs >= START_NS + 50n * MS);
    assert.ok(bench.clock.delaysMs.length > 1, 'it had to look again');
  });

  it('makes up for a timer that is a little late, and starts a gap after one that is very late', async () => {
    const errorsNs = [12e6, 0, 60e6, 0];
    const bench = new Bench({ tokens: 9, windowNs: 1_000n * MS, gapNs: 50n * MS }, () => errorsNs.shift() ?? 0);
    bench.acquireNow();
    for (const name of ['a', 'b', 'c', 'd']) bench.wait(name);
    await bench.time.run();
    assert.deepEqual(
      bench.ended.map(({ atNs }) => Number(atNs - START_NS) / 1e6),
      // It may be late by 12.5 ms.
      [62, 100, 210, 247.5 + 0.5],
    );
  });

  it('lets another thread start instead of one that is late', async () => {
    const bench = new Bench({ tokens: 5, windowNs: 1_000n * MS, gapNs: 50n * MS }, () => 20e6);
    bench.acquireNow();
    bench.wait('a');
    await bench.passMs(51);
    assert.ok(bench.other.tryAcquire(bench.time.nowNs));
    await bench.passMs(29);
    assert.equal(bench.names, '', 'it sees that it is too early by now');
    await bench.passMs(50);
    assert.equal(bench.names, 'a');
  });

  it('waits for starts further ahead than a timer can be set, with a handful of timers', async () => {
    const gapNs = 31n * 24n * 3_600_000n * MS;
    const bench = new Bench({ tokens: 3, windowNs: 1_000n * MS, gapNs });
    bench.acquireNow();
    bench.wait('a');
    await bench.time.run();
    assert.equal(bench.names, 'a');
    assert.equal(bench.time.nowNs, START_NS + gapNs);
    assert.deepEqual(bench.clock.delaysMs, [2 ** 31 - 1, Number(gapNs / MS) - (2 ** 31 - 1)]);
  });
});

describe('Waiter.cancel', () => {
  it('takes a lane out of the queue at once; those behind it move up', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 40n * MS });
    bench.acquireNow().answered(bench.time.nowNs);
    const [a] = [bench.wait('a'), bench.wait('b')];
    bench.waiter.cancel(a);
    assert.equal(bench.waiter.size, 1);
    await bench.passMs(0);
    assert.equal(bench.names, '-a');
    await bench.passMs(41);
    assert.equal(bench.names, '-a b');
    assert.equal(bench.nowMs, 41);
  });

  it('sets no timer for nobody', () => {
    const bench = new Bench({ tokens: 1 });
    bench.acquireNow();
    bench.waiter.cancel(bench.wait('a'));
    assert.equal(bench.clock.timers, 0);
  });

  it('leaves no start unused', async () => {
    const bench = new Bench({ tokens: 5, windowNs: 10_000n * MS, gapNs: 50n * MS });
    bench.acquireNow();
    const a = bench.wait('a');
    bench.wait('b');
    await bench.passMs(20);
    bench.waiter.cancel(a);
    await bench.passMs(30);
    assert.equal(bench.names, '-a b');
    assert.equal(bench.ended[1]?.atNs, START_NS + 50n * MS);
  });

  it('does nothing to a grant that was already given, nor a second time', async () => {
    const bench = new Bench({ tokens: 1, windowNs: 40n * MS });
    bench.acquireNow().answered(bench.time.nowNs);
    const a = bench.wait('a');
    await bench.passMs(41);
    assert.equal(bench.names, 'a');
    bench.waiter.cancel(a);
    assert.equal(bench.ended[0]?.grant?.isOpen, true);
    assert.equal(bench.free, 0);

    const b = bench.wait('b');
    bench.waiter.cancel(b);
    bench.waiter.cancel(b);
    await bench.passMs(0);
    assert.equal(bench.names, 'a -b');
  });
});

describe('Waiter with the clock of the process', () => {
  it('grants in real time, not before the window is over', async () => {
    const limits = [limitOf({ tokens: 1, windowNs: 30n * MS })];
    const block = createControlBlock({ tokens: [1], slots: 0 });
    const waiter = new Waiter(new Limiter(block, limits, 1));
    let settledNs = 0n;
    for (let n = 0; n < 4; n++) {
      const got = waiter.acquire(systemClock.nowNs());
      const grant = got instanceof Ticket ? await got.granted : got;
      assert.ok(grant);
      assert.ok(systemClock.nowNs() >= settledNs + 30n * MS);
      settledNs = systemClock.nowNs();
      grant.answered(settledNs);
    }
  });

  it('leaves no timer behind when the last one leaves', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const block = createControlBlock({ tokens: [1], slots: 0 });
    const waiter = new Waiter(new Limiter(block, [limitOf({ tokens: 1, windowNs: 1_000n * MS })], 1));
    waiter.acquire(systemClock.nowNs());
    const ticket = waiter.acquire(systemClock.nowNs());
    assert.ok(ticket instanceof Ticket);
    assert.equal(timers(), before + 1);
    waiter.cancel(ticket);
    assert.equal(await ticket.granted, undefined);
    assert.equal(timers(), before);
  });
});

describe('Waiter, whatever happens', () => {
  it('is first in, first out, never early, starves nobody, and has one timer at most', async () => {
    const lane = fc.record({
      asksAfterMs: fc.integer({ min: 0, max: 60 }),
      holdsMs: fc.integer({ min: 0, max: 80 }),
      cancelsAfterMs: fc.option(fc.integer({ min: 0, max: 120 }), { nil: undefined, freq: 3 }),
      givesBack: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          tokens: fc.integer({ min: 1, max: 4 }),
          windowNs: fc.bigInt({ min: 10n * MS, max: 100n * MS }),
          gapNs: fc.oneof(fc.constant(0n), fc.bigInt({ min: 1n, max: 30n * MS })),
        }),
        fc.array(lane, { minLength: 1, maxLength: 40, size: 'max' }),
        fc.array(fc.integer({ min: -960_000, max: 0 }), { minLength: 1, maxLength: 5 }),
        async (limit, lanes, errorsNs) => {
          let timer = 0;
          const bench = new Bench(limit, () => errorsNs[timer++ % errorsNs.length] ?? 0);
          const { time, waiter } = bench;
          const granted: number[] = [];
          const startsNs: bigint[] = [];
          const waitedMs: number[] = [];
          let askNs = START_NS;
          for (const [place, { asksAfterMs, holdsMs, cancelsAfterMs, givesBack }] of lanes.entries()) {
            askNs += BigInt(asksAfterMs) * MS;
            time.at(askNs, () => {
              const askedNs = time.nowNs;
              const onGrant = (grant: Grant) => {
                granted.push(place);
                startsNs.push(time.nowNs);
                waitedMs.push(Number(time.nowNs - askedNs) / 1e6);
                time.at(time.nowNs + BigInt(holdsMs) * MS, () => {
                  if (givesBack) grant.giveBack();
                  else grant.answered(time.nowNs);
                  waiter.look();
                });
              };
              const got = waiter.acquire(askedNs);
              if (got instanceof Grant) {
                onGrant(got);
                return;
              }
              let isOver = false;
              void got.granted.then((grant) => {
                isOver = true;
                if (grant !== undefined) onGrant(grant);
              });
              if (cancelsAfterMs === undefined) return;
              time.at(askedNs + BigInt(cancelsAfterMs) * MS, () => {
                const { size } = waiter;
                waiter.cancel(got);
                if (!isOver) assert.ok(waiter.size < size, 'it left at once');
              });
            });
          }
          await time.run();

          assert.deepEqual(
            granted,
            granted.toSorted((a, b) => a - b),
            'first in, first out',
          );
          for (const [n, startNs] of startsNs.slice(1).entries()) {
            const apartNs = startNs - (startsNs[n] ?? 0n);
            assert.ok(apartNs >= limit.gapNs - allowedLatenessNs(limit.gapNs), `starts are ${apartNs} ns apart`);
          }
          const cancellable = lanes.filter(({ cancelsAfterMs }) => cancelsAfterMs !== undefined).length;
          assert.ok(granted.length >= lanes.length - cancellable, 'everybody who stayed was granted');
          // Nobody waits longer than it takes to serve all before: one token, the longest hold, a window and a gap each.
          const turnMs = 80 + Number(limit.windowNs + limit.gapNs) / 1e6 + 2;
          for (const ms of waitedMs) assert.ok(ms <= lanes.length * turnMs, `waited ${ms} ms`);
          assert.equal(waiter.size, 0);
          assert.equal(bench.clock.timers, 0);
          assert.ok(bench.clock.mostTimersAtOnce <= 1);
          await bench.passMs(Number(limit.windowNs) / 1e6);
          assert.equal(bench.free, limit.tokens);
        },
      ),
      { numRuns: 200 },
    );
  });
});
