import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MessagePort } from 'node:worker_threads';
import { Limiter } from '../../lib/limit/limiter.ts';
import { Waiter } from '../../lib/limit/waiter.ts';
import type { Reply } from '../../lib/protocol.ts';
import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { layOut, WORK } from '../../lib/shared/layout.ts';
import type { TraceCells } from '../../lib/shared/trace-cells.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import type { HandlerContext } from '../../lib/types.ts';
import { Lane } from '../../workers/lane.ts';
import { LEAVE_HOOK } from '../../workers/stop-hook.ts';
import { limitOf } from '../limit/worlds.ts';
import { hostOf, taskOf } from '../workers/played-lane.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Self, World } from './thread.ts';

/*
 * What a lane leaves behind where it dies, at whatever step: what the tokens allow, what the trace says and what the slot
 * says are three things, and each may only be late in the direction that does no harm.
 */

const NOW_NS = 1_000n;
const WINDOW_NS = 100n;
const STRAGGLE_NS = 40n;
const TOKENS = 4;
const sizes = { tokens: [TOKENS], slots: 1, threads: 1 };
const layout = layOut(sizes);

interface Cell {
  sentNs: number;
  /** Negative: given up on. */
  endNs: number;
  isDropped: boolean;
}

interface OrderGhost {
  /** Of the requests, in the order in which they got their tokens: token 0 is that of cell 0. */
  cells: Cell[];
  /** How many really left. */
  sent: number;
  replies: number;
}

type Step = Self<OrderGhost>;

/** Says what the trace would have been told, in steps of its own. */
function cellsOf(self: Step): TraceCells {
  const change = (what: string, cell: number, fields: Partial<Cell>) =>
    self.act(what, ({ ghost }) => {
      Object.assign(ghost.cells[cell] ?? {}, fields);
    });
  const cells: Pick<TraceCells, 'open' | 'sent' | 'end' | 'drop'> = {
    open: () =>
      self.act('opens a cell', ({ ghost }) => ghost.cells.push({ sentNs: 0, endNs: 0, isDropped: false }) - 1),
    sent: (cell, nowNs) => change('notes that it left', cell, { sentNs: Number(nowNs) }),
    end: (cell, nowNs, isAnswered) => change('notes its end', cell, { endNs: Number(isAnswered ? nowNs : -nowNs) }),
    drop: (cell) => change('drops the cell', cell, { isDropped: true }),
  };
  return cells as TraceCells;
}

/** By when the request of a cell was counted for certain, going by nothing but the trace. */
function countedByNs({ sentNs, endNs }: Cell, arrivalWithinNs: bigint | undefined): number {
  if (endNs > 0) return endNs;
  const last = endNs < 0 ? -endNs + Number(STRAGGLE_NS) : Number.POSITIVE_INFINITY;
  return sentNs > 0 && arrivalWithinNs !== undefined ? Math.min(last, sentNs + Number(arrivalWithinNs)) : last;
}

const leave = (self: Step) =>
  self.act('sends a request', (world) => {
    const { ghost } = world;
    assert.ok(ghost.cells[ghost.sent] !== undefined, 'a request has left of which the trace knows nothing');
    ghost.sent++;
    const { sent, work } = new WorkSlot(world.block, 0);
    assert.ok(sent >= ghost.sent, 'a request has left that nobody counts');
    assert.equal(
      work & (WORK.called | WORK.sent),
      WORK.called | WORK.sent,
      'it has left, and the slot does not say so',
    );
  });

/** What a handler may do with an item. */
const HANDLERS = {
  'is answered': (self: Step, context: HandlerContext) => {
    context.sent();
    leave(self);
    context.answered();
  },
  'tells before and after its request leaves': (self: Step, context: HandlerContext) => {
    (context as { [LEAVE_HOOK]?(): void })[LEAVE_HOOK]?.();
    leave(self);
    context.sent();
    context.answered();
  },
  'says nothing of the answer': (self: Step, context: HandlerContext) => {
    context.sent();
    leave(self);
  },
  'fails after it has sent': (self: Step, context: HandlerContext) => {
    context.sent();
    leave(self);
    throw new Error('The connection is lost.');
  },
  'fails before it has sent': () => {
    throw new Error('There is no connection.');
  },
  'sends two requests': async (self: Step, context: HandlerContext) => {
    context.sent();
    leave(self);
    const permit = await context.acquire();
    permit.sent();
    leave(self);
    permit.answered();
  },
} as const;

type Behaviour = keyof typeof HANDLERS;

const tokensOf = ({ words }: ControlBlock): bigint[] => {
  const [{ first = 0, count = 0 } = {}] = layout.tokens;
  return [...words.slice(first, first + count)];
};

