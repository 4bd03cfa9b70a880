import type { MessagePort } from 'node:worker_threads';
import type { Grant } from '../lib/limit/limiter.ts';
import { Ticket, type Waiter } from '../lib/limit/waiter.ts';
import { type ChunkTask, END, NOT_IDEMPOTENT } from '../lib/protocol.ts';
import { judge } from '../lib/recover/classify.ts';
import { type FailureRecord, read } from '../lib/recover/error-record.ts';
import type { RecoveryTable } from '../lib/recover/recovery-table.ts';
import { abortedRecord, starvedRecord, timeoutRecord, uncloneableRecord } from '../lib/recover/stop-records.ts';
import type { CallCounter } from '../lib/shared/call-ring.ts';
import type { ControlBlock } from '../lib/shared/control-block.ts';
import { CAUSE, type Gate } from '../lib/shared/gate.ts';
import { WORK } from '../lib/shared/layout.ts';
import type { TraceCells } from '../lib/shared/trace-cells.ts';
import { WorkSlot } from '../lib/shared/work-slot.ts';
import type { Classify, Settled } from '../lib/types.ts';
import { Attempt, type AttemptHost, type StopReason } from './attempt.ts';
import { AttemptTimes } from './attempt-times.ts';
import { isTooDeep, MAX_DEPTH } from './depth.ts';
import type { LoadedHandler } from './load-handler.ts';
import { ReplyBuffer } from './reply-buffer.ts';
import type { HandlerTraits } from './traits.ts';

/** A chunk that takes longer than this gives back what it has not started, so that idle lanes elsewhere can do it. */
const CHUNK_BUDGET_NS = 8_000_000n;

/** What a lane needs of its thread. */
export interface LaneHost {
  readonly threadId: number;
  readonly block: ControlBlock;
  readonly gate: Gate;
  /** The calls of this thread, second by second. */
  readonly calls: CallCounter;
  readonly waiter: Waiter | undefined;
  readonly handler: LoadedHandler;
  readonly classifiers: readonly Classify[];
  readonly table: RecoveryTable;
  readonly timeoutNs: bigint;
  /** Longest wait for a further token. */
  readonly acquireTimeoutNs: bigint;
  /** Whether a rate-limit event aborts what is in flight. */
  readonly cancelsInFlight: boolean;
  /** Where every request is noted, if there is a trace. */
  readonly trace: TraceCells | undefined;
  /** Is there sense in new credentials for an item that has got some so often already? */
  mayRefresh(record: FailureRecord, refreshes: number): boolean;
  /** Something happened to a request of this generation after which no further one may start. */
  closeGate(generation: number, cause: number, quietMs: number | undefined, nowNs: bigint): void;
  /** The upstream says that its quota is used up for so long. Returns that, if it can be believed. */
  believeQuota(quotaResetMs: number | undefined, ignoredHints: number | undefined): number | undefined;
  /** An answer that says so closes the gate. */
  readonly obeysQuota: boolean;
  /** For the circuit breaker. */
  countSuccess(): void;
  countFailure(record: FailureRecord, generation: number, nowNs: bigint): void;
  /** The lane is done with a chunk. */
  publishCounts(nowNs: bigint): void;
  /** Let finished ends be sent soon, if the chunk takes long. */
  flushSoon(): void;
  /** Call `timeOut` when this deadline has passed and still stands. */
  watchDeadline(deadlineNs: bigint): void;
  recordWait(waitNs: bigint): void;
  recordService(serviceNs: bigint): void;
}

/** Works on one item at a time. */
export class Lane implements AttemptHost {
  readonly #thread: LaneHost;
  readonly #port: MessagePort;
  #chunk: ChunkTask | undefined;
  #slot: WorkSlot | undefined;
  #reply: ReplyBuffer | undefined;
  #attempt: Attempt | undefined;
  #ticket: Ticket | undefined;
  /** Set while the item in work waits for its tokens and was told to stop. */
  #stoppedWaiting: StopReason | undefined;
  #isIdempotent = true;
  #refreshes = 0;
  /** When the attempt in work has had its time; 0 while there is none. */
  deadlineNs = 0n;
  #pausedDeadlineNs = 0n;
  /** The attempt in work waits for a further token. */
  #isAcquiring = false;
  /** When the last item ended. */
  #lastEndNs = 0n;

