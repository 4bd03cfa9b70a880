import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagePort, Worker } from 'node:worker_threads';
import { Mutex } from 'async-mutex';
import { Dispatcher } from '../../lib/batch/dispatcher.ts';
import { ThreadHandle, type ThreadPool } from '../../lib/pool/thread-pool.ts';
import { type ChunkTask, END, type Reply } from '../../lib/protocol.ts';
import { CircuitBreaker } from '../../lib/recover/circuit-breaker.ts';
import { Credentials } from '../../lib/recover/credentials.ts';
import { systemPauseClock } from '../../lib/recover/pause-clock.ts';
import { Recovery } from '../../lib/recover/recovery.ts';
import { SuccessRate } from '../../lib/recover/success-rate.ts';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { GateCloser } from '../../lib/shared/gate-closer.ts';
import { PlayedBatch, RULES, recordOf } from '../batch/played-threads.ts';
import type { Body, Self, World } from './thread.ts';

/** What a thread comes to with a chunk, which has one item. */
export interface Deed {
  readonly end: number;
  /** What it closes the gate for. */
  readonly cause?: number;
  readonly quietNs?: bigint;
  /** It counts a failure, which may be one too many. */
  readonly fails?: boolean;
}

export const DEED = {
  ok: { end: END.ok },
  failed: { end: END.fatal, fails: true },
  refused: (quietNs?: bigint): Deed => ({ end: END.refused, cause: CAUSE.refused, ...(quietNs && { quietNs }) }),
  quota: (quietNs: bigint): Deed => ({ end: END.ok, cause: CAUSE.quota, quietNs }),
} as const;

/** What is true, and what is on its way from thread to thread. */
export interface EngineGhost {
  /** Chunks that were posted to each thread, and the generation of the one that it works on. */
  given: Record<string, string[]>;
  working: Record<string, number>;
  /** What was posted to the main thread. */
  inbox: string[];
  /** Threads whose end the main thread knows of. */
  buried: string[];
  /** By the generation that began: what its detectors have found, for certain; and what they may have told of. */
  found: Record<string, { causes: number; quietNs: number }>;
  begun: { causes: number; quietNs: number };
  /** Generations that everybody was told of, and of those that cancel. */
  told: Record<string, string>;
  /** Failures since the counters were to forget. */
  failures: number;
  events: string[];
  isOver: boolean;
}

export const engineGhost = (threads: readonly string[]): EngineGhost => ({
  given: Object.fromEntries(threads.map((name) => [name, []])),
  working: {},
  inbox: [],
  buried: [],
  found: {},
  begun: { causes: 0, quietNs: 0 },
  told: {},
  failures: 0,
  events: [],
  isOver: false,
});

const addTo = (found: { causes: number; quietNs: number }, { cause = 0, quietNs = 0n }: Deed) => {
  found.causes |= cause;
  found.quietNs = Math.max(found.quietNs, Number(quietNs));
};

/** A worker thread: does these deeds, one with each chunk that it gets, and from then on nothing but successes. */
export function workerBody(name: string, deeds: readonly Deed[], limits?: FailureLimits): Body<EngineGhost> {
  return (self) => {
    const { block } = self;
    const counters = limits && new CircuitCounters(block, limits);
    const tellAll = (generation: number, cancels: boolean) =>
      self.act(`tells all of ${generation}${cancels ? ', which cancels' : ''}`, ({ ghost }) => {
        ghost.told[generation] = cancels ? 'cancels' : (ghost.told[generation] ?? 'stops');
        ghost.inbox.push('limited');
      });
    const closer = new GateCloser(new Gate(block), true, tellAll);
    for (let done = 0; ; done++) {
      const hasWork = ({ ghost }: World<EngineGhost>) => ghost.isOver || (ghost.given[name]?.length ?? 0) > 0;
      const given = self.until('it has work', hasWork, ({ ghost }) => takeUp(ghost, name));
      if (given === '') return;
      const [id, generation = 0, isProbe] = given.split(' ').map(Number);
      const deed: Deed = deeds[done] ?? DEED.ok;
      const { cause } = deed;
      if (cause !== undefined) {
        // In one step with taking the chunk up: nobody can tell when the answer came.
        self.note(({ ghost }) => addTo(ghost.begun, deed));
        closer.close(generation, cause, deed.quietNs);
        self.note(({ ghost }) => find(ghost, generation, deed));
      }
      if (deed.fails && isProbe === 0 && counters?.addFailure(0n)) {
        self.note(({ ghost }) => addTo(ghost.begun, { end: 0, cause: CAUSE.circuit }));
        closer.close(generation, CAUSE.circuit, undefined);
        self.note(({ ghost }) => find(ghost, generation, { end: 0, cause: CAUSE.circuit }));
      }
      self.act('replies', ({ ghost }) => {
        delete ghost.working[name];
        ghost.inbox.push(`reply ${name} ${id} ${deed.end}`);
      });
    }
  };
}

