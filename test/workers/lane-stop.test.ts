import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { ItemError, RateLimitError } from '../../lib/errors.ts';
import { Grant, Limiter } from '../../lib/limit/limiter.ts';
import { Waiter } from '../../lib/limit/waiter.ts';
import { END, type Reply } from '../../lib/protocol.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE } from '../../lib/shared/gate.ts';
import { GENERATION } from '../../lib/shared/layout.ts';
import type { HandlerContext } from '../../lib/types.ts';
import { Lane } from '../../workers/lane.ts';
import { limitOf } from '../limit/worlds.ts';
import { type HostFields, hostOf, taskOf } from './played-lane.ts';

/** A handler whose item is in flight for a moment. */
const inFlight = async (_: unknown, { signal }: HandlerContext) => {
  await nextTurn();
  signal.throwIfAborted();
};

/** Some lanes of one thread, and the ends that they have reported, by chunk. */
function lanesOf(count: number, fields: HostFields, generation = 0, tokens = 1) {
  const block = createControlBlock({ tokens: [tokens], slots: count, threads: 1 });
  block.ints[GENERATION] = generation;
  const ends: Record<number, number[]> = {};
  const port = {
    postMessage: (reply: Reply) => {
      ends[reply.id] = [...(ends[reply.id] ?? []), ...Array.from(reply.values, (_, n) => reply.ends?.[n] ?? END.ok)];
    },
  };
  // A timer that never fires: whoever waits goes on only if somebody looks.
  const clock = { nowNs: () => 1_000n, setTimer: () => 1, clearTimer: () => {} };
  const waiter = new Waiter(new Limiter(block, [limitOf({ tokens })], 1), clock);
  const host = hostOf(block, { waiter, ...fields });
  const lanes = Array.from({ length: count }, () => new Lane(host, port as unknown as MessagePort));
  return { lanes, waiter, ends };
}

describe('a lane that is told to stop', () => {
  it('just after its token was there lets the next one have it at once', async () => {
    const called: unknown[] = [];
    const { lanes, waiter, ends } = lanesOf(2, { handle: (item) => called.push(item) });
    const [one, two] = lanes;
    const first = waiter.acquire(1_000n);
    assert.ok(first instanceof Grant);
    const runs = [one?.run(taskOf(['one'], { batch: 1 })), two?.run(taskOf(['two'], { id: 1, slot: 1, batch: 2 }))];
    assert.equal(waiter.size, 2);
    first.giveBack();
    waiter.look();
    assert.equal(waiter.size, 1, 'the first lane has it, and does not know it yet');
    one?.stopBatch(1);
    await Promise.race([Promise.all(runs), nextTurn()]);
    assert.deepEqual([called, ends], [['two'], { 0: [END.aborted], 1: [END.ok] }]);
  });

  it('just after its further token was there lets the next one have it at once, though its handler goes on', async () => {
    const called: unknown[] = [];
    let end = () => {};
    const isEnded = new Promise<void>((resolve) => {
      end = resolve;
    });
    const handle = async (item: unknown, context: HandlerContext) => {
      called.push(item);
      if (item === 'two') return;
      await assert.rejects(context.acquire(), { code: 'ABORTED' });
      await isEnded;
    };
    const { lanes, waiter, ends } = lanesOf(2, { handle }, 0, 2);
    const [one, two] = lanes;
    const held = waiter.acquire(1_000n);
    assert.ok(held instanceof Grant);
    const runs = [one?.run(taskOf(['one'], { batch: 1 })), two?.run(taskOf(['two'], { id: 1, slot: 1, batch: 2 }))];
    assert.deepEqual([called, waiter.size], [['one'], 2]);
    held.giveBack();
    waiter.look();
    assert.equal(waiter.size, 1, 'the first lane has it, and does not know it yet');
    one?.stopBatch(1);
    await nextTurn();
    assert.deepEqual(called, ['one', 'two']);
    end();
    await Promise.all(runs);
    assert.deepEqual(ends, { 0: [END.ok], 1: [END.ok] });
  });

  it('stops what is older than the generation that has begun, also where generations go round', async () => {
    const lowest = -(2 ** 31);
    const highest = 2 ** 31 - 1;
    const cases: readonly [own: number, begun: number, isStopped: boolean][] = [
      [0, 1, true],
      [1, 1, false],
      [1, 0, false],
      [highest, lowest, true],
      [highest, lowest + 1, true],
      [lowest, highest, false],
      [lowest, lowest, false],
    ];
    for (const [generation, begun, isStopped] of cases) {
      const { lanes, ends } = lanesOf(
        1,
        {
          waiter: undefined,
          handle: inFlight,
        },
        generation,
      );
      const [lane] = lanes;
      const running = lane?.run(taskOf(['one'], { generation }));
      lane?.stopBelow(begun, true);
      await running;
      assert.deepEqual(ends, { 0: [isStopped ? END.cancelled : END.ok] }, `${generation}, when ${begun} begins`);
    }
  });

  it('leaves what must not be sent twice, and what nothing cancels, in flight', async () => {
    for (const [isIdempotent, cancels] of [
      [false, true],
      [true, false],
    ] as const) {
      const { lanes, ends } = lanesOf(1, {
        waiter: undefined,
        isIdempotent: () => isIdempotent,
        handle: inFlight,
      });
      const [lane] = lanes;
      const running = lane?.run(taskOf(['one']));
      lane?.stopBelow(1, cancels);
      await running;
      assert.deepEqual(
        (ends[0] ?? []).map((end) => end & 15),
        [END.ok],
      );
    }
  });

  it('because its time is up, and then brings a refusal, is refused: everybody stops, as long as it says', async () => {
    const closed: (number | undefined)[] = [];
    const { lanes, ends } = lanesOf(1, {
      waiter: undefined,
      handle: async () => {
        await nextTurn();
        throw new RateLimitError({ retryAfterMs: 700 });
      },
      closeGate: (_, cause, quietMs) => closed.push(cause, quietMs),
    });
    const [lane] = lanes;
    const running = lane?.run(taskOf(['one']));
    lane?.timeOut();
    await running;
    assert.deepEqual([ends, closed], [{ 0: [END.refused] }, [CAUSE.refused, 700]]);
  });

  it('because its time is up has timed out, whatever else it throws', async () => {
    const { lanes, ends } = lanesOf(1, {
      waiter: undefined,
      handle: async () => {
        await nextTurn();
        throw new ItemError('HTTP_STATUS', 'This would be final.', { status: 404 });
      },
      closeGate: () => assert.fail('The gate stays open.'),
    });
    const [lane] = lanes;
    const running = lane?.run(taskOf(['one']));
    lane?.timeOut();
    await running;
    assert.deepEqual(ends, { 0: [END.retry] });
  });
});
