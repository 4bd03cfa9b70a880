import type { MessagePort, Worker } from 'node:worker_threads';
import { Batch } from '../../../lib/batch/batch.ts';
import { Dispatcher } from '../../../lib/batch/dispatcher.ts';
import type { GroupReport } from '../../../lib/batch/feeder.ts';
import { Watchdog } from '../../../lib/batch/watchdog.ts';
import { Limiter } from '../../../lib/limit/limiter.ts';
import { type PlannedLimit, planLimits } from '../../../lib/limit/plan.ts';
import { ThreadHandle, type ThreadPool } from '../../../lib/pool/thread-pool.ts';
import type { ChunkTask, Reply } from '../../../lib/protocol.ts';
import { CircuitBreaker } from '../../../lib/recover/circuit-breaker.ts';
import { Credentials } from '../../../lib/recover/credentials.ts';
import { Recovery } from '../../../lib/recover/recovery.ts';
import { RecoveryTable } from '../../../lib/recover/recovery-table.ts';
import { SuccessRate } from '../../../lib/recover/success-rate.ts';
import { CircuitCounters } from '../../../lib/shared/circuit-counters.ts';
import { type ControlBlock, createControlBlock } from '../../../lib/shared/control-block.ts';
import { Gate } from '../../../lib/shared/gate.ts';
import { type Random, seededRandom } from '../../../lib/simulator/random.ts';
import { VirtualClock, VirtualTime } from '../virtual-time.ts';
import { type Flight, LoopLog } from './log.ts';
import type { LoopScenario } from './scenario.ts';
import { type LoopHost, type LoopItem, LoopThread } from './thread.ts';
import { Upstream } from './upstream.ts';

const START_NS = 1_000_000_000_000;
const TICK_MS = 50;
const GRACE_MS = 100;
/** Far more than any of these loops needs. */
const MAX_EVENTS = 400_000;
/** What was promised to somebody, over as many steps as there are, reaches them before anything else happens. */
const STEPS_PER_EVENT = 16;

/** Tells of each close, whoever does it. */
class WatchedGate extends Gate {
  readonly #onClose: (generation: number) => void;

  constructor(block: ControlBlock, onClose: (generation: number) => void) {
    super(block);
    this.#onClose = onClose;
  }

  override close(generation: number, causes?: number): boolean {
    const isFirst = super.close(generation, causes);
    this.#onClose(generation);
    return isFirst;
  }
}

/**
 * An engine in virtual time: the dispatcher, the batch, the recovery, the circuit breaker and the lanes are those that
 * are shipped. Played are the threads (a queue of messages with delays in between), their deaths, and the network.
 */
export class LoopEngine implements LoopHost {
  readonly scenario: LoopScenario;
  readonly time = new VirtualTime(BigInt(START_NS));
  readonly random: Random;
  readonly limits: readonly PlannedLimit[];
  readonly block: ControlBlock;
  readonly table = new RecoveryTable([]);
  readonly upstream: Upstream;
  readonly log: LoopLog;
  readonly #rate = new SuccessRate();
  readonly #main: Limiter;
  readonly #counters: CircuitCounters | undefined;
  readonly #breaker: CircuitBreaker | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #recovery: Recovery;
  readonly #watchdog: Watchdog;
  readonly #threads: LoopThread[] = [];
  /** When the last message between the main thread and each thread arrives, in each direction: none passes another. */
  readonly #arrivals = new Map<string, number>();
  readonly #batch: Batch;
  #lastThreadId = 0;
  #isOver = false;
  #retryDueMs = Number.POSITIVE_INFINITY;

