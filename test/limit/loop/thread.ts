import type { MessagePort } from 'node:worker_threads';
import { ItemError, RateLimitError, type StopError } from '../../../lib/errors.ts';
import { Limiter } from '../../../lib/limit/limiter.ts';
import { nsFromMs, type PlannedLimit } from '../../../lib/limit/plan.ts';
import { Waiter } from '../../../lib/limit/waiter.ts';
import type { ThreadHandle } from '../../../lib/pool/thread-pool.ts';
import type { ChunkTask, Reply } from '../../../lib/protocol.ts';
import type { FailureRecord } from '../../../lib/recover/error-record.ts';
import type { RecoveryTable } from '../../../lib/recover/recovery-table.ts';
import { CallCounter } from '../../../lib/shared/call-ring.ts';
import { CircuitCounters } from '../../../lib/shared/circuit-counters.ts';
import type { ControlBlock } from '../../../lib/shared/control-block.ts';
import { CAUSE, type Gate } from '../../../lib/shared/gate.ts';
import type { Random } from '../../../lib/simulator/random.ts';
import type { Classify, HandlerContext } from '../../../lib/types.ts';
import { timeOutOverdue } from '../../../workers/deadlines.ts';
import { Lane } from '../../../workers/lane.ts';
import type { LaneHost } from '../../../workers/lane-host.ts';
import type { LoadedHandler } from '../../../workers/load-handler.ts';
import { freeHookOf, STOP_HOOK } from '../../../workers/stop-hook.ts';
import { VirtualClock, type VirtualTime } from '../virtual-time.ts';
import type { Flight, FlightEnd, LoopLog } from './log.ts';
import type { LoopScenario } from './scenario.ts';
import type { Upstream } from './upstream.ts';

/** Ends that are done but not sent wait no longer than this. */
const FLUSH_NS = 5e6;

/** What an item of a loop is to its handler. */
export interface LoopItem {
  readonly index: number;
  readonly idempotent: boolean;
}

/** What a thread needs of the engine that it is of. */
export interface LoopHost {
  readonly scenario: LoopScenario;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly block: ControlBlock;
  readonly limits: readonly PlannedLimit[];
  readonly table: RecoveryTable;
  readonly upstream: Upstream;
  readonly log: LoopLog;
  /** A time up to this, in nanoseconds. */
  upToNs(ms: number): number;
  watchedGate(): Gate;
  /** The thread says something to the main thread. */
  reply(from: LoopThread, reply: Reply): void;
  /** It says to everybody that the gate is closed. */
  broadcast(generation: number, cancels: boolean, from: LoopThread): void;
  /** A request leaves. */
  sent(item: number, from: LoopThread): Flight;
}

const classify: Classify = (settled) =>
  settled.ok && (settled.value as { status: number }).status >= 500 ? 'retry' : undefined;

/** The lane of the engine, on a clock of its own. */
class VirtualLane extends Lane {
  readonly #clock: VirtualClock;

  constructor(thread: LoopThread, port: MessagePort) {
    super(thread, port);
    this.#clock = thread.clock;
  }

  override nowNs(): bigint {
    return this.#clock.nowNs();
  }
}

/** A worker thread in virtual time: the engine's own lanes, and around them what `workers/thread.ts` does. */
export class LoopThread implements LaneHost {
  readonly threadId: number;
  readonly handle: ThreadHandle;
  readonly block: ControlBlock;
  readonly gate: Gate;
  readonly calls: CallCounter;
  readonly waiter: Waiter;
  readonly clock: VirtualClock;
  readonly handler: LoadedHandler;
  readonly classifiers = [classify];
  readonly table;
  readonly timeoutNs: bigint;
  readonly acquireTimeoutNs: bigint;
  readonly cancelsInFlight: boolean;
  readonly obeysQuota = false;
  readonly trace = undefined;
  isDead = false;
  readonly #engine: LoopHost;
  readonly #counters: CircuitCounters | undefined;
  #successes = 0;
  readonly #lanes: Lane[];
  readonly #idle: Lane[];
  readonly #queue: ChunkTask[] = [];
  #isFlushing = false;
  #deadlineTimer: unknown;
  #deadlineTimerNs = 0n;

  constructor(engine: LoopHost, handle: ThreadHandle) {
    const { scenario, block } = engine;
    this.#engine = engine;
    this.handle = handle;
    this.threadId = handle.threadId;
    this.block = block;
    this.gate = engine.watchedGate();
    this.table = engine.table;
    this.calls = new CallCounter(block, handle.place);
    this.clock = new VirtualClock(engine.time, () => engine.upToNs(scenario.lateMs));
    this.waiter = new Waiter(new Limiter(block, engine.limits, this.threadId), this.clock);
    this.#counters = scenario.circuit === null ? undefined : new CircuitCounters(block, scenario.circuit);
    this.timeoutNs = nsFromMs(scenario.timeoutMs);
    this.acquireTimeoutNs = this.timeoutNs;
    this.cancelsInFlight = scenario.mode === 'cancel';
    const traits = { reportsSent: true, isIdempotent: () => true };
    const respond = (item: unknown, context: HandlerContext) => this.#handle(item as LoopItem, context);
    this.handler = { handle: respond, classify, traits, state: undefined };
    const port = { postMessage: (reply: Reply) => engine.reply(this, reply) } as unknown as MessagePort;
    this.#lanes = Array.from({ length: handle.lanes }, () => new VirtualLane(this, port));
    this.#idle = [...this.#lanes];
  }

