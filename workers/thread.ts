import { BroadcastChannel, type MessagePort, threadId } from 'node:worker_threads';
import { Limiter } from '../lib/limit/limiter.ts';
import { nsFromMs } from '../lib/limit/plan.ts';
import { Waiter } from '../lib/limit/waiter.ts';
import type { Broadcast, ChunkTask, ThreadMessage, ThreadSetup } from '../lib/protocol.ts';
import type { FailureRecord } from '../lib/recover/error-record.ts';
import { RecoveryTable } from '../lib/recover/recovery-table.ts';
import { CallCounter } from '../lib/shared/call-ring.ts';
import { CircuitCounters } from '../lib/shared/circuit-counters.ts';
import { type ControlBlock, openControlBlock } from '../lib/shared/control-block.ts';
import { CAUSE, Gate } from '../lib/shared/gate.ts';
import { GateCloser } from '../lib/shared/gate-closer.ts';
import { recordMs } from '../lib/shared/latency.ts';
import { TraceCells } from '../lib/shared/trace-cells.ts';
import type { Classify } from '../lib/types.ts';
import { timeOutOverdue } from './deadlines.ts';
import { Lane } from './lane.ts';
import type { LaneHost } from './lane-host.ts';
import type { LoadedHandler } from './load-handler.ts';
import { postReplies } from './reply-buffer.ts';

/** Lanes give the event loop a turn at least this often, so that broadcasts, timers and sockets are served. */
const TURN_NS = 2_000_000n;
/** Ends that are done but not sent wait no longer than this for the rest of their chunk: half of what one aims at. */
const FLUSH_MS = 8;

/** This worker thread: its lanes, its queue of chunks, its place in the engine. */
export class Thread implements LaneHost {
  readonly threadId = threadId;
  readonly block: ControlBlock;
  readonly gate: Gate;
  readonly calls: CallCounter;
  readonly waiter: Waiter | undefined;
  readonly handler: LoadedHandler;
  readonly classifiers: readonly Classify[];
  readonly table: RecoveryTable;
  readonly obeysQuota: boolean;
  readonly timeoutNs: bigint;
  readonly acquireTimeoutNs: bigint;
  readonly cancelsInFlight: boolean;
  readonly trace: TraceCells | undefined;
  readonly #setup: ThreadSetup;
  readonly #port: MessagePort;
  readonly #channel: BroadcastChannel;
  readonly #lanes: Lane[];
  readonly #idle: Lane[];
  readonly #gateCloser: GateCloser;
  readonly #circuit: CircuitCounters | undefined;
  /** Successes that the other threads do not know of yet. */
  #successes = 0;
  readonly #queue: ChunkTask[] = [];
  #turnDueNs = 0n;
  #turn: Promise<void> | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #deadlineTimerNs = 0n;

  constructor(setup: ThreadSetup, port: MessagePort, handler: LoadedHandler) {
    this.#setup = setup;
    this.#port = port;
    this.handler = handler;
    this.classifiers = [handler.classify, handler.traits.classify].filter((classify) => classify !== undefined);
    this.table = new RecoveryTable(setup.recovery);
    this.obeysQuota = setup.obeysQuota;
    this.block = openControlBlock(setup.buffer, setup.layout);
    this.gate = new Gate(this.block);
    this.calls = new CallCounter(this.block, setup.place);
    this.#circuit = setup.circuit && new CircuitCounters(this.block, setup.circuit);
    this.waiter = setup.limits.length > 0 ? new Waiter(new Limiter(this.block, setup.limits, threadId)) : undefined;
    this.timeoutNs = nsFromMs(setup.timeoutMs);
    this.acquireTimeoutNs = nsFromMs(setup.acquireTimeoutMs);
    this.cancelsInFlight = setup.onRateLimit === 'cancel';
    this.trace = setup.trace && new TraceCells(setup.trace);
    this.#gateCloser = new GateCloser(this.gate, this.cancelsInFlight, (...news) => this.#tellAll(...news));
    this.#lanes = Array.from({ length: setup.lanes }, () => new Lane(this, port));
    this.#idle = [...this.#lanes];
    this.#channel = new BroadcastChannel(setup.channel);
    this.#channel.onmessage = (event) => this.#hear((event as { data: Broadcast }).data);
  }

  /** Work on a chunk, now or when a lane is free. */
  execute(chunk: ChunkTask): void {
    this.#queue.push(chunk);
    this.#startLanes();
  }

