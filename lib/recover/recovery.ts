import { Mutex } from 'async-mutex';
import type { Batch } from '../batch/batch.ts';
import { type RetryRules, refusedForGood } from '../batch/decide.ts';
import type { Dispatcher } from '../batch/dispatcher.ts';
import { EngineClosedError } from '../errors.ts';
import type { EngineEvents, RefreshReason } from '../events.ts';
import type { ThreadHandle } from '../pool/thread-pool.ts';
import { CAUSE, type Gate, namesOfCauses } from '../shared/gate.ts';
import { backoffMs } from './backoff.ts';
import { Barrier } from './barrier.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { Credentials } from './credentials.ts';
import type { PauseClock, PauseTimer } from './pause-clock.ts';
import { circuitOpenRecord, credentialsRecord } from './stop-records.ts';

/** What recovery tells the engine's listeners. */
export interface RecoveryEvents {
  rateLimited(event: EngineEvents['rateLimited']): void;
  paused(event: EngineEvents['paused']): void;
  resumed(event: EngineEvents['resumed']): void;
}

export interface RecoveryOptions {
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  readonly rules: RetryRules;
  readonly mode: 'cancel' | 'drain';
  readonly timeoutMs: number;
  readonly cancelGraceMs: number;
  /** By how much backoffs are longer than usual. */
  readonly stretch: () => number;
  /** Undefined: none. */
  readonly breaker: CircuitBreaker | undefined;
  readonly credentials: Credentials;
  readonly events: RecoveryEvents;
  readonly clock: PauseClock;
  readonly random: () => number;
  /** Tell all threads (again) that the gate is closed, and whether that cancels what is in flight. */
  readonly broadcast: (generation: number, cancels: boolean) => void;
  readonly kill: (thread: ThreadHandle, because: string) => void;
}

/**
 * One event that closed the gate, to going on: broadcast again, barrier, what its causes ask for, open. Once per event
 * for the whole engine, however many batches it runs and however many requests were refused together.
 */
