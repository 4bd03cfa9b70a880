import type { MessagePort } from 'node:worker_threads';
import type { Grant } from '../lib/limit/limiter.ts';
import { Ticket } from '../lib/limit/waiter.ts';
import { type ChunkTask, END, NOT_IDEMPOTENT, type Reply } from '../lib/protocol.ts';
import { abortedRecord } from '../lib/recover/stop-records.ts';
import { WORK } from '../lib/shared/layout.ts';
import { WorkSlot } from '../lib/shared/work-slot.ts';
import type { Settled } from '../lib/types.ts';
import { Attempt, type AttemptHost, type StopReason } from './attempt.ts';
import { endOf, type Standing } from './attempt-end.ts';
import { AttemptTimes } from './attempt-times.ts';
import type { Job, LaneHost } from './lane-host.ts';
import { ReplyBuffer } from './reply-buffer.ts';
import { isThenable } from './returned.ts';
import { mayRunTwice } from './traits.ts';

/** A chunk that takes longer than this gives back what it has not started, so that idle lanes elsewhere can do it. */
const CHUNK_BUDGET_NS = 32_000_000n;
/** The deadline that the watchdog sees may be so much too late: then one serves many quick items. */
const WATCHDOG_SLACK_NS = 5_000_000n;

/** Works on one item at a time. */
export class Lane implements AttemptHost, Standing {
  readonly #thread: LaneHost;
  readonly #port: MessagePort;
  #job: Job | undefined;
  #attempt: Attempt | undefined;
  #ticket: Ticket | undefined;
  /** Set while the item in work waits for its tokens and was told to stop. */
  #stoppedWaiting: StopReason | undefined;
  #isIdempotent = true;
  /** How often the item in work has got new credentials. */
  refreshes = 0;
  /** When the attempt in work has had its time; 0 while there is none. */
  deadlineNs = 0n;
  #pausedDeadlineNs = 0n;
  /** The deadline in the slot is that of no item which starts at this time or later. */
  #coveredNs = 0n;
  /** The attempt in work waits for a further token. */
  isAcquiring = false;
  /** When the item in work was taken up, and when its handler was called. */
  #askedNs = 0n;
  #startNs = 0n;
  /** The clock as it was read last between items. */
  #nowNs = 0n;

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
    return this.#job !== undefined && this.#thread.gate.isOpenFor(this.#job.chunk.generation);
  }

  onSent(which: 'first' | 'further', nowNs: bigint): void {
    const slot = this.#job?.slot;
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
    this.isAcquiring = true;
    // It may be asked for before the handler has returned, and its deadline is set.
    this.#pausedDeadlineNs = this.deadlineNs === 0n ? this.#startNs + this.#thread.timeoutNs : this.deadlineNs;
    // Not for ever: handlers that hold an unanswered token while they wait for a further one can starve each other.
    this.#setDeadline(this.nowNs() + this.#thread.acquireTimeoutNs);
  }

  onWaited(waitedNs: bigint): void {
    // One that was told that its time is up stays so.
    if (this.#attempt !== undefined && Attempt.stopReason(this.#attempt) === 'TIMEOUT') return;
    this.isAcquiring = false;
    if (this.#attempt !== undefined) this.#setDeadline(this.#pausedDeadlineNs + waitedNs);
  }

  /** The ends that are done but not yet sent, of a chunk that has met a slow item. */
  takeEnds(): Reply | undefined {
    return this.#job?.reply.isPending ? this.#job.reply.take() : undefined;
  }

  /** The gate was closed: stop what has not started of any generation below this one, and maybe what is in flight. */
  stopBelow(generation: number, cancels: boolean): void {
    const chunk = this.#job?.chunk;
    if (chunk === undefined || ((chunk.generation - generation) | 0) >= 0) return;
    if (this.#attempt === undefined) this.#stopWaiting('CANCELLED');
    else if (this.#isIdempotent && cancels) Attempt.stop(this.#attempt, 'CANCELLED');
  }

  /** The user aborted a batch. */
  stopBatch(batch: number): void {
    if (this.#job?.chunk.batch !== batch) return;
    if (this.#attempt === undefined) this.#stopWaiting('ABORTED');
    else Attempt.stop(this.#attempt, 'ABORTED');
  }

  /** The attempt in work has had its time. */
  timeOut(): void {
    if (this.#attempt === undefined) return;
    if (this.#job !== undefined) this.#job.slot.work |= WORK.toldTimeout;
    Attempt.stop(this.#attempt, 'TIMEOUT');
  }

  #stopWaiting(reason: StopReason): void {
    if (this.#ticket === undefined) return;
    this.#stoppedWaiting = reason;
    this.waiter?.cancel(this.#ticket);
  }

  /**
   * Work on a chunk until it is done, closed, over its budget, or the gate is closed.
   *
   * @param onDone is called at its end, if that is not now.
   * @returns undefined if that is now: what need not be waited for is not.
   */
  run(chunk: ChunkTask, onDone?: () => void): Promise<void> | undefined {
    const thread = this.#thread;
    const startedNs = this.nowNs();
    const job: Job = {
      chunk,
      slot: new WorkSlot(thread.block, chunk.slot),
      reply: new ReplyBuffer(this.#port, chunk.id, thread.trace !== undefined),
      startedNs,
      position: 0,
      once: 0,
    };
    this.#job = job;
    this.#coveredNs = 0n;
    this.#nowNs = startedNs;
    const unfinished = this.#advance(job);
    return unfinished && this.#finishLater(unfinished, job, onDone);
  }

  async #finishLater(unfinished: Promise<void>, job: Job, onDone: (() => void) | undefined): Promise<void> {
    for (let next: Promise<void> | undefined = unfinished; next !== undefined; next = this.#advance(job)) {
      await next;
      this.#nowNs = this.nowNs();
      this.#flushSoon(job);
    }
    onDone?.();
  }

  /** Work on the next items, until there is something to wait for or the chunk has ended. */
  #advance(job: Job): Promise<void> | undefined {
    const thread = this.#thread;
    const { chunk, slot } = job;
    const count = chunk.items.length;
    const untilNs = job.startedNs + CHUNK_BUDGET_NS;
    while (job.position < count) {
      const position = job.position++;
      if (!thread.gate.isOpenFor(chunk.generation) || this.#nowNs > untilNs || !slot.claim(position)) break;
      const unfinished =
        this.#runItem(job, position) ?? (job.position === count ? undefined : thread.turn(this.#nowNs));
      if (unfinished !== undefined) return unfinished;
      this.#flushSoon(job);
    }
    this.#job = undefined;
    const endedNs = this.nowNs();
    thread.publishCounts(endedNs);
    job.reply.flush(true, Number(endedNs - job.startedNs) / 1e6);
    return undefined;
  }

  #flushSoon({ chunk, reply }: Job): void {
    if (chunk.items.length > 1 && reply.isPending) this.#thread.flushSoon();
  }

  /** Returns a promise only if there is something to wait for. */
  #runItem(job: Job, position: number): Promise<void> | undefined {
    const { chunk, slot } = job;
    const { waiter } = this;
    const item = chunk.items[position];
    this.#isIdempotent = mayRunTwice(item, chunk.idempotent, this.#thread.handler.traits);
    if (!this.#isIdempotent) job.once = WORK.once;
    this.refreshes = chunk.refreshes?.[position] ?? 0;
    if (waiter === undefined) {
      // The end of the last item is the start of this one: no need to look at the clock again.
      this.#askedNs = this.#nowNs;
      return this.#call(job, position, undefined, this.#nowNs);
    }
    slot.work = WORK.waiting | (this.#isIdempotent ? WORK.idempotent : 0) | job.once;
    this.#stoppedWaiting = undefined;
    const askedNs = this.nowNs();
    this.#askedNs = askedNs;
    const got = waiter.acquire(askedNs);
    if (got instanceof Ticket) return this.#waitAndCall(job, position, got);
    return this.#callIfOpen(job, position, got, askedNs);
  }

  async #waitAndCall(job: Job, position: number, ticket: Ticket): Promise<void> {
    this.#ticket = ticket;
    const grant = await ticket.granted;
    this.#ticket = undefined;
    await this.#callIfOpen(job, position, grant, this.nowNs());
  }

  #callIfOpen(job: Job, position: number, grant: Grant | undefined, startNs: bigint): Promise<void> | undefined {
    // The gate may have closed between the grant and this moment, or the lane was told to stop just after the grant (a
    // lane that gives its token back lets the next one in): nothing was sent, so the token is as it was.
    if (grant === undefined || this.#stoppedWaiting !== undefined || !this.#isGateOpen()) {
      if (grant !== undefined) {
        grant.giveBack();
        this.waiter?.look();
      }
      const end = this.#stoppedWaiting === 'ABORTED' ? END.aborted : END.notStarted;
      const waitedMs = Number(startNs - this.#askedNs) / 1e6;
      job.reply.add(end, end === END.aborted ? abortedRecord(false) : undefined, waitedMs, 0);
      job.slot.work = job.once;
      return undefined;
    }
    this.#thread.recordWait(startNs - this.#askedNs);
    return this.#call(job, position, grant, startNs);
  }

  /** Call the handler. */
  #call(job: Job, position: number, grant: Grant | undefined, startNs: bigint): Promise<void> | undefined {
    const { chunk, slot } = job;
    const thread = this.#thread;
    const { handler, trace } = thread;
    const { reportsSent } = handler.traits;
    const item = chunk.items[position];
    const times = trace && new AttemptTimes(trace, chunk.slot, position);
    const attempt = new Attempt(
      this,
      chunk.indices?.[position] ?? chunk.first + position,
      chunk.attempts?.[position] ?? 1,
      thread.threadId,
      handler.state,
      chunk.credentials,
      grant,
      times,
      startNs,
    );
    this.#attempt = attempt;
    this.#startNs = startNs;
    this.isAcquiring = false;
    if (!reportsSent) this.#countCall(slot, startNs);
    if (startNs >= this.#coveredNs) this.#coverDeadlines(slot, startNs);
    slot.work = WORK.called | (this.#isIdempotent ? WORK.idempotent : 0) | (reportsSent ? 0 : WORK.sent) | job.once;

    let settled: Settled;
    try {
      const returned = handler.handle(item, attempt);
      if (isThenable(returned)) return this.#endLater(returned, job, item, attempt, times);
      settled = { ok: true, value: returned, item, attempt: attempt.attempt };
    } catch (error) {
      settled = { ok: false, error, item, attempt: attempt.attempt };
    }
    this.#end(settled, job, attempt, times);
    return undefined;
  }

  async #endLater(
    returned: PromiseLike<unknown>,
    job: Job,
    item: unknown,
    attempt: Attempt,
    times: AttemptTimes | undefined,
  ): Promise<void> {
    // Only now: while the handler had not returned, no timer could have told it anything.
    if (this.deadlineNs === 0n) {
      this.deadlineNs = this.#startNs + this.#thread.timeoutNs;
      this.#thread.watchDeadline(this.deadlineNs);
    }
    let settled: Settled;
    try {
      settled = { ok: true, value: await returned, item, attempt: attempt.attempt };
    } catch (error) {
      settled = { ok: false, error, item, attempt: attempt.attempt };
    }
    this.#end(settled, job, attempt, times);
  }

  /** The handler has come back. */
  #end(settled: Settled, job: Job, attempt: Attempt, times: AttemptTimes | undefined): void {
    const thread = this.#thread;
    const { chunk, slot, reply } = job;
    const isIdempotent = this.#isIdempotent;
    const endNs = this.nowNs();
    const durationMs = Number(endNs - this.#startNs) / 1e6;
    this.#nowNs = endNs;
    this.#attempt = undefined;
    thread.recordService(durationMs);
    const { end, value } = endOf(thread, chunk, settled, attempt, this, endNs);
    // The one that the watchdog sees stands: a classifier that never comes back is a case for it, too.
    this.deadlineNs = 0n;
    // One that was stopped before it was sent was never in flight.
    if (end === END.cancelled && (Attempt.isSent(attempt) || !thread.handler.traits.reportsSent)) slot.countCancelled();
    if (end === END.refused) slot.countRefused();
    const waitMs = Number(this.#startNs - this.#askedNs) / 1e6;
    reply.add(isIdempotent ? end : end | NOT_IDEMPOTENT, value, waitMs, durationMs, times);
    // What must not run twice is reported before anything else happens: if this thread dies, its end is known.
    if (!isIdempotent) reply.flush();
    // An end that is not reported is lost with this thread, and must not look like an item that never began.
    slot.work = job.once | (reply.isPending ? WORK.ended : 0);
    // The next item starts where this one ended, unless something in between may have taken long.
    if (!isIdempotent || end !== END.ok || thread.classifiers.length > 0 || typeof value === 'object') {
      this.#nowNs = this.nowNs();
    }
  }

  /** Let the watchdog know until when an item that starts now, or soon after, may take. */
  #coverDeadlines(slot: WorkSlot, startNs: bigint): void {
    this.#coveredNs = startNs + WATCHDOG_SLACK_NS;
    slot.deadlineNs = this.#coveredNs + this.#thread.timeoutNs;
  }

  /** The attempt in work has another deadline than it had at its start. */
  #setDeadline(ns: bigint): void {
    this.deadlineNs = ns;
    if (this.#job !== undefined) this.#job.slot.deadlineNs = ns;
    this.#coveredNs = 0n;
    this.#thread.watchDeadline(ns);
  }
}