  /**
   * Give idle lanes what waits for one. Not while a turn is awaited: then a lane has items that wait for nothing, and more
   * lanes would make no item end earlier, but each chunk later.
   */
  #startLanes(): void {
    while (this.#turn === undefined && this.#queue.length > 0) {
      const lane = this.#idle.pop();
      if (lane === undefined) return;
      this.#serve(lane);
    }
  }

  /**
   * Work on chunk after chunk with this lane. One whose items wait for nothing has nothing between it and the next, not
   * even a turn of the microtask queue: other lanes would begin there, and only make each chunk take longer.
   */
  #serve(lane: Lane): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const running = lane.run(next, () => {
        if (this.#mayGoOn(lane)) this.#serve(lane);
      });
      running?.catch(crash);
      if (running !== undefined || !this.#mayGoOn(lane)) return;
    }
    this.#idle.push(lane);
  }

  /** Between two chunks. If it is time for a turn of the event loop, the lane goes on after it. */
  #mayGoOn(lane: Lane): boolean {
    const turn = this.turn(process.hrtime.bigint());
    turn?.then(() => this.#serve(lane)).catch(crash);
    return turn === undefined;
  }

  /** One turn of the event loop, shared by all lanes that wait for it; undefined if the last one is not long ago. */
  turn(nowNs: bigint): Promise<void> | undefined {
    // Many chunks may arrive in one turn, so that their arrival says nothing of when the last one was.
    if (nowNs < this.#turnDueNs) return this.#turn;
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turnDueNs = process.hrtime.bigint() + TURN_NS;
        this.#turn = undefined;
        resolve();
        // After the lanes that were waiting: they go on first.
        queueMicrotask(() => this.#startLanes());
      });
    });
    return this.#turn;
  }

  closeGate(generation: number, cause: number, quietMs: number | undefined, nowNs: bigint): void {
    this.#gateCloser.close(generation, cause, quietMs === undefined ? undefined : nowNs + nsFromMs(quietMs));
  }

  believeQuota(quotaResetMs: number | undefined, ignoredHints = 0): number | undefined {
    const isTooLong = quotaResetMs !== undefined && quotaResetMs > this.#setup.maxRetryAfterMs;
    const ignored = ignoredHints + (isTooLong ? 1 : 0);
    if (ignored > 0) this.gate.ignoreHints(ignored);
    return isTooLong ? undefined : quotaResetMs;
  }

  mayRefresh(record: FailureRecord, refreshes: number): boolean {
    const { canRefresh, maxAttempts } = this.#setup;
    // Its last attempt would get nothing from them, and asking may be dear.
    return canRefresh && refreshes + 1 < (this.table.find(record).rule.maxAttempts ?? maxAttempts);
  }

  countSuccess(): void {
    if (this.#circuit === undefined) return;
    this.#circuit.endRow();
    this.#successes++;
  }

  countFailure(record: FailureRecord, generation: number, nowNs: bigint): void {
    const circuit = this.#circuit;
    if (circuit === undefined || !this.table.countsForCircuit(record, this.#setup.circuit?.countRateLimits)) return;
    this.publishCounts(nowNs);
    if (circuit.addFailure(nowNs)) this.closeGate(generation, CAUSE.circuit, undefined, nowNs);
  }

  /** Successes are told chunk by chunk: for one item, what others must see at once is only that a row has ended. */
  publishCounts(nowNs: bigint): void {
    if (this.#successes === 0) return;
    this.#circuit?.addSuccesses(this.#successes, nowNs);
    this.#successes = 0;
  }

  /** Let a lane's finished ends be sent soon, if its chunk takes long. */
  flushSoon(): void {
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      const replies = this.#lanes.map((lane) => lane.takeEnds()).filter((reply) => reply !== undefined);
      postReplies(this.#port, replies);
    }, FLUSH_MS);
  }

  /** See to it that the lane with this deadline is told when it has passed. One timer serves all lanes. */
  watchDeadline(deadlineNs: bigint): void {
    if (this.#deadlineTimer !== undefined) {
      // Nearly always: all attempts have the same time, so the timer of an older one is early enough.
      if (this.#deadlineTimerNs <= deadlineNs) return;
      clearTimeout(this.#deadlineTimer);
    }
    this.#deadlineTimerNs = deadlineNs;
    const ms = Number(deadlineNs - process.hrtime.bigint()) / 1e6;
    this.#deadlineTimer = setTimeout(() => this.#timeOut(), Math.min(Math.max(1, Math.ceil(ms)), 2 ** 31 - 1));
  }

  recordWait(waitNs: bigint): void {
    recordMs(this.#setup.waitUs, Number(waitNs) / 1e6);
  }

  recordService(durationMs: number): void {
    recordMs(this.#setup.serviceUs, durationMs);
  }

  #timeOut(): void {
    this.#deadlineTimer = undefined;
    const earliestNs = timeOutOverdue(this.#lanes, process.hrtime.bigint());
    if (earliestNs > 0n) this.watchDeadline(earliestNs);
  }

  #tellAll(generation: number, cancels: boolean): void {
    this.#channel.postMessage({ kind: 'gate', generation, cancels } satisfies Broadcast);
    this.#port.postMessage({ kind: 'limited', generation } satisfies ThreadMessage);
    // A channel does not deliver to its own sender.
    this.#stopBelow(generation, cancels);
  }

  #hear(message: Broadcast): void {
    if (message.kind === 'gate') this.#stopBelow(message.generation, message.cancels);
    else for (const lane of this.#lanes) lane.stopBatch(message.batch);
  }

  #stopBelow(generation: number, cancels: boolean): void {
    for (const lane of this.#lanes) lane.stopBelow(generation, cancels);
  }
}

/** A fault of ours must not leave a chunk without an answer: end the thread, and the main thread sees to its items. */
function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