  constructor(scenario: LoopScenario) {
    this.scenario = scenario;
    this.random = seededRandom(scenario.seed);
    this.upstream = new Upstream(scenario, this.time, this.random);
    this.log = new LoopLog(scenario.items, () => this.#nowMs);
    const { arrivalWithinMs, ...limit } = scenario.limit;
    this.limits = planLimits([{ ...limit, arrivalWithinMs: arrivalWithinMs ?? Number.POSITIVE_INFINITY }]);
    const lanes = scenario.threads * scenario.lanes;
    this.block = createControlBlock({
      tokens: this.limits.map(({ tokens }) => tokens),
      slots: 2 * lanes,
      threads: scenario.threads,
    });
    this.#main = new Limiter(this.block, this.limits, 0);
    this.#main.fill(BigInt(START_NS));
    const nowMs = () => this.#nowMs;
    this.#counters = scenario.circuit === null ? undefined : new CircuitCounters(this.block, scenario.circuit);
    this.#breaker =
      scenario.circuit === null || this.#counters === undefined
        ? undefined
        : new CircuitBreaker({
            rules: scenario.circuit,
            counters: this.#counters,
            nowMs,
            onChange: (_, to) => this.log.circuitChanged(to),
          });
    this.#dispatcher = new Dispatcher({
      block: this.block,
      lanes,
      reserve: Math.max(1, Math.ceil(lanes / 2)),
      timeoutMs: scenario.timeoutMs,
      nowMs,
      successRate: this.#rate,
      tracer: undefined,
      credentials: () => undefined,
      countsForCircuit: (record) => this.table.countsForCircuit(record),
      onTimeout: (isProbe) => this.#onTimeout(isProbe),
      onProbe: (result) => this.#recovery.onProbe(result),
      onBatchOver: () => {
        this.#isOver = true;
      },
    });
    this.#dispatcher.attach(this.#pool());
    this.#recovery = this.#makeRecovery(nowMs);
    this.#watchdog = new Watchdog({ timeoutMs: scenario.timeoutMs, killGraceMs: GRACE_MS, tickMs: TICK_MS });
    this.#batch = this.#makeBatch(nowMs);
  }

  /** Let all of it happen. */
  async run(): Promise<{ readonly log: LoopLog; readonly items: readonly LoopItem[] }> {
    const { scenario } = this;
    for (let place = 0; place < scenario.threads; place++) this.#startThread(place);
    for (const deathMs of scenario.deathsMs) this.time.after(deathMs * 1e6, () => this.#killOne());
    const items = Array.from({ length: scenario.items }, (_, index): LoopItem => {
      return { index, idempotent: this.random() >= scenario.once };
    });
    this.#batch.fill(items);
    this.#dispatcher.add(this.#batch);
    this.#recovery.admit(this.#batch);
    this.#dispatcher.endIfDone(this.#batch);
    this.#tick();
    await this.time.run(MAX_EVENTS, STEPS_PER_EVENT);
    const restNs = this.limits.reduce((sum, { windowNs, straggleNs }) => sum + windowNs + 2n * straggleNs, 0n);
    this.log.countedNs = this.upstream.countedNs;
    this.log.refusedByLimit = this.upstream.refusedByLimit;
    this.log.waiting = this.#threads.reduce((sum, { isDead, waiter }) => sum + (isDead ? 0 : waiter.size), 0);
    this.log.chunks = [...this.#dispatcher.chunks].length;
    this.log.free = this.#main.buckets[0]?.countFree(this.time.nowNs + restNs) ?? -1;
    return { log: this.log, items };
  }

  /** A time up to this, in nanoseconds. */
  upToNs(ms: number): number {
    return Math.floor(this.random() * ms * 1e6);
  }

  watchedGate(): Gate {
    return new WatchedGate(this.block, (generation) => this.log.closed(generation));
  }

  /** A thread says something to the main thread. It arrives even if the thread dies in the meantime. */
  reply(from: LoopThread, reply: Reply): void {
    this.#deliver(`from ${from.threadId}`, () => {
      this.#recovery.notice();
      this.#dispatcher.onReply(from.handle, reply);
    });
  }

  /** What the first who closes the gate says to everybody else, and the main thread after it. */
  broadcast(generation: number, cancels: boolean, from?: LoopThread): void {
    for (const thread of this.#threads) {
      if (thread !== from) this.#after(this.scenario.messageMs, () => thread.hear(generation, cancels));
    }
    if (from === undefined) return;
    this.#after(this.scenario.messageMs, () => this.#recovery.notice());
    this.#deliver(`from ${from.threadId}`, () => this.#recovery.notice());
  }

  /** A request leaves. */
  sent(item: number, thread: LoopThread): Flight {
    const flight: Flight = { item, threadId: thread.threadId };
    this.log.sent(flight, this.#breaker?.state === 'half-open');
    return flight;
  }

  get #nowMs(): number {
    return (this.time.now - START_NS) / 1e6;
  }

  #after(ms: number, callback: () => void): void {
    this.time.after(this.upToNs(ms), callback);
  }

  #deliver(way: string, callback: () => void): void {
    const atNs = Math.max(this.#arrivals.get(way) ?? 0, this.time.now + this.upToNs(this.scenario.messageMs));
    this.#arrivals.set(way, atNs);
    this.time.after(atNs - this.time.now, callback);
  }

  #pool(): ThreadPool {
    const ready = () => this.#threads.map(({ handle }) => handle).filter(({ state }) => state === 'ready');
    return {
      get ready() {
        return ready();
      },
      send: (task: ChunkTask, handle: ThreadHandle) => {
        const thread = this.#threads.find((one) => one.handle === handle);
        this.#deliver(`to ${handle.threadId}`, () => thread?.receive(task));
        return ++handle.posted;
      },
    } as unknown as ThreadPool;
  }

  #makeRecovery(nowMs: () => number): Recovery {
    const { scenario } = this;
    const clock = new VirtualClock(this.time, () => this.upToNs(scenario.lateMs));
    const timers = new WeakMap<object, unknown>();
    return new Recovery({
      gate: this.watchedGate(),
      dispatcher: this.#dispatcher,
      rules: scenario.retry,
      mode: scenario.mode,
      timeoutMs: scenario.timeoutMs,
      cancelGraceMs: GRACE_MS,
      stretch: () => this.#rate.stretch,
      breaker: this.#breaker,
      credentials: new Credentials({ initial: {}, refresh: undefined, timeoutMs: 1, onSettled: () => {} }),
      events: {
        rateLimited: () => {},
        paused: (event) => this.log.paused(event, this.#rate.stretch),
        resumed: ({ generation }) => this.log.resumed(generation),
      },
      clock: {
        nowMs,
        nowNs: () => this.time.nowNs,
        setTimer: (callback, ms) => {
          const timer = { ref: () => {}, unref: () => {} };
          timers.set(timer, clock.setTimer(callback, ms));
          return timer;
        },
        clearTimer: (timer) => clock.clearTimer(timers.get(timer)),
      },
      random: this.random,
      broadcast: (generation, cancels) => this.broadcast(generation, cancels),
      kill: (handle, because) => this.#kill(handle, because),
    });
  }

  #makeBatch(nowMs: () => number): Batch {
    const { scenario } = this;
    const dynamic = scenario.groups;
    return new Batch({
      id: 1,
      rules: scenario.retry,
      idempotent: undefined,
      sink: { put: (outcome) => this.log.put(outcome), end: () => {} },
      hasLimits: true,
      nowMs,
      random: this.random,
      table: this.table,
      locale: 'en',
      stretch: () => this.#rate.stretch,
      onProgress: undefined,
      progressInterval: undefined,
      groups: dynamic === null ? undefined : { size: dynamic.minSize, delayMs: dynamic.minDelayMs, dynamic },
      onGroup: (group: GroupReport) => this.log.groups.push({ ...group, atMs: this.#nowMs }),
      onMilestone: () => {},
      onWait: (delayMs) => this.#scheduleRetry(delayMs),
      onWork: (batch) => this.#dispatcher.noteWork(batch),
      onRetry: (_entry, _record, delayMs) => this.#scheduleRetry(delayMs),
      onFailure: () => {},
    });
  }

  #scheduleRetry(delayMs: number): void {
    const dueMs = this.#nowMs + delayMs;
    if (dueMs >= this.#retryDueMs) return;
    this.#retryDueMs = dueMs;
    this.time.after(Math.ceil(delayMs) * 1e6 + this.upToNs(this.scenario.lateMs), () => {
      this.#retryDueMs = Number.POSITIVE_INFINITY;
      this.#batch.releaseDue();
      const nextMs = this.#isOver ? undefined : this.#batch.nextDueMs;
      if (nextMs !== undefined) this.#scheduleRetry(Math.max(0, nextMs - this.#nowMs));
      this.#dispatcher.pump();
    });
  }

  #tick(): void {
    this.#recovery.notice();
    for (const [handle, because] of this.#watchdog.look(this.#dispatcher.chunks, this.time.nowNs)) {
      this.#kill(handle, because);
    }
    this.#recovery.enforceBarrier();
    this.#dispatcher.stealTails();
    // A batch that is over may have left handlers that never come back.
    if (!this.#dispatcher.isIdle) this.time.after(TICK_MS * 1e6, () => this.#tick());
  }

  #onTimeout(isProbe: boolean): void {
    if (isProbe) this.#recovery.onProbe('failure');
    else if (this.#counters !== undefined) {
      this.log.counted(1);
      if (this.#counters.addFailure(this.time.nowNs)) this.#recovery.trip();
    }
  }

  #startThread(place: number): void {
    const threadId = ++this.#lastThreadId;
    const vacancy = { lanes: this.scenario.lanes, place };
    const handle = new ThreadHandle({ threadId } as Worker, {} as MessagePort, vacancy);
    const thread = new LoopThread(this, handle);
    this.#threads.push(thread);
    this.#after(this.scenario.messageMs, () => {
      if (handle.state === 'starting') handle.state = 'ready';
      this.#dispatcher.pump();
    });
  }

  #killOne(): void {
    const thread = this.#threads.find(({ isDead }) => !isDead);
    if (thread === undefined || this.#dispatcher.isIdle) return;
    this.log.deaths++;
    this.#die(thread);
  }

  #kill(handle: ThreadHandle, because: string): void {
    const thread = this.#threads.find((one) => one.handle === handle);
    if (thread === undefined || handle.state === 'dying' || handle.state === 'gone') return;
    handle.state = 'dying';
    handle.killedBecause = because;
    this.log.kills++;
    if (!thread.isDead) this.#after(this.scenario.messageMs, () => this.#die(thread));
  }

  /** The thread stops; the main thread hears of it, and when everything that it has sent has arrived, it is gone. */
  #die(thread: LoopThread): void {
    if (thread.isDead) return;
    thread.die();
    const { handle } = thread;
    this.#after(this.scenario.messageMs, () => {
      if (handle.state !== 'gone') handle.state = 'dying';
      handle.cause ??= { name: 'Error', message: 'The worker thread exited.' };
      this.#main.reclaim(handle.threadId, this.time.nowNs);
      this.#deliver(`from ${handle.threadId}`, () => {
        handle.state = 'gone';
        this.log.lost(thread.threadId);
        this.#recovery.notice();
        this.#dispatcher.onThreadGone(handle);
        if (!this.#isOver) this.#startThread(handle.place);
      });
    });
  }
}

/** Let a client do all items of a scenario. */
export function runLoop(scenario: LoopScenario): ReturnType<LoopEngine['run']> {
  return new LoopEngine(scenario).run();
}