function check(
  { ghost, block }: World<OrderGhost>,
  behaviour: Behaviour | undefined,
  arrivalWithinNs: bigint | undefined,
  isIdempotent: boolean,
): void {
  const { work, sent, deadlineNs } = new WorkSlot(block, 0);
  const isCalled = (work & WORK.called) !== 0;
  let counted = 0;
  for (const [token, word] of tokensOf(block).entries()) {
    const cell = ghost.cells[token];
    if (word === 0n && cell !== undefined) {
      assert.ok(cell.isDropped, 'a token was given back, and the trace says that its request may have left');
    }
    if (word <= 0n) continue;
    counted++;
    assert.ok(cell !== undefined && !cell.isDropped, 'a token rests for no request');
    const freeFromNs = countedByNs(cell, arrivalWithinNs) + Number(WINDOW_NS);
    assert.ok(word >= freeFromNs, 'a token becomes free before that follows from the trace');
    if (isCalled && token === ghost.cells.length - 1) {
      assert.ok((work & WORK.sent) !== 0, 'a token rests, and the slot does not say that its request has left');
    }
  }
  assert.ok(sent >= counted, 'a token rests for a request that nobody has counted');
  if (isCalled) assert.ok(deadlineNs >= NOW_NS, 'the handler was called, and its deadline is not there');
  if (!isIdempotent && !isCalled) {
    const ended = ghost.cells.filter(({ endNs, isDropped }) => endNs !== 0 || isDropped).length;
    const items = behaviour === 'sends two requests' ? ended / 2 : ended;
    assert.ok(ghost.replies >= items, 'what must not run twice has ended, and that is not reported');
  }
}

function scenarioOf(
  behaviour: Behaviour | undefined,
  arrivalWithinNs: bigint | undefined,
  isIdempotent: boolean,
): Scenario<OrderGhost> {
  const limits = [limitOf({ tokens: TOKENS, windowNs: WINDOW_NS, straggleNs: STRAGGLE_NS, arrivalWithinNs })];
  return {
    sizes,
    ghost: { cells: [], sent: 0, replies: 0 },
    hrtimeNs: NOW_NS,
    threads: {
      lane: (self) => {
        const handle = (_: unknown, context: HandlerContext) =>
          behaviour === undefined ? leave(self) : HANDLERS[behaviour](self, context);
        const host = hostOf(self.block, {
          handle,
          reportsSent: behaviour !== undefined,
          isIdempotent: () => isIdempotent,
          waiter: new Waiter(new Limiter(self.block, limits, 1)),
          trace: cellsOf(self),
        });
        const port = {
          postMessage: ({ values }: Reply) =>
            self.act('replies', ({ ghost }) => {
              ghost.replies += values.length;
            }),
        };
        return new Lane(host, port as unknown as MessagePort).run(taskOf(['one', 'two']));
      },
    },
    // The ring of calls has a test of its own.
    isPrivate: ({ view, index }) => view === 'ints' && index >= layout.firstCalls,
    check: (world) => check(world, behaviour, arrivalWithinNs, isIdempotent),
    end: ({ ghost, block }) => {
      assert.equal(new WorkSlot(block, 0).sent, ghost.sent, 'the requests are miscounted');
      assert.equal(ghost.replies, 2);
      assert.ok(
        ghost.cells.every(({ endNs, isDropped }) => endNs !== 0 || isDropped),
        'a cell stays open',
      );
      return tokensOf(block).join(' ');
    },
  };
}

/** Two items after each other: the words of the four tokens at the end, with and without an assumption on arrival. */
const CASES: readonly [Behaviour | undefined, unassumed: string, assumed: string][] = [
  ['is answered', '1100 1100 0 0', '1100 1100 0 0'],
  ['tells before and after its request leaves', '1100 1100 0 0', '1100 1100 0 0'],
  ['says nothing of the answer', '1100 1100 0 0', '1100 1100 0 0'],
  ['fails after it has sent', '1140 1140 0 0', '1150 1150 0 0'],
  ['fails before it has sent', '0 0 0 0', '0 0 0 0'],
  ['sends two requests', '1100 1100 1100 1100', '1100 1100 1100 1100'],
  // Of a handler that does not tell.
  [undefined, '1100 1100 0 0', '1100 1100 0 0'],
];

describe('tokens, trace, slot and report fit together wherever a lane dies, if a handler', () => {
  for (const [behaviour, unassumed, assumed] of CASES) {
    it(behaviour ?? 'never tells of what it sends', async (t) => {
      for (const isIdempotent of [true, false]) {
        await exploreTo(t, scenarioOf(behaviour, undefined, isIdempotent), [unassumed]);
        await exploreTo(t, scenarioOf(behaviour, 50n, isIdempotent), [assumed]);
      }
    });
  }
});