  /** A chunk has arrived. */
  receive(task: ChunkTask): void {
    if (this.isDead) return;
    this.#queue.push(task);
    while (this.#queue.length > 0) {
      const lane = this.#idle.pop();
      if (lane === undefined) return;
      void this.#serve(lane);
    }
  }

  /** A broadcast has arrived. */
  hear(generation: number, cancels: boolean): void {
    if (!this.isDead) for (const lane of this.#lanes) lane.stopBelow(generation, cancels);
  }

  /** From now on it does nothing. */
  die(): void {
    this.isDead = true;
    this.clock.stop();
  }

  closeGate(generation: number, cause: number, quietMs: number | undefined, nowNs: bigint): void {
    const next = (generation + 1) | 0;
    if (quietMs !== undefined) {
      this.#engine.log.quiet(quietMs);
      this.gate.pauseUntil(nowNs + nsFromMs(quietMs));
    }
    const isKnown = (this.gate.causesOf(next) & cause) !== 0;
    const isFirst = this.gate.close(generation, cause);
    const isFirstRefusal = cause === CAUSE.refused && !isKnown && this.gate.generation === next;
    if (!isFirst && !isFirstRefusal) return;
    const cancels = cause === CAUSE.refused && this.cancelsInFlight;
    this.#engine.broadcast(next, cancels, this);
    this.hear(next, cancels);
  }

  countSuccess(): void {
    if (this.#counters === undefined) return;
    this.#counters.endRow();
    this.#engine.log.counted(0);
    this.#successes++;
  }

  countFailure(record: FailureRecord, generation: number, nowNs: bigint): void {
    if (this.#counters === undefined || !this.table.countsForCircuit(record)) return;
    this.publishCounts(nowNs);
    this.#engine.log.counted(1);
    if (this.#counters.addFailure(nowNs)) this.closeGate(generation, CAUSE.circuit, undefined, nowNs);
  }

  publishCounts(nowNs: bigint): void {
    if (this.#successes > 0) this.#counters?.addSuccesses(this.#successes, nowNs);
    this.#successes = 0;
  }

  flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#after(FLUSH_NS, () => {
      this.#isFlushing = false;
      for (const lane of this.#lanes) {
        const reply = lane.takeEnds();
        if (reply !== undefined) this.#engine.reply(this, reply);
      }
    });
  }

  watchDeadline(deadlineNs: bigint): void {
    if (this.#deadlineTimer !== undefined) {
      if (this.#deadlineTimerNs <= deadlineNs) return;
      this.clock.clearTimer(this.#deadlineTimer);
    }
    this.#deadlineTimerNs = deadlineNs;
    const ms = Number(deadlineNs - this.clock.nowNs()) / 1e6;
    this.#deadlineTimer = this.clock.setTimer(() => this.#timeOut(), Math.max(1, Math.ceil(ms)));
  }

  believeQuota(): undefined {}

  mayRefresh(): boolean {
    return false;
  }

  turn(): undefined {}

  recordWait(): void {}

  recordService(): void {}

  async #serve(lane: Lane): Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) await lane.run(next);
    this.#idle.push(lane);
  }

  #timeOut(): void {
    this.#deadlineTimer = undefined;
    const earliestNs = timeOutOverdue(this.#lanes, this.clock.nowNs());
    if (earliestNs > 0n) this.watchDeadline(earliestNs);
  }

  #after(ns: number, callback: () => void): void {
    this.#engine.time.after(ns, () => {
      if (!this.isDead) callback();
    });
  }

  /** What the HTTP handler does: look at the gate right before the request leaves, and stop when told to. */
  #handle({ index }: LoopItem, context: HandlerContext): Promise<unknown> {
    const engine = this.#engine;
    const { scenario } = engine;
    const hint = scenario.hintMs === 0 ? {} : { retryAfterMs: scenario.hintMs };
    return new Promise((resolve, reject) => {
      const isStubborn = engine.random() < scenario.stubborn;
      let flight: Flight | undefined;
      let isOver = false;
      let stopped: StopError | undefined;
      const end = (how: FlightEnd, deed: () => void) => {
        if (isOver) return;
        isOver = true;
        if (flight !== undefined) engine.log.landed(flight, how);
        deed();
      };
      const stop = (reason: unknown) => {
        const why = reason as StopError;
        stopped = why;
        if (flight === undefined || !isStubborn) end(why.code, () => reject(why));
      };
      const hook = freeHookOf(context);
      if (hook === undefined) throw new Error('The context has no hook.');
      hook[STOP_HOOK] = { onStop: stop };
      this.#after(engine.upToNs(scenario.leaveMs), () => {
        if (isOver) return;
        try {
          context.throwIfStopped();
        } catch (reason) {
          stop(reason);
          return;
        }
        context.sent();
        flight = engine.sent(index, this);
        engine.upstream.send((verdict) => {
          if (this.isDead) return;
          if (verdict !== 'reset') context.answered();
          if (verdict === 'ok') end('ok', () => resolve({ status: 200 }));
          else if (verdict === 'failed') end('failed', () => resolve({ status: 500 }));
          // A rejection of one that was told to stop is taken for that, but a refusal that comes too late is one.
          else if (verdict === 'reset') end(stopped?.code ?? 'failed', () => reject(new ItemError('NETWORK', 'Lost.')));
          else {
            const how = stopped === undefined || stopped.code === 'TIMEOUT' ? 'refused' : stopped.code;
            end(how, () => reject(new RateLimitError(hint)));
          }
        });
      });
    });
  }
}
