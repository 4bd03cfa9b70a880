import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AuditOptions, audit, type RequestTimes } from '../../lib/audit/audit.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { createLimiter } from '../../lib/simulator/limiters.ts';
import { type Fate, simulate, type World } from '../limit/simulation.ts';
import { limitOf } from '../limit/worlds.ts';

const MS = 1_000_000n;

/** An answered request that left at one time and was answered at another, in milliseconds. */
const answered = (sentMs: number, answeredMs: number): RequestTimes => ({
  fromNs: BigInt(sentMs) * MS,
  sentNs: BigInt(sentMs) * MS,
  endNs: BigInt(answeredMs) * MS,
  isAnswered: true,
});
const abandoned = (sentMs: number, abandonedMs: number): RequestTimes => ({
  ...answered(sentMs, abandonedMs),
  isAnswered: false,
});

/** The most in any window, and the length of that window in milliseconds after time 0. */
function mostOf(requests: readonly RequestTimes[], options: Partial<AuditOptions> = {}): number {
  return audit(requests, { limit: 1, windowMs: 100, ...options }).worst?.count ?? 0;
}

/** The moments, in whole milliseconds, at which a request can have been counted. */
function momentsOf(
  request: RequestTimes,
  { windowMs, straggleMs = windowMs, arrivalWithinMs }: AuditOptions,
): number[] {
  const fromMs = Number(request.fromNs / MS);
  let toMs = Number(request.endNs / MS) + (request.isAnswered ? 0 : straggleMs);
  if (arrivalWithinMs !== undefined && request.sentNs !== undefined) {
    toMs = Math.min(toMs, Number(request.sentNs / MS) + arrivalWithinMs);
  }
  return Array.from({ length: toMs - fromMs + 1 }, (_, ms) => fromMs + ms);
}

/** All choices of one moment for each request. */
function* placements(moments: readonly (readonly number[])[], chosen: readonly number[] = []): Generator<number[]> {
  const own = moments[chosen.length];
  if (own === undefined) yield [...chosen];
  else for (const moment of own) yield* placements(moments, [...chosen, moment]);
}

/** The most requests in one window, over all that can have happened. */
function mostByTrying(requests: readonly RequestTimes[], options: AuditOptions): number {
  let most = 0;
  for (const countedMs of placements(requests.map((request) => momentsOf(request, options)))) {
    // A window that begins with a request is as good as any other with the same requests.
    for (const startMs of countedMs) {
      const inWindow = countedMs.filter((ms) => ms >= startMs && ms < startMs + options.windowMs).length;
      most = Math.max(most, inWindow);
    }
  }
  return most;
}

const requests = fc.array(
  fc
    .record({
      fromMs: fc.nat(9),
      leftMs: fc.option(fc.nat(2), { nil: undefined }),
      tookMs: fc.nat(3),
      isAnswered: fc.boolean(),
    })
    .map(({ fromMs, leftMs, tookMs, isAnswered }): RequestTimes => {
      const sentMs = leftMs === undefined ? undefined : fromMs + leftMs;
      return {
        fromNs: BigInt(fromMs) * MS,
        sentNs: sentMs === undefined ? undefined : BigInt(sentMs) * MS,
        endNs: BigInt((sentMs ?? fromMs) + tookMs) * MS,
        isAnswered,
      };
    }),
  { maxLength: 5 },
);
const options = fc.record(
  {
    limit: fc.integer({ min: 1, max: 5 }),
    windowMs: fc.integer({ min: 1, max: 5 }),
    straggleMs: fc.nat(2),
    arrivalWithinMs: fc.nat(3),
  },
  { requiredKeys: ['limit', 'windowMs', 'straggleMs'] },
);

