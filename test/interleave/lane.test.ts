import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MessagePort } from 'node:worker_threads';
import type { Batch } from '../../lib/batch/batch.ts';
import { Chunk } from '../../lib/batch/chunk.ts';
import { settleDeadChunk } from '../../lib/batch/dead-chunk.ts';
import type { WorkItem } from '../../lib/batch/work-queue.ts';
import { Limiter } from '../../lib/limit/limiter.ts';
import { Waiter } from '../../lib/limit/waiter.ts';
import { END, type Reply } from '../../lib/protocol.ts';
import { CallCounter } from '../../lib/shared/call-ring.ts';
import { Gate } from '../../lib/shared/gate.ts';
import { GateCloser } from '../../lib/shared/gate-closer.ts';
import { GENERATION, layOut, SLOT, slotIndex } from '../../lib/shared/layout.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import type { HandlerContext } from '../../lib/types.ts';
import { Lane } from '../../workers/lane.ts';
import { limitOf } from '../limit/worlds.ts';
import { hostOf, taskOf } from '../workers/played-lane.ts';
import type { Scenario } from './explore.ts';
import type { Access } from './memory.ts';
import { exploreTo } from './report.ts';
import type { Body, Self, World } from './thread.ts';
import { type TokenGhost, TokenRules, tokenScenario } from './token-world.ts';

const limits = [limitOf({ tokens: 4, windowNs: 100n })];
const rules = new TokenRules(limits);
const sizes = { tokens: [4], slots: 2, threads: 2 };
const layout = layOut(sizes);

interface LaneGhost extends TokenGhost {
  /** Who has sent which item. */
  sent: Record<string, boolean>;
  /** Ends that were reported to the main thread. */
  ends: Record<string, number>;
  /** What became of items that have no end. */
  others: Record<string, string>;
  /** Threads that have seen the gate closed. */
  sawClosed: Record<string, boolean>;
  /** Requests since it was closed. */
  lateSends: Record<string, number>;
}

const LONG = process.env.SLUICEGATE_LONG === '1';

const KINDS: Record<number, string> = Object.fromEntries(Object.entries(END).map(([name, end]) => [end, name]));

interface LaneItem {
  readonly name: string;
  readonly idempotent: boolean;
  readonly isRefused?: boolean;
}

/** The real lane of a real thread's parts; only what is neither shared memory nor the order of steps is left out. */
function laneBody(name: string, id: number, items: readonly LaneItem[]): Body<LaneGhost> {
  return (self) => {
    const { block } = self;
    const gate = new Gate(block);
    const host = hostOf(block, {
      threadId: id,
      gate,
      calls: new CallCounter(block, id - 1),
      waiter: new Waiter(new Limiter(block, limits, id)),
      handle: (item, attempt) => send(self, name, item as LaneItem, attempt),
      closeGate: (generation, cause) => closer.close(generation, cause, undefined),
    });
    const closer = new GateCloser(gate, true, (generation, cancels) => lane.stopBelow(generation, cancels));
    const port = { postMessage: (reply: Reply) => report(self, items, reply) };
    const lane = new Lane(host, port as unknown as MessagePort);
    return lane.run(taskOf(items, { id: id - 1, slot: id - 1 }));
  };
}

/** What the HTTP handler does, as seen from shared memory. */
function send(self: Self<LaneGhost>, name: string, item: LaneItem, attempt: HandlerContext): string {
  attempt.throwIfStopped();
  attempt.sent();
  self.act('sends its request', (world) => {
    const { sent, sawClosed, lateSends } = world.ghost;
    assert.ok(!sawClosed[name], 'it sends a request after it has seen the gate closed');
    assert.ok(!sent[item.name], 'it is sent twice');
    sent[item.name] = true;
    if (world.block.ints[GENERATION] !== 0) lateSends[name] = (lateSends[name] ?? 0) + 1;
    rules.send(world, name, 0n);
  });
  self.act('is answered', (world) => rules.settle(world, name));
  if (item.isRefused) throw Object.assign(new Error('Too fast.'), { code: 'RATE_LIMITED' });
  attempt.answered();
  return 'value';
}

