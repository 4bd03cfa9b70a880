import {
  type DynamicBatchRules,
  type DynamicBatchState,
  initialState,
  observe,
} from '../../lib/batch/dynamic-batch.ts';
import { type Grant, Limiter } from '../../lib/limit/limiter.ts';
import { type LimitOptions, planLimits } from '../../lib/limit/plan.ts';
import { Ticket, Waiter } from '../../lib/limit/waiter.ts';
import { type BackoffOptions, backoffMs } from '../../lib/recover/backoff.ts';
import {
  type Circuit,
  type CircuitRules,
  CLOSED,
  halfOpened,
  opened,
  openLeftMs,
  probeSucceeded,
  probesAllowed,
} from '../../lib/recover/circuit.ts';
import { SuccessRate } from '../../lib/recover/success-rate.ts';
import { CircuitCounters, type FailureLimits } from '../../lib/shared/circuit-counters.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { createLimiter, type LimiterSettings } from '../../lib/simulator/limiters.ts';
import { type Random, seededRandom } from '../../lib/simulator/random.ts';
import { VirtualClock, VirtualTime } from './virtual-time.ts';

/** A client that hears what the server thinks of its requests, and acts on it. Plain data; times in milliseconds. */
export interface LoopScenario {
  readonly seed: number;
  readonly items: number;
  readonly threads: number;
  /** Lanes of each thread. */
  readonly lanes: number;
  readonly limit: LimitOptions;
  /** What the server allows, which may be less than the client believes. */
  readonly server: LimiterSettings;
  /** Share of requests that are refused for no reason. */
  readonly spurious: number;
  /** What refusals ask to wait; 0 for no hint. */
  readonly hintMs: number;
  /** Times in which every request fails. */
  readonly outages: readonly { readonly fromMs: number; readonly forMs: number }[];
  /** The most that a request travels, and then takes to be answered. */
  readonly travelMs: number;
  readonly answerMs: number;
  readonly retry: BackoffOptions;
  readonly circuit: CircuitRules & FailureLimits;
  readonly groups: DynamicBatchRules;
}

/** A time in which the gate was closed. All times in nanoseconds since the start. */
export interface Pause {
  readonly causes: number;
  /** When everything that was under way had come back. */
  readonly passedNs: number;
  readonly openedNs: number;
  /** Events in a row without an answered item in between. */
  readonly eventsInRow: number;
  readonly stretch: number;
  /** Until when the server wanted quiet; 0 if it did not say. */
  readonly quietUntilNs: number;
  /** How often a probe had failed since the circuit was closed last, if the circuit was open; otherwise undefined. */
  readonly reopenings: number | undefined;
}

/** What was to be seen. */
export interface LoopObservation {
  readonly countedNs: readonly number[];
  /** How often each item succeeded. */
  readonly succeeded: Uint8Array;
  readonly failures: number;
  readonly pauses: readonly Pause[];
  /** Times that the circuit opened from closed, and from half-open. */
  readonly openings: { closed: number; halfOpen: number };
  /** Most probes that were in flight at a time. */
  readonly mostProbes: number;
  /** Requests that were sent while the gate was closed. */
  readonly sentWhileClosed: number;
  /** The controller after each group. */
  readonly groups: readonly DynamicBatchState[];
}

type Verdict = 'ok' | 'refused' | 'failed';

const START_NS = 1_000_000_000_000;

/** A request in flight. */
interface Flight {
  readonly item: number;
  readonly grant: Grant;
  readonly lane: Lane;
  verdict: Verdict;
  isOver: boolean;
}

interface Lane {
  readonly waiter: Waiter;
  isBusy: boolean;
  ticket: Ticket | undefined;
}