describe('audit', () => {
  it('finds what trying out all courses of events finds', () => {
    fc.assert(
      fc.property(requests, options, (requests, options) => {
        const { holds, worst } = audit(requests, options);
        const most = mostByTrying(requests, options);
        assert.equal(worst?.count ?? 0, most);
        assert.equal(holds, most <= options.limit);
      }),
      { numRuns: 2_000 },
    );
  });

  it('finds what the definition says of many requests that begin and end at the same few moments', () => {
    const windowNs = 5n;
    // Multiples of the window, and one more or less: whatever can be off by one is.
    const momentNs = fc.tuple(fc.nat(6), fc.integer({ min: -1, max: 1 })).map(([n, off]) => BigInt(5 * n + 5 + off));
    const crowd = fc.array(
      fc.tuple(momentNs, momentNs).map(([oneNs, otherNs]): RequestTimes => {
        const [fromNs, endNs] = oneNs < otherNs ? [oneNs, otherNs] : [otherNs, oneNs];
        return { fromNs, sentNs: undefined, endNs, isAnswered: true };
      }),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(crowd, (requests) => {
        let most = 0;
        for (let startNs = 0n; startNs < 50n; startNs++) {
          const canBeIn = ({ fromNs, endNs }: RequestTimes) => fromNs < startNs + windowNs && endNs >= startNs;
          most = Math.max(most, requests.filter(canBeIn).length);
        }
        assert.equal(audit(requests, { limit: 1, windowMs: 5e-6 }).worst?.count ?? 0, most);
      }),
    );
  });

  it('names requests that can all have been counted in the window that it names', () => {
    fc.assert(
      fc.property(requests, options, (requests, options) => {
        const { worst } = audit(requests, options);
        if (worst === undefined) return;
        assert.equal(worst.places.length, worst.count);
        assert.equal(new Set(worst.places).size, worst.count);
        assert.equal(worst.windowNs, BigInt(options.windowMs) * MS);
        for (const place of worst.places) {
          const request = requests[place];
          assert.ok(request !== undefined);
          const startMs = Number(worst.startNs / MS);
          assert.ok(momentsOf(request, options).some((ms) => ms >= startMs && ms < startMs + options.windowMs));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('comes to the same verdict whatever the order', () => {
    const inTwoOrders = fc
      .array(fc.tuple(fc.nat(1_000), fc.nat(200)), { maxLength: 200 })
      .map((times) => times.map(([sentMs, tookMs]) => answered(sentMs, sentMs + tookMs)))
      .chain((requests) =>
        fc.tuple(fc.constant(requests), fc.shuffledSubarray(requests, { minLength: requests.length })),
      );
    fc.assert(
      fc.property(inTwoOrders, ([requests, shuffled]) => {
        const [one, other] = [requests, shuffled].map((list) => audit(list, { limit: 20, windowMs: 100 }));
        assert.deepEqual(
          { ...one, worst: { ...one?.worst, places: [] } },
          { ...other, worst: { ...other?.worst, places: [] } },
        );
      }),
    );
  });

  it('takes requests exactly one window apart for two windows, and one nanosecond less for one', () => {
    const first = answered(0, 30);
    assert.equal(mostOf([first, answered(130, 130)]), 1);
    assert.equal(mostOf([first, { ...answered(130, 130), fromNs: 130n * MS - 1n }]), 2);
    assert.equal(
      mostOf([
        { ...first, endNs: first.endNs - 1n },
        { ...answered(130, 130), fromNs: 130n * MS - 1n },
      ]),
      1,
    );
    assert.equal(mostOf([{ ...first, endNs: first.endNs + 1n }, answered(130, 130)]), 2);
  });

  it('is exact where Numbers are not', () => {
    const lateNs = 2n ** 60n;
    const later = { fromNs: lateNs + 100n * MS, sentNs: undefined, endNs: lateNs + 100n * MS, isAnswered: true };
    const early = { ...later, fromNs: lateNs, endNs: lateNs };
    assert.equal(mostOf([early, later]), 1);
    assert.equal(mostOf([{ ...early, endNs: lateNs + 1n }, later]), 2);
  });

  it('lets a request without an answer be counted for a window more, or as long as it is told', () => {
    const silent = abandoned(0, 10);
    assert.equal(mostOf([silent, answered(209, 209)]), 2);
    assert.equal(mostOf([silent, answered(210, 210)]), 1);
    assert.equal(mostOf([silent, answered(110, 110)], { straggleMs: 0 }), 1);
    assert.equal(mostOf([silent, answered(109, 109)], { straggleMs: 0 }), 2);
  });

  it('narrows to what arrives in time, only where the sending is known', () => {
    const slow = answered(0, 500);
    const arrivalWithinMs = 20;
    assert.equal(mostOf([slow, answered(120, 120)]), 2);
    assert.equal(mostOf([slow, answered(120, 120)], { arrivalWithinMs }), 1);
    assert.equal(mostOf([slow, answered(119, 119)], { arrivalWithinMs }), 2);
    assert.equal(mostOf([{ ...slow, sentNs: undefined }, answered(120, 120)], { arrivalWithinMs }), 2);
    assert.equal(mostOf([abandoned(0, 500), answered(120, 120)], { arrivalWithinMs }), 1);
    // It can have been counted while it was still leaving.
    const leaving = { ...slow, sentNs: 80n * MS };
    assert.equal(mostOf([leaving, answered(199, 199)], { arrivalWithinMs }), 2);
    assert.equal(mostOf([leaving, answered(200, 200)], { arrivalWithinMs }), 1);
    // An answer that came earlier says more than the assumption.
    assert.equal(mostOf([answered(0, 5), answered(105, 105)], { arrivalWithinMs }), 1);
  });

  it('says nothing of a window where nothing was sent', () => {
    const expected = { holds: true, sent: 0, answered: 0, abandoned: 0, firstNs: undefined, worst: undefined };
    assert.deepEqual(audit([], { limit: 1, windowMs: 1 }), expected);
  });

  it('counts what it was given, and tells when it began', () => {
    const {
      sent,
      answered: answers,
      abandoned: silent,
      firstNs,
    } = audit([answered(50, 60), abandoned(40, 90), answered(45, 46)], { limit: 9, windowMs: 1 });
    assert.deepEqual({ sent, answers, silent, firstNs }, { sent: 3, answers: 2, silent: 1, firstNs: 40n * MS });
  });

  it('has room for more than it began with', () => {
    const many = Array.from({ length: 5_000 }, (_, n) => answered(n * 10, n * 10 + 5));
    const { worst, sent } = audit(many.toReversed(), { limit: 10, windowMs: 100 });
    assert.equal(sent, 5_000);
    // [5, 105) begins in the middle of request 0 and ends in the middle of request 10.
    assert.deepEqual({ count: worst?.count, startNs: worst?.startNs }, { count: 11, startNs: 5n * MS });
  });
});

/** A client that takes every token again a window after it has sent, and a world in which that goes well. */
function conventional(limit: PlannedLimit, travelMs: number, answerMs: number): World {
  const fate: Fate = {
    end: 'answered',
    reportsSent: true,
    thinkNs: 0,
    leaveNs: 0,
    arrivalShare: 1,
    answerNs: answerMs * 1e6,
    vanishes: false,
  };
  return {
    limits: [limit],
    threads: 2,
    lanes: 8,
    fates: new Array<Fate>(400).fill(fate),
    longestTravelNs: travelMs * 1e6,
    travelsAnyway: true,
    timerErrorNs: () => 0,
    deathsNs: [],
  };
}

describe('a conventional limiter whose requests all travel for equally long', () => {
  it('is never refused, and rejected all the same: another network could have refused it', async () => {
    const [limit, windowMs] = [5, 100];
    const planned = limitOf({ tokens: limit, windowNs: BigInt(windowMs) * MS, arrivalWithinNs: 0n });
    for (const [travelMs, answerMs] of [
      [1, 2],
      [30, 60],
      [80, 300],
    ] as const) {
      const { countedNs, requests } = await simulate(conventional(planned, travelMs, answerMs));
      assert.equal(requests.length, 400);
      const server = createLimiter({
        algorithm: 'sliding-log',
        limit,
        windowNs: windowMs * 1e6,
        burst: limit,
        phaseNs: 0,
        countRefused: true,
      });
      for (const ns of countedNs) assert.ok(server.admit(ns), 'it got lucky');
      assert.equal(audit(requests, { limit, windowMs }).holds, false);
      // It does keep what it promises: the limit, if requests need no time at all.
      assert.equal(audit(requests, { limit, windowMs, arrivalWithinMs: 0 }).holds, true);
    }
  });

  it('is accepted as soon as it waits for answers', async () => {
    const { requests } = await simulate(conventional(limitOf({ tokens: 5, arrivalWithinNs: undefined }), 30, 60));
    assert.equal(audit(requests, { limit: 5, windowMs: 100 }).holds, true);
  });
});

describe('a client that sends 20 at once, every second', () => {
  /** Each request is 10 ms under way and answered after 50 ms. */
  const bursts = (everyMs: number) => Array.from({ length: 200 }, (_, n) => Math.floor(n / 20) * everyMs);
  const traceOf = (sentMs: readonly number[]) => sentMs.map((ms) => answered(ms, ms + 50));
  const limit = { limit: 20, windowMs: 1_000 };

  it('is rejected, although this time the server did not count too many', () => {
    const sentMs = bursts(1_000);
    const server = createLimiter({
      algorithm: 'sliding-log',
      limit: 20,
      windowNs: 1_000_000_000,
      burst: 20,
      phaseNs: 0,
      countRefused: true,
    });
    for (const ms of sentMs) assert.ok(server.admit((ms + 10) * 1e6), 'it got lucky');
    const { holds, worst } = audit(traceOf(sentMs), limit);
    assert.equal(holds, false);
    assert.equal(worst?.count, 40);
  });

  it('is accepted if it waits for its answers', () => {
    assert.equal(audit(traceOf(bursts(1_050)), limit).holds, true);
    assert.equal(audit(traceOf(bursts(1_049)), limit).holds, false);
  });

  it('is accepted if all requests surely arrive 10 ms after they are sent, and it waits for these', () => {
    assert.equal(audit(traceOf(bursts(1_010)), { ...limit, arrivalWithinMs: 10 }).holds, true);
    assert.equal(audit(traceOf(bursts(1_009)), { ...limit, arrivalWithinMs: 10 }).holds, false);
  });
});