function report(self: Self<LaneGhost>, items: readonly LaneItem[], { from, ends, values, last }: Reply): void {
  self.act(last ? 'replies for the last time' : 'replies', ({ ghost }) => {
    for (let n = 0; n < values.length; n++) ghost.ends[items[from + n]?.name ?? ''] = (ends?.[n] ?? END.ok) & 15;
  });
}

/**
 * The main thread: takes back what lane A has not begun, and sees to what is left when its thread is gone. Of B, if that
 * may die, it takes back only the tokens: its chunk is like that of A.
 */
function mainBody(items: readonly LaneItem[], mayLoseB: boolean): Body<LaneGhost> {
  const seeToB = (self: Self<LaneGhost>) => {
    self.until('B is done, or its thread is gone', (world) => world.isOver('B'));
    if (self.act('looks which', (world) => world.isDead('B'))) new Limiter(self.block, limits, 0).reclaim(2, 0n);
  };
  return (self) => {
    seeToA(self, items);
    if (mayLoseB) seeToB(self);
  };
}

function seeToA(self: Self<LaneGhost>, items: readonly LaneItem[]): void {
  const slot = new WorkSlot(self.block, 0);
  const putBack = (entries: WorkItem[]) => {
    self.note(({ ghost }) => {
      for (const { item, possiblyExecuted } of entries) put(ghost, item, possiblyExecuted ? 'again' : 'back');
    });
  };
  const lost = {
    push: (entry: WorkItem) => self.note(({ ghost }) => put(ghost, entry.item, 'again')),
  };
  const fail = (entry: WorkItem) => self.note(({ ghost }) => put(ghost, entry.item, 'in doubt'));
  const batch = { isOver: false, isAborted: false, putBack, lost, fail } as unknown as Batch;
  const thread = { threadId: 1, killedBecause: undefined, cause: undefined } as unknown as Chunk['thread'];
  const work = { first: 0, items: [...items], entries: undefined };
  const where = { generation: 0, slotNumber: 0, slot, isAlone: false, isProbe: false, sentAtMs: 0 };
  const chunk = new Chunk({ id: 0, batch, thread, work, ...where });
  putBack(chunk.takeBackUnclaimed());
  self.until('A is done, or its thread is gone', (world) => world.isOver('A'));
  if (!self.act('looks which', (world) => world.isDead('A'))) return;
  new Limiter(self.block, limits, 0).reclaim(1, 0n);
  chunk.settled = self.act('reads what it has reported', ({ ghost }) =>
    items.reduce((sum, { name }) => sum + (name in ghost.ends ? 1 : 0), 0),
  );
  settleDeadChunk(chunk, 1_000);
}

function put(ghost: LaneGhost, item: unknown, where: string): void {
  const { name, idempotent } = item as LaneItem;
  assert.equal(ghost.others[name], undefined, `${name} comes back twice`);
  assert.equal(ghost.ends[name], undefined, `${name} comes back, and has an end`);
  if (ghost.sent[name] && !idempotent) assert.equal(where, 'in doubt', `${name} was sent and would run again`);
  if (ghost.sent[name]) assert.notEqual(where, 'back', `${name} was sent, and the engine thinks that it was not`);
  ghost.others[name] = where;
}

/** Rings of calls and deadlines, which nobody reads here, and of the slots all that the main thread does not look at. */
function isPrivate({ view, index }: Access): boolean {
  const [one, other] = [slotIndex(layout, 0), slotIndex(layout, 1)];
  if (view === 'ints') return index === one + SLOT.sent || index >= other;
  return index === one / 2 + SLOT.deadlineNs || index === other / 2 + SLOT.deadlineNs;
}