function takeUp(ghost: EngineGhost, name: string): string {
  const chunk = ghost.given[name]?.shift() ?? '';
  if (chunk !== '') ghost.working[name] = Number(chunk.split(' ')[1]);
  return chunk;
}

/** From the moment on at which the gate is closed, or found closed, nothing of this may be lost. */
function find(ghost: EngineGhost, generation: number, deed: Deed): void {
  const next = (generation + 1) | 0;
  ghost.found[next] ??= { causes: 0, quietNs: 0 };
  addTo(ghost.found[next], deed);
}

export interface MainOptions {
  readonly threads: readonly string[];
  readonly items: number;
  readonly limits: FailureLimits | undefined;
}

/** The real main thread: what hands out work, takes its ends, and recovers. Only messages and clocks are stood in for. */
export function mainBody({ threads, items, limits }: MainOptions): Body<EngineGhost> {
  return async (self) => {
    // A clock that has gone on for long whenever somebody looks: no wait needs a timer.
    let ms = 0;
    const nowMs = () => {
      ms += 1e9;
      return ms;
    };
    const handles = threads.map((_, place) => {
      const worker = { threadId: place + 1 } as Worker;
      const handle = new ThreadHandle(worker, {} as MessagePort, { lanes: 1, place });
      handle.state = 'ready';
      return handle;
    });
    const dispatcher = new Dispatcher({
      ...{ block: self.block, lanes: threads.length, reserve: 0, timeoutMs: 500, nowMs, tracer: undefined },
      successRate: new SuccessRate(),
      credentials: () => undefined,
      countsForCircuit: () => true,
      onTimeout: () => {},
      onProbe: (result) => recovery.onProbe(result),
      onBatchOver: () => {},
    });
    const pool = {
      get ready() {
        return handles.filter(({ state }) => state === 'ready');
      },
      send: (task: ChunkTask, thread: ThreadHandle) => handOut(self, threads[thread.place] ?? '', task),
    };
    dispatcher.attach(pool as unknown as ThreadPool);
    const breaker =
      limits &&
      new CircuitBreaker({
        rules: {
          ...{ successThreshold: 1, openMs: 1, openFactor: 1, maxOpenMs: 1, halfOpenProbes: 1 },
          whenOpen: 'wait',
        },
        counters: new CircuitCounters(self.block, limits),
        nowMs,
        onChange: (_, to) => self.note(({ ghost }) => circuitIs(ghost, to)),
      });
    const recovery = new Recovery({
      ...{ gate: new Gate(self.block), dispatcher, rules: RULES, mode: 'cancel', timeoutMs: 500, cancelGraceMs: 100 },
      stretch: () => 1,
      breaker,
      credentials: new Credentials({ initial: 'old', refresh: undefined, timeoutMs: 1, onSettled: () => {} }),
      events: {
        rateLimited: ({ generation }) => self.note(({ ghost }) => ghost.events.push(`${generation} limited`)),
        paused: (event) => self.note(({ ghost }) => pause(ghost, event)),
        resumed: () => {},
      },
      clock: { ...systemPauseClock, nowMs },
      random: () => 0,
      broadcast: (generation, cancels) =>
        self.act(`broadcasts ${generation}${cancels ? ', which cancels' : ''}`, ({ ghost }) => {
          ghost.told[generation] = cancels ? 'cancels' : (ghost.told[generation] ?? 'stops');
        }),
      kill: () => assert.fail('nobody ignores anything'),
    });
    const played = new PlayedBatch(1, nowMs, (batch) => dispatcher.noteWork(batch), {});
    played.batch.fill(Array.from({ length: items }, (_, n) => `item ${n}`));
    played.batch.sizing = { itemMs: 1, size: 1 };
    const recoveries = watchRecoveries();
    try {
      const isNews = (world: World<EngineGhost>) => world.ghost.inbox.length > 0 || newlyDead(world, threads) !== '';
      dispatcher.add(played.batch);
      while (!dispatcher.isIdle && pool.ready.length > 0) {
        const heard = self.until('it hears something', isNews, (world) => hear(world, threads));
        const [what, name = '', id, end] = heard.split(' ');
        const thread = handles[threads.indexOf(name)];
        recovery.notice();
        if (thread !== undefined && what === 'reply') {
          // The slot is private to this body: what its lane has claimed is claimed here.
          for (const chunk of dispatcher.chunks) if (chunk.id === Number(id)) chunk.slot.claim(0);
          dispatcher.onReply(thread, replyOf(Number(id), Number(end)));
        }
        if (thread !== undefined && what === 'gone') {
          thread.state = 'gone';
          dispatcher.onThreadGone(thread);
        }
        await nextTurn();
        if (recoveries.errors.length > 0) throw recoveries.errors[0];
      }
    } finally {
      recoveries.forget();
    }
    self.act('is done', ({ ghost }) => {
      ghost.isOver = true;
    });
    return played.results.map(([, end]) => end).join(' ');
  };
}