  constructor(thread: LaneHost, port: MessagePort) {
    this.#thread = thread;
    this.#port = port;
  }

  get waiter() {
    return this.#thread.waiter;
  }

  nowNs(): bigint {
    return process.hrtime.bigint();
  }

  mustStop(isSent: boolean): boolean {
    if (this.#isGateOpen()) return false;
    // Nothing was sent: nothing is lost by stopping. Otherwise only what may run twice, and only if told to cancel. Of a
    // handler that does not report what it sends nobody knows if it has.
    const isUntouched = this.#thread.handler.traits.reportsSent && !isSent;
    return isUntouched || (this.#isIdempotent && this.#thread.cancelsInFlight);
  }

  #isGateOpen(): boolean {
    return this.#chunk !== undefined && this.#thread.gate.isOpenFor(this.#chunk.generation);
  }

  onSent(which: 'first' | 'further', nowNs: bigint): void {
    const slot = this.#slot;
    if (slot === undefined) return;
    const isCounted = which === 'first' && (slot.work & WORK.sent) !== 0;
    slot.work |= WORK.sent;
    // So were the first request of a handler that need not say when it sends, and one that was about to leave.
    if (!isCounted) this.#countCall(slot, nowNs);
  }

  #countCall(slot: WorkSlot, nowNs: bigint): void {
    slot.countSent();
    this.#thread.calls.count(nowNs);
  }

  onWaiting(): void {
    this.#isAcquiring = true;
    this.#pausedDeadlineNs = this.deadlineNs;
    // Not for ever: handlers that hold an unanswered token while they wait for a further one can starve each other.
    this.#setDeadline(this.nowNs() + this.#thread.acquireTimeoutNs);
  }