function scenarioOf(
  items: Readonly<Record<'A' | 'B', readonly LaneItem[]>>,
  mortal: readonly string[] = ['A'],
): Scenario<LaneGhost> {
  const base = tokenScenario(limits);
  return {
    ...base,
    sizes,
    ghost: { ...base.ghost, sent: {}, ends: {}, others: {}, sawClosed: {}, lateSends: {} },
    hrtimeNs: 0n,
    threads: {
      A: laneBody('A', 1, items.A),
      ...(items.B.length > 0 ? { B: laneBody('B', 2, items.B) } : {}),
      main: mainBody(items.A, mortal.includes('B')),
    },
    mortal,
    deaths: mortal.length,
    isPrivate,
    onAccess: (world, thread, access, value) => {
      base.onAccess(world, thread, access, value);
      if (access.view === 'ints' && access.index === GENERATION && access.kind === 'load' && value !== 0) {
        world.ghost.sawClosed[thread] = true;
      }
    },
    end: (world: World<LaneGhost>) => {
      const { ghost } = world;
      for (const { held } of ghost.tokens.flatMap(({ uses }) => uses)) assert.ok(!held, 'a token is lost');
      // Each lane may have looked at the gate just before it was closed.
      for (const late of Object.values(ghost.lateSends)) assert.equal(late, 1);
      return [...items.A, ...items.B]
        .map(({ name }) => {
          const end = ghost.ends[name];
          const isOfDeadB = world.isDead('B') && items.B.some((item) => item.name === name);
          const other = ghost.others[name] ?? (isOfDeadB && end === undefined ? 'lost' : undefined);
          assert.ok((end === undefined) !== (other === undefined), `${name} has ${end} and ${other}`);
          return `${name} ${end === undefined ? other : KINDS[end]}`;
        })
        .join(', ');
    },
  };
}

const a: LaneItem = { name: 'a', idempotent: false };
const b: LaneItem = { name: 'b', idempotent: true };
const r: LaneItem = { name: 'r', idempotent: true, isRefused: true };

describe('a lane that may die, and the main thread that takes back what it has not begun', () => {
  it('have each item once: with its end, in doubt, or to be run again', (t) =>
    exploreTo(t, scenarioOf({ A: [a, b], B: [] }), [
      'a back, b back',
      'a ok, b back',
      'a ok, b ok',
      // Dead: called and not sent; sent; ended, but not reported.
      'a again, b back',
      'a in doubt, b back',
      'a ok, b again',
    ]));

  it('send nothing any more once the lane has seen that another one has closed the gate', (t) =>
    exploreTo(t, scenarioOf({ A: [a], B: [r] }), [
      // The gate was closed when its request was under way, or was not looked at again.
      'a ok, r refused',
      // It was closed before the chunk or the item was begun, while it waited for its token, or right before it was sent.
      'a back, r refused',
      'a notStarted, r refused',
      'a cancelled, r refused',
      'a again, r refused',
      'a in doubt, r refused',
    ]));

  it('send nothing any more: a longer chunk', { skip: !LONG && 'only in the long form' }, (t) =>
    exploreTo(t, scenarioOf({ A: [a, b], B: [r] }), [
      'a ok, b ok, r refused',
      'a ok, b back, r refused',
      'a ok, b notStarted, r refused',
      'a ok, b cancelled, r refused',
      'a ok, b again, r refused',
      'a back, b back, r refused',
      'a notStarted, b back, r refused',
      'a cancelled, b back, r refused',
      'a again, b back, r refused',
      'a in doubt, b back, r refused',
    ]),
  );

  it('send nothing any more, and lose no token, if both die', { skip: !LONG && 'only in the long form' }, (t) => {
    const ends = ['ok', 'back', 'notStarted', 'cancelled', 'again', 'in doubt'];
    return exploreTo(
      t,
      scenarioOf({ A: [a], B: [r] }, ['A', 'B']),
      ends.flatMap((end) => [`a ${end}, r refused`, `a ${end}, r lost`]),
    );
  });
});