/** A recovery that the explorer stops must not end the process: nobody waits for its promise. */
function watchRecoveries() {
  const original = Mutex.prototype.runExclusive;
  const errors: unknown[] = [];
  Mutex.prototype.runExclusive = function runExclusive<T>(...args: Parameters<Mutex['runExclusive']>): Promise<T> {
    const running = original.apply(this, args) as Promise<T>;
    running.catch((error) => errors.push(error));
    return running;
  };
  const forget = () => {
    Mutex.prototype.runExclusive = original;
  };
  return { errors, forget };
}

function handOut(self: Self<EngineGhost>, name: string, { id, generation, isProbe }: ChunkTask): void {
  self.act(`hands out to ${name}`, (world) => {
    const { given, working } = world.ghost;
    for (const [other, older] of Object.entries(working)) {
      if (!world.isDead(other))
        assert.equal(older, generation, `${other} still works on what is of generation ${older}`);
    }
    given[name]?.push(`${id} ${generation} ${Number(isProbe)}`);
  });
}

function replyOf(id: number, end: number): Reply {
  const values = [end === END.ok ? 'value' : recordOf()];
  const times = { waitsMs: undefined, durationsMs: [1], elapsedMs: 1 };
  return { kind: 'reply', id, from: 0, ends: [end], values, ...times, cells: undefined, last: true };
}

function newlyDead(world: World<EngineGhost>, threads: readonly string[]): string {
  return threads.find((name) => world.isDead(name) && !world.ghost.buried.includes(name)) ?? '';
}

/** Its messages come before the end of a thread. */
function hear(world: World<EngineGhost>, threads: readonly string[]): string {
  const message = world.ghost.inbox.shift();
  if (message !== undefined) return message;
  const dead = newlyDead(world, threads);
  world.ghost.buried.push(dead);
  delete world.ghost.working[dead];
  return `gone ${dead}`;
}

interface Pause {
  readonly generation: number;
  readonly delayMs: number;
  readonly causes: readonly (keyof typeof CAUSE)[];
}

/** The main thread knows all that was found, makes no hint shorter, and waits for nothing that is over. */
function pause(ghost: EngineGhost, { generation, delayMs, causes }: Pause): void {
  const { causes: foundCauses, quietNs } = ghost.found[generation] ?? { causes: 0, quietNs: 0 };
  const known = causes.reduce((bits, name) => bits | CAUSE[name], 0);
  assert.equal(known & foundCauses, foundCauses, `the gate was closed for ${foundCauses}, and main knows of ${known}`);
  assert.equal(known & ~ghost.begun.causes, 0, `nobody has found ${known & ~ghost.begun.causes}`);
  const backoffMs = (known & CAUSE.refused) === 0 ? 0 : RULES.initialMs;
  const waitNs = Math.round(delayMs * 1e6);
  assert.ok(waitNs >= quietNs, `a wish for ${quietNs} ns is shortened to ${waitNs}`);
  assert.ok(waitNs <= Math.max(ghost.begun.quietNs, backoffMs * 2e6), `nobody wishes for ${waitNs} ns`);
  assert.ok(ghost.told[generation] !== undefined, 'nobody was told');
  if ((known & CAUSE.refused) !== 0) assert.equal(ghost.told[generation], 'cancels', 'nothing was cancelled');
  ghost.events.push(`${generation} ${causes.join('+') || 'none'} ${backoffMs > 0 ? 'backoff' : waitNs}`);
}

function circuitIs(ghost: EngineGhost, state: string): void {
  if (state === 'closed') ghost.failures = 0;
  ghost.events.push(state);
}