export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #mutex = new Mutex();
  readonly #barrier: Barrier;
  #handled = 0;
  /** Events in a row in which no item was answered. */
  #eventsInRow = 0;
  #hasAnswered = false;
  /** The generation whose beginning is known to be due to a refusal. */
  #refusedGeneration: number | undefined;
  /** While the engine waits: until when, on the clock's `nowMs`. */
  #pausedUntilMs = 0;
  #endWait: (() => void) | undefined;
  #waitTimer: PauseTimer | undefined;
  #isClosed = false;
  /** Those who asked for new credentials. */
  #asking: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  /** Rate-limit events since the engine was made. */
  events = 0;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.#barrier = new Barrier({ ...options, nowMs: () => options.clock.nowMs() });
  }

  /** How long the engine still waits before it goes on. */
  get pauseLeftMs(): number {
    return Math.max(0, this.#pausedUntilMs - this.#options.clock.nowMs(), this.#options.breaker?.openLeftMs ?? 0);
  }

  /** Look if the gate was closed. Cheap; called whenever there is a reason to look. */
  notice(): void {
    if (this.#isClosed) return;
    const { generation } = this.#options.gate;
    if (generation === this.#handled) {
      // A refusal may come while the requests of before are waited for, after the gate was closed for another cause.
      if (this.#barrier.isUp) this.#noticeRefusal(generation);
      return;
    }
    this.#handled = generation;
    this.#options.dispatcher.close();
    // The mutex makes it certain that the steps of two events never mix. It cannot fail: every step is ours.
    void this.#mutex.runExclusive(() => this.#recover(generation));
  }

  /** Before anything is handed out: get credentials, if there are none yet. */
  prepare(): void {
    // Whoever waits for them learns of a failure by his batch.
    if (this.#options.credentials.areMissing && this.#asking.length === 0) this.refreshCredentials().catch(() => {});
  }

  /** A batch was taken on, or a stream has brought more: there may be no sense in waiting. */
  admit(batch: Batch): void {
    const { breaker, dispatcher } = this.#options;
    const leftMs = Math.max(0, this.#pausedUntilMs - this.#options.clock.nowMs());
    if (leftMs > batch.rules.maxRetryAfterMs && !dispatcher.isOpen) {
      batch.failUnfinished(tooLong(leftMs, batch.rules.maxRetryAfterMs));
    } else if (breaker?.state === 'open') {
      this.#waitOrFail(batch, breaker);
    }
  }

  /**
   * Get new credentials for all: stop starting requests, wait for those in flight, ask, go on.
   * @throws what the hook throws; TypeError if there is none; Error if the hook itself asks
   */
  refreshCredentials(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { canRefresh, isInsideHook } = this.#options.credentials;
      if (!canRefresh) throw new TypeError('There is no onRefreshCredentials to ask.');
      if (isInsideHook) throw new Error('onRefreshCredentials called refreshCredentials, which would wait for it.');
      this.#asking.push({ resolve, reject });
      this.#waitTimer?.ref();
      // While the gate is closed, whoever is at work there sees the wish before opening it.
      if (this.#options.dispatcher.isOpen) this.#closeGate(CAUSE.credentials);
    });
  }

  /** There are too many failures. */
  trip(): void {
    this.#closeGate(CAUSE.circuit);
  }

  /** A probe of the half-open circuit has come to its end. */
  onProbe(result: 'success' | 'failure'): void {
    const { breaker, dispatcher } = this.#options;
    if (breaker?.state !== 'half-open') return;
    if (result === 'failure') this.#closeGate(CAUSE.circuit);
    // Never after a failure of another one: no more are out than are needed to close it.
    else if (breaker.succeed()) for (const batch of dispatcher.batches) batch.waitedForOpening = 0;
    dispatcher.limitProbes(breaker.probesAllowed);
  }

  /** End threads whose handlers ignore that they were cancelled. Called now and then. */
  enforceBarrier(): void {
    this.#barrier.enforce();
  }

  /** The engine is closing: wait for nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#options.credentials.close();
    this.#barrier.lift();
    this.#endWait?.();
    const why = new EngineClosedError('The engine was closed before there were new credentials.');
    for (const { reject } of this.#asking.splice(0)) reject(why);
  }

  #closeGate(cause: number): void {
    const { dispatcher, gate } = this.#options;
    // Not the gate's own generation: a thread may have closed it already, and then this is one more cause of that.
    gate.close(dispatcher.generation, cause);
    this.notice();
  }

  async #recover(generation: number): Promise<void> {
    const { breaker, clock, credentials, dispatcher, events, gate, rules, stretch } = this.#options;
    if (this.#isClosed) return;
    const startedMs = clock.nowMs();
    // The thread that closed the gate may have died before it told the others. Hearing it twice is harmless.
    this.#options.broadcast(generation, false);
    const passed = this.#barrier.pass(generation);
    this.#noticeRefusal(generation);
    await passed;
    if (this.#isClosed) return;
    this.#noticeRefusal(generation);

    this.#hasAnswered ||= dispatcher.hasAnswered((generation - 1) | 0);
    const causes = gate.causesOf(generation);
    const hintMs = Math.max(0, Number(gate.pausedUntilNs - clock.nowNs()) / 1e6);
    let delayMs = hintMs;
    if ((causes & CAUSE.refused) !== 0) {
      this.#eventsInRow = this.#hasAnswered ? 1 : this.#eventsInRow + 1;
      this.#hasAnswered = false;
      delayMs = backoffMs(rules, this.#eventsInRow - 1, this.#options.random(), hintMs, stretch());
      for (const batch of [...dispatcher.batches]) this.#goOnOrGiveUp(batch, hintMs);
    }
    this.#pausedUntilMs = clock.nowMs() + delayMs;
    if ((causes & CAUSE.circuit) !== 0) breaker?.open();
    events.paused({ generation, delayMs, eventsInRow: this.#eventsInRow, causes: namesOfCauses(causes) });

    const areRefused = (causes & CAUSE.credentials) !== 0 && this.#asking.length === 0;
    await Promise.all([this.#wait(delayMs), areRefused ? this.#refresh('refused') : undefined]);
    await this.#waitForCircuit();
    while (!this.#isClosed && this.#mustAsk) await this.#refresh(credentials.areMissing ? 'initial' : 'requested');
    if (this.#isClosed) return;
    gate.clearPause();
    dispatcher.limitProbes(breaker?.probesAllowed);
    dispatcher.open(generation);
    events.resumed({ generation, pausedMs: clock.nowMs() - startedMs });
  }

  #noticeRefusal(generation: number): void {
    const { dispatcher, events, gate, mode } = this.#options;
    if (this.#refusedGeneration === generation || (gate.causesOf(generation) & CAUSE.refused) === 0) return;
    this.#refusedGeneration = generation;
    this.events++;
    for (const batch of dispatcher.batches) batch.counts.rateLimitEvents++;
    if (mode === 'cancel') {
      this.#options.broadcast(generation, true);
      this.#barrier.noteCancelled();
    }
    events.rateLimited({ generation });
  }

  /** Nothing is out now: see what each batch does next. */
  #goOnOrGiveUp(batch: Batch, hintMs: number): void {
    const { rules } = batch;
    // A batch answers only for events that it has lived through, not for those that ended the one before it.
    const eventsInRow = Math.min(this.#eventsInRow, batch.counts.rateLimitEvents);
    if (hintMs > rules.maxRetryAfterMs) {
      batch.failUnfinished(tooLong(hintMs, rules.maxRetryAfterMs));
    } else if (rules.scope === 'batch') {
      batch.startOver();
    } else if (eventsInRow >= rules.maxRefusals) {
      const why = `${eventsInRow} rate-limit events in a row without an answered item`;
      batch.failUnfinished(refusedForGood(undefined, why));
    } else {
      batch.rounds++;
    }
    this.#options.dispatcher.endIfDone(batch);
  }

  /** Somebody asked for credentials; or there are none, and items of a batch or stream that came in the meantime. */
  get #mustAsk(): boolean {
    return this.#asking.length > 0 || (this.#options.credentials.areMissing && this.#options.dispatcher.hasWork);
  }

  /** Ask for credentials. What cannot go on without new ones ends with the reason. */
  async #refresh(reason: RefreshReason): Promise<void> {
    const { credentials, dispatcher } = this.#options;
    let failed: { readonly error: unknown } | undefined;
    try {
      await credentials.refresh(reason);
    } catch (error) {
      failed = { error };
      // What somebody asked for on suspicion nobody needs for certain.
      const isNeeded = reason !== 'requested' && !this.#isClosed;
      for (const batch of isNeeded ? [...dispatcher.batches] : []) {
        batch.failUnfinished(credentialsRecord(error));
        dispatcher.endIfDone(batch);
      }
    }
    // Also those who asked in the meantime: they get the same ones.
    for (const { resolve, reject } of this.#asking.splice(0)) failed === undefined ? resolve() : reject(failed.error);
  }

  /** Until the circuit is half-open. Batches wait for that once, and only if it will come within their time. */
  async #waitForCircuit(): Promise<void> {
    const { breaker, dispatcher } = this.#options;
    if (breaker?.state !== 'open') return;
    for (const batch of [...dispatcher.batches]) this.#waitOrFail(batch, breaker);
    // A wait for what is left may end a rounding too early, and nothing but this ever ends the open state.
    while (breaker.state === 'open' && !this.#isClosed) {
      await this.#wait(breaker.openLeftMs);
      breaker.halfOpenIfDue();
    }
  }

  #waitOrFail(batch: Batch, breaker: CircuitBreaker): void {
    const { dispatcher, timeoutMs } = this.#options;
    const { openings, openLeftMs } = breaker;
    const hasWaited = batch.waitedForOpening !== 0 && batch.waitedForOpening !== openings;
    if (breaker.rules.whenOpen === 'fail' || hasWaited || openLeftMs > timeoutMs) {
      batch.failUnfinished(circuitOpenRecord(openLeftMs));
      dispatcher.endIfDone(batch);
    }
    batch.waitedForOpening = openings;
  }

  #wait(delayMs: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const untilMs = clock.nowMs() + delayMs;
      const end = () => {
        if (this.#waitTimer !== undefined) clock.clearTimer(this.#waitTimer);
        this.#waitTimer = undefined;
        this.#endWait = undefined;
        resolve();
      };
      const look = () => {
        const leftMs = untilMs - clock.nowMs();
        if (leftMs <= 0 || this.#isClosed) {
          end();
          return;
        }
        this.#waitTimer = clock.setTimer(look, Math.min(Math.ceil(leftMs), 2 ** 31 - 1));
        // Batches keep the process alive while there are any, and so do those who ask; an engine without work must not.
        if (this.#asking.length === 0) this.#waitTimer.unref();
      };
      this.#endWait = end;
      look();
    });
  }
}

function tooLong(hintMs: number, maxRetryAfterMs: number) {
  const why = `it asked to wait ${Math.ceil(hintMs)} ms, more than retry.maxRetryAfterMs (${maxRetryAfterMs} ms)`;
  return refusedForGood({ retryAfterMs: Math.ceil(hintMs) }, why);
}