  onWaited(waitedNs: bigint): void {
    // One that was told that its time is up stays so.
    if (this.#attempt !== undefined && Attempt.stopReason(this.#attempt) === 'TIMEOUT') return;
    this.#isAcquiring = false;
    if (this.#attempt !== undefined) this.#setDeadline(this.#pausedDeadlineNs + waitedNs);
  }

  /** Send the ends that are done but not yet sent, for a chunk that has met a slow item. */
  flush(): void {
    if (this.#reply?.isPending) this.#reply.flush();
  }

  /** The gate was closed: stop what has not started of any generation below this one, and maybe what is in flight. */
  stopBelow(generation: number, cancels: boolean): void {
    const chunk = this.#chunk;
    if (chunk === undefined || ((chunk.generation - generation) | 0) >= 0) return;
    if (this.#attempt === undefined) this.#stopWaiting('CANCELLED');
    else if (this.#isIdempotent && cancels) Attempt.stop(this.#attempt, 'CANCELLED');
  }

  /** The user aborted a batch. */
  stopBatch(batch: number): void {
    if (this.#chunk?.batch !== batch) return;
    if (this.#attempt === undefined) this.#stopWaiting('ABORTED');
    else Attempt.stop(this.#attempt, 'ABORTED');
  }

  /** The attempt in work has had its time. */
  timeOut(): void {
    if (this.#attempt === undefined) return;
    if (this.#slot !== undefined) this.#slot.work |= WORK.toldTimeout;
    Attempt.stop(this.#attempt, 'TIMEOUT');
  }

  #stopWaiting(reason: StopReason): void {
    if (this.#ticket === undefined) return;
    this.#stoppedWaiting = reason;
    this.waiter?.cancel(this.#ticket);
  }

  /** Work on a chunk until it is done, closed, over its budget, or the gate is closed. */
  async run(chunk: ChunkTask): Promise<void> {
    const reply = new ReplyBuffer(this.#port, chunk.id, this.#thread.trace !== undefined);
    const slot = new WorkSlot(this.#thread.block, chunk.slot);
    this.#chunk = chunk;
    this.#slot = slot;
    this.#reply = reply;
    const count = chunk.items.length;
    const { gate } = this.#thread;
    const startedNs = this.nowNs();
    this.#lastEndNs = startedNs;
    for (let position = 0; position < count; position++) {
      if (!gate.isOpenFor(chunk.generation)) break;
      if (this.#lastEndNs - startedNs > CHUNK_BUDGET_NS) break;
      if (!slot.claim(position)) break;
      await this.#runItem(chunk, slot, reply, position);
      if (count > 1 && reply.isPending) this.#thread.flushSoon();
    }
    this.#chunk = undefined;
    this.#slot = undefined;
    this.#reply = undefined;
    const endedNs = this.nowNs();
    this.#thread.publishCounts(endedNs);
    reply.flush(true, Number(endedNs - startedNs) / 1e6);
  }

  async #runItem(chunk: ChunkTask, slot: WorkSlot, reply: ReplyBuffer, position: number): Promise<void> {
    const { handler, timeoutNs, trace } = this.#thread;
    const item = chunk.items[position];
    const isIdempotent = mayRunTwice(item, chunk, handler.traits);
    this.#isIdempotent = isIdempotent;
    this.#refreshes = chunk.refreshes?.[position] ?? 0;
    const marks = isIdempotent ? WORK.idempotent : 0;
    slot.work = WORK.waiting | marks;

    const askedNs = this.nowNs();
    let startNs = askedNs;
    let grant: Grant | undefined;
    if (this.waiter !== undefined) {
      this.#stoppedWaiting = undefined;
      let got: Grant | Ticket | undefined = this.waiter.acquire(askedNs);
      if (got instanceof Ticket) {
        this.#ticket = got;
        got = await got.granted;
        this.#ticket = undefined;
        startNs = this.nowNs();
      }
      grant = got;
      // The gate may have closed between the grant and this moment, or the lane was told to stop just after the grant (a
      // lane that leaves the queue lets the next one in): nothing was sent, so the token is as it was.
      if (grant === undefined || this.#stoppedWaiting !== undefined || !this.#isGateOpen()) {
        if (grant !== undefined) {
          grant.giveBack();
          this.waiter.look();
        }
        const end = this.#stoppedWaiting === 'ABORTED' ? END.aborted : END.notStarted;
        const waitedMs = Number(startNs - askedNs) / 1e6;
        reply.add(end, end === END.aborted ? abortedRecord(false) : undefined, waitedMs, 0);
        slot.work = 0;
        return;
      }
      this.#thread.recordWait(startNs - askedNs);
    }

    const times = trace && new AttemptTimes(trace, chunk.slot, position);
    const attempt = new Attempt(
      this,
      chunk.indices?.[position] ?? chunk.first + position,
      chunk.attempts?.[position] ?? 1,
      this.#thread.threadId,
      handler.state,
      chunk.credentials,
      grant,
      times,
      startNs,
    );
    this.#attempt = attempt;
    this.#isAcquiring = false;
    const { reportsSent } = handler.traits;
    if (!reportsSent) this.#countCall(slot, startNs);
    slot.work = WORK.called | marks | (reportsSent ? 0 : WORK.sent);
    this.#setDeadline(startNs + timeoutNs);

    let settled: Settled;
    try {
      const returned = handler.handle(item, attempt);
      const value = isThenable(returned) ? await returned : returned;
      settled = { ok: true, value, item, attempt: attempt.attempt };
    } catch (error) {
      settled = { ok: false, error, item, attempt: attempt.attempt };
    }

    const endNs = this.nowNs();
    this.#lastEndNs = endNs;
    this.#attempt = undefined;
    this.#thread.recordService(endNs - startNs);
    const { end, value } = this.#judge(settled, attempt, chunk, endNs);
    // Not before: a classifier that never comes back is a case for the watchdog, too.
    this.#setDeadline(0n);
    // One that was stopped before it was sent was never in flight.
    if (end === END.cancelled && (Attempt.isSent(attempt) || !reportsSent)) slot.countCancelled();
    if (end === END.refused) slot.countRefused();
    reply.add(
      isIdempotent ? end : end | NOT_IDEMPOTENT,
      value,
      Number(startNs - askedNs) / 1e6,
      Number(endNs - startNs) / 1e6,
      times,
    );
    // What must not run twice is reported before anything else happens: if this thread dies, its end is known.
    if (!isIdempotent) reply.flush();
    // An end that is not reported is lost with this thread, and must not look like an item that never began.
    slot.work = reply.isPending ? WORK.ended : 0;
  }

  /** Settle the tokens and say how the attempt ended. */
  #judge(settled: Settled, attempt: Attempt, chunk: ChunkTask, endNs: bigint): { end: number; value: unknown } {
    const thread = this.#thread;
    const { reportsSent } = thread.handler.traits;
    const isSent = Attempt.isSent(attempt) || !reportsSent;
    const stopReason = Attempt.stopReason(attempt);

    if (!settled.ok && stopReason !== undefined) {
      this.#settle(attempt, reportsSent && !Attempt.isSent(attempt) ? 'notSent' : 'abandoned', endNs);
      if (stopReason === 'CANCELLED') return { end: END.cancelled, value: undefined };
      if (stopReason === 'ABORTED') return { end: END.aborted, value: abortedRecord(isSent) };
      if (this.#isAcquiring) {
        return { end: END.retry, value: starvedRecord(Number(thread.acquireTimeoutNs) / 1e6, isSent) };
      }
      const record = timeoutRecord(Number(thread.timeoutNs) / 1e6, isSent);
      this.#countFailure(record, chunk, endNs);
      return { end: END.retry, value: record };
    }

    const notSent = !settled.ok && ((reportsSent && !isSent) || read(settled.error, 'notSent') === true);
    const judgement = judge(settled, thread.classifiers, isSent && !notSent, thread.table);
    const isAnswer = settled.ok
      ? judgement.verdict === 'ok' || !isGatewayWord(settled.value)
      : judgement.verdict === 'rate-limit';
    this.#settle(attempt, isAnswer ? 'answered' : notSent ? 'notSent' : 'abandoned', endNs);

    const quietMs = thread.believeQuota(judgement.quotaResetMs, judgement.ignoredHints);
    if (judgement.verdict === 'rate-limit') {
      const { record } = judgement;
      // The hints of a refusal always count. The draft of the RateLimit fields: Retry-After takes precedence.
      if (record.retryAfterMs === undefined && quietMs !== undefined) record.retryAfterMs = quietMs;
      thread.closeGate(chunk.generation, CAUSE.refused, record.retryAfterMs, endNs);
      this.#countFailure(record, chunk, endNs);
      return { end: END.refused, value: record };
    }
    if (quietMs !== undefined && thread.obeysQuota) thread.closeGate(chunk.generation, CAUSE.quota, quietMs, endNs);
    if (judgement.verdict === 'ok') {
      if (!chunk.isProbe) thread.countSuccess();
      const value = settled.ok ? settled.value : undefined;
      if (!isTooDeep(value)) return { end: END.ok, value };
      const cause = { name: 'RangeError', message: `It is nested more than ${MAX_DEPTH} deep.` };
      return { end: END.fatal, value: uncloneableRecord(cause) };
    }
    const { record, verdict } = judgement;
    this.#countFailure(record, chunk, endNs);
    if (verdict === 'stale' && thread.mayRefresh(record, this.#refreshes)) {
      thread.closeGate(chunk.generation, CAUSE.credentials, undefined, endNs);
      return { end: END.stale, value: record };
    }
    return { end: verdict === 'retry' ? END.retry : END.fatal, value: record };
  }

  /** Probes are judged on the main thread. */
  #countFailure(record: FailureRecord, chunk: ChunkTask, nowNs: bigint): void {
    if (!chunk.isProbe) this.#thread.countFailure(record, chunk.generation, nowNs);
  }

  #settle(attempt: Attempt, how: 'answered' | 'abandoned' | 'notSent', nowNs: bigint): void {
    if (Attempt.settle(attempt, how, nowNs)) this.waiter?.look();
  }

  #setDeadline(ns: bigint): void {
    this.deadlineNs = ns;
    if (this.#slot !== undefined) this.#slot.deadlineNs = ns;
    if (ns > 0n) this.#thread.watchDeadline(ns);
  }
}

function mayRunTwice(item: unknown, chunk: ChunkTask, traits: HandlerTraits): boolean {
  const said = read(item, 'idempotent');
  if (typeof said === 'boolean') return said;
  return chunk.idempotent ?? traits.isIdempotent(item);
}

/** A gateway that got no answer proves nothing about what is behind it: the request may still be counted later. */
function isGatewayWord(value: unknown): boolean {
  const status = read(value, 'status');
  return status === 502 || status === 504;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && 'then' in value;
}