/** The steps of the engine's recovery, with its real parts, in virtual time and in one thread. */
class Loop {
  readonly #scenario: LoopScenario;
  readonly #random: Random;
  readonly #time = new VirtualTime(BigInt(START_NS));
  readonly #gate: Gate;
  readonly #counters: CircuitCounters;
  readonly #rate = new SuccessRate();
  readonly #server;
  readonly #lanes: Lane[] = [];
  readonly #flights = new Set<Flight>();
  #circuit: Circuit = CLOSED;
  /** The generation that lanes work for; undefined while the gate is closed. */
  #generation: number | undefined;
  #eventsInRow = 0;
  #hasAnswered = false;
  #reopenings = 0;
  #isRecovering = false;
  /** Items of the current group that are not in work, and those of later groups. */
  #queue: number[] = [];
  #nextItem = 0;
  #left = 0;
  #group = { items: 0, failedAttempts: 0, refused: 0, serviceSumMs: 0, succeeded: 0 };
  #controller: DynamicBatchState;
  readonly #seen = {
    countedNs: [] as number[],
    failures: 0,
    pauses: [] as Pause[],
    openings: { closed: 0, halfOpen: 0 },
    mostProbes: 0,
    sentWhileClosed: 0,
    groups: [] as DynamicBatchState[],
  };
  readonly #succeeded: Uint8Array;

  constructor(scenario: LoopScenario) {
    this.#scenario = scenario;
    this.#random = seededRandom(scenario.seed);
    this.#server = createLimiter(scenario.server);
    this.#succeeded = new Uint8Array(scenario.items);
    const limits = planLimits([scenario.limit]);
    const block = createControlBlock({ tokens: limits.map(({ tokens }) => tokens), slots: 0 });
    this.#gate = new Gate(block);
    this.#counters = new CircuitCounters(block, scenario.circuit);
    new Limiter(block, limits, 0).fill(BigInt(START_NS));
    for (let thread = 1; thread <= scenario.threads; thread++) {
      const clock = new VirtualClock(this.#time, () => Math.floor(this.#random() * 1e6));
      const waiter = new Waiter(new Limiter(block, limits, thread), clock);
      for (let n = 0; n < scenario.lanes; n++) this.#lanes.push({ waiter, isBusy: false, ticket: undefined });
    }
    const { minSize, minDelayMs } = scenario.groups;
    this.#controller = initialState({ size: minSize, delayMs: minDelayMs }, this.#nowMs);
  }

  get #nowMs(): number {
    return (this.#time.now - START_NS) / 1e6;
  }

  async run(): Promise<LoopObservation> {
    this.#generation = this.#gate.generation;
    this.#nextGroup();
    await this.#time.run(50_000 * (this.#scenario.items + 10));
    return { ...this.#seen, succeeded: this.#succeeded };
  }

  #upToNs(ms: number): number {
    return Math.floor(this.#random() * ms * 1e6);
  }

  #nextGroup(): void {
    const end = Math.min(this.#scenario.items, this.#nextItem + this.#controller.size);
    this.#left = end - this.#nextItem;
    this.#group = { items: this.#left, failedAttempts: 0, refused: 0, serviceSumMs: 0, succeeded: 0 };
    while (this.#nextItem < end) this.#queue.push(this.#nextItem++);
    this.#fill();
  }

  #endGroup(): void {
    const { serviceSumMs, succeeded, ...group } = this.#group;
    const result = { ...group, serviceMs: succeeded === 0 ? undefined : serviceSumMs / succeeded };
    this.#controller = observe(this.#controller, result, this.#scenario.groups, this.#nowMs);
    this.#seen.groups.push(this.#controller);
    if (this.#nextItem < this.#scenario.items) {
      this.#time.after(Math.ceil(this.#controller.delayMs * 1e6), () => this.#nextGroup());
    }
  }

  /** Give work to idle lanes, as far as the gate and the circuit allow. */
  #fill(): void {
    if (this.#generation === undefined) return;
    const most = this.#circuit.kind === 'half-open' ? probesAllowed(this.#circuit, this.#scenario.circuit) : Infinity;
    for (const lane of this.#lanes) {
      if (this.#queue.length === 0 || this.#lanes.filter(({ isBusy }) => isBusy).length >= most) return;
      if (!lane.isBusy) this.#work(lane, this.#queue.shift() ?? 0, this.#generation);
    }
  }

  #work(lane: Lane, item: number, generation: number): void {
    lane.isBusy = true;
    const got = lane.waiter.acquire(this.#time.nowNs);
    if (!(got instanceof Ticket)) {
      this.#send(lane, item, generation, got);
      return;
    }
    lane.ticket = got;
    void got.granted.then((grant) => {
      lane.ticket = undefined;
      this.#send(lane, item, generation, grant);
    });
  }

  #send(lane: Lane, item: number, generation: number, grant: Grant | undefined): void {
    if (grant === undefined || !this.#gate.isOpenFor(generation)) {
      grant?.giveBack();
      if (grant !== undefined) lane.waiter.look();
      this.#end(lane, item);
      return;
    }
    if (this.#isRecovering) this.#seen.sentWhileClosed++;
    grant.sent(this.#time.nowNs);
    const flight: Flight = { item, grant, lane, verdict: 'ok', isOver: false };
    this.#flights.add(flight);
    if (this.#circuit.kind === 'half-open') {
      this.#seen.mostProbes = Math.max(this.#seen.mostProbes, this.#flights.size);
    }
    const sentMs = this.#nowMs;
    this.#time.after(this.#upToNs(this.#scenario.travelMs), () => {
      flight.verdict = this.#arrive();
      this.#time.after(this.#upToNs(this.#scenario.answerMs), () => {
        if (!flight.isOver) this.#answered(flight, generation, this.#nowMs - sentMs);
      });
    });
  }

  /** What the server says to a request that arrives now. */
  #arrive(): Verdict {
    const nowNs = this.#time.now - START_NS;
    this.#seen.countedNs.push(nowNs);
    const isAdmitted = this.#server.admit(nowNs);
    if (!isAdmitted || this.#random() < this.#scenario.spurious) return 'refused';
    const isOut = this.#scenario.outages.some(
      ({ fromMs, forMs }) => nowNs >= fromMs * 1e6 && nowNs < (fromMs + forMs) * 1e6,
    );
    return isOut ? 'failed' : 'ok';
  }

  #answered(flight: Flight, generation: number, serviceMs: number): void {
    const { item, grant, lane, verdict } = flight;
    const { nowNs } = this.#time;
    flight.isOver = true;
    this.#flights.delete(flight);
    grant.answered(nowNs);
    if (verdict === 'ok') {
      this.#rate.addSuccesses(1);
      this.#counters.endRow();
      this.#counters.addSuccesses(1, nowNs);
      this.#hasAnswered = true;
      this.#succeeded[item] = (this.#succeeded[item] ?? 0) + 1;
      this.#group.succeeded++;
      this.#group.serviceSumMs += serviceMs;
      if (this.#circuit.kind === 'half-open') this.#probeSucceeded(this.#circuit);
      this.#end(lane);
      if (--this.#left === 0) this.#endGroup();
      return;
    }
    this.#rate.addFailure();
    if (verdict === 'refused') {
      this.#group.refused++;
      if (this.#scenario.hintMs > 0) this.#gate.pauseUntil(nowNs + BigInt(this.#scenario.hintMs * 1e6));
      this.#gate.close(generation, CAUSE.refused);
      this.#cancelAll();
    } else {
      this.#group.failedAttempts++;
      this.#seen.failures++;
      const isTooMany = this.#counters.addFailure(nowNs) || this.#circuit.kind === 'half-open';
      if (isTooMany) this.#gate.close(generation, CAUSE.circuit);
    }
    this.#end(lane, item);
  }

  #probeSucceeded(circuit: Extract<Circuit, { kind: 'half-open' }>): void {
    this.#circuit = probeSucceeded(circuit, this.#scenario.circuit);
    if (this.#circuit.kind === 'closed') this.#counters.reset();
  }

  /** A refusal cancels what is under way; the server may count it all the same. */
  #cancelAll(): void {
    for (const flight of this.#flights) {
      flight.isOver = true;
      flight.grant.abandoned(this.#time.nowNs);
      this.#end(flight.lane, flight.item);
    }
    this.#flights.clear();
  }

  /** A lane is done with an item; one that is not done goes to the end of the queue. */
  #end(lane: Lane, unfinished?: number): void {
    lane.isBusy = false;
    if (unfinished !== undefined) this.#queue.push(unfinished);
    if (this.#generation !== undefined && !this.#gate.isOpenFor(this.#generation)) this.#notice();
    if (this.#isRecovering) this.#passBarrier();
    else this.#fill();
  }

  /** The gate was closed: whoever waits for tokens stops. */
  #notice(): void {
    this.#generation = undefined;
    this.#isRecovering = true;
    for (const lane of this.#lanes) if (lane.ticket !== undefined) lane.waiter.cancel(lane.ticket);
  }

  #passBarrier(): void {
    if (this.#lanes.some(({ isBusy }) => isBusy)) return;
    const { retry, circuit: rules } = this.#scenario;
    const { generation, pausedUntilNs } = this.#gate;
    const causes = this.#gate.causesOf(generation);
    const quietUntilNs = pausedUntilNs === 0n ? 0 : Number(pausedUntilNs) - START_NS;
    const hintMs = Math.max(0, quietUntilNs / 1e6 - this.#nowMs);
    const { stretch } = this.#rate;
    let delayMs = hintMs;
    if ((causes & CAUSE.refused) !== 0) {
      this.#eventsInRow = this.#hasAnswered ? 1 : this.#eventsInRow + 1;
      this.#hasAnswered = false;
      delayMs = backoffMs(retry, this.#eventsInRow - 1, this.#random(), hintMs, stretch);
    }
    let reopenings: number | undefined;
    if ((causes & CAUSE.circuit) !== 0 && this.#circuit.kind !== 'open') {
      this.#reopenings = this.#circuit.kind === 'closed' ? 0 : this.#reopenings + 1;
      reopenings = this.#reopenings;
      if (reopenings === 0) this.#seen.openings.closed++;
      else this.#seen.openings.halfOpen++;
      this.#circuit = opened(this.#circuit, rules, this.#nowMs);
      delayMs = Math.max(delayMs, openLeftMs(this.#circuit, this.#nowMs));
    }
    const pause = { causes, passedNs: this.#time.now - START_NS, eventsInRow: this.#eventsInRow, stretch };
    this.#time.after(Math.ceil(delayMs * 1e6), () => {
      if (this.#circuit.kind === 'open') this.#circuit = halfOpened(this.#circuit);
      this.#seen.pauses.push({ ...pause, quietUntilNs, reopenings, openedNs: this.#time.now - START_NS });
      this.#gate.clearPause();
      this.#isRecovering = false;
      this.#generation = generation;
      this.#fill();
    });
    // Nobody comes here again before that: no lane is busy.
  }
}

/** Let a client do all items of a scenario. */
export function runLoop(scenario: LoopScenario): Promise<LoopObservation> {
  return new Loop(scenario).run();
}
