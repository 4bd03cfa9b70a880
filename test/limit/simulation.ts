import type { RequestTimes } from '../../lib/audit/audit.ts';
import { type Grant, Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { Ticket, Waiter } from '../../lib/limit/waiter.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { VirtualClock, VirtualTime } from './virtual-time.ts';

/** How a request ends on our side. */
export type End = 'answered' | 'lost' | 'given back' | 'cancelled';

/** What the world does to one request. Shares are from 0 to 1 of the most that is assumed. */
export interface Fate {
  readonly end: End;
  /** The handler says when its request leaves. */
  readonly reportsSent: boolean;
  /** From the end of the lane's last request to asking for a token. All times are whole nanoseconds. */
  readonly thinkNs: number;
  /** From the grant to the last byte on the wire. */
  readonly leaveNs: number;
  /** How far the upstream is when it counts the request, as a share of what `arrivalWithin` or `straggle` allow. */
  readonly arrivalShare: number;
  /** From the sending to the answer, at least; or to the moment at which we give up. */
  readonly answerNs: number;
  /** Only without an answer: the upstream never hears of it. */
  readonly vanishes: boolean;
  /** How long the thread stands still between reading the time of the answer and settling the tokens. */
  readonly stallNs?: number;
}

export interface World {
  readonly limits: readonly PlannedLimit[];
  readonly threads: number;
  /** Lanes of each thread. */
  readonly lanes: number;
  /** What happens to the requests, one after the other; it goes on until they are used up. */
  readonly fates: Iterable<Fate>;
  /** The longest that a request travels, where no limit assumes less. */
  readonly longestTravelNs: number;
  /** The longest that a request without an answer travels, where `straggle` allows more. */
  readonly longestStrayNs?: number;
  /** Requests travel as long as they like, whatever `arrivalWithin` assumes: a world in which nothing is promised. */
  readonly travelsAnyway?: boolean;
  /** How early (negative) or late each timer fires. */
  readonly timerErrorNs: () => number;
  /** When threads die (and others take their place), after the start. */
  readonly deathsNs: readonly number[];
  /** A world in which more happens does not come to an end. */
  readonly maxEvents?: number;
}

/** What was to be seen. All times since the start, but for those of `requests`. */
export interface Observation {
  /** When the upstream counted each request. */
  readonly countedNs: readonly number[];
  /** When each request was granted: that is when it may leave. */
  readonly grantsNs: readonly number[];
  /** When each request that was not given back did leave. */
  readonly startsNs: readonly number[];
  /** What our side knows of each request that was sent. */
  readonly requests: readonly RequestTimes[];
  readonly timersAtOnce: number;
  /** Lanes that still wait in the end. */
  readonly stuck: number;
  /** Per limit: tokens that are free once everything has settled. */
  readonly freeInTheEnd: readonly number[];
}

const START_NS = 1_000_000_000_000;
const ns = (time: bigint | undefined, otherwise = Number.POSITIVE_INFINITY): number =>
  time === undefined ? otherwise : Number(time);

/** A request under way, as the upstream will see it, and as we know it. */
interface Flight {
  /** Infinity if it never arrives. */
  arrivesNs: number;
  readonly fromNs: bigint;
  readonly sentNs: bigint | undefined;
}

/** A worker thread with its lanes. */
class SimulatedThread {
  readonly #run: Simulation;
  readonly #waiter: Waiter;
  readonly clock: VirtualClock;
  readonly id: number;
  isDead = false;
  /** What its lanes have sent, with no answer yet. */
  readonly underWay = new Set<Flight>();

  constructor(run: Simulation, id: number) {
    this.#run = run;
    this.id = id;
    this.clock = new VirtualClock(run.time, run.world.timerErrorNs);
    this.#waiter = new Waiter(new Limiter(run.block, run.world.limits, id), this.clock);
  }

  get waiting(): number {
    return this.isDead ? 0 : this.#waiter.size;
  }

  /** One lane takes the next request. */
  next(): void {
    const fate = this.#run.nextFate();
    if (fate !== undefined) this.#after(fate.thinkNs, () => this.#ask(fate));
  }

  #after(ns: number, callback: () => void): void {
    this.#run.time.after(ns, () => {
      if (!this.isDead) callback();
    });
  }

  #ask(fate: Fate): void {
    const got = this.#waiter.acquire(this.#run.time.nowNs);
    if (!(got instanceof Ticket)) {
      this.#granted(got, fate);
      return;
    }
    void got.granted.then((grant) => {
      if (this.isDead) return;
      if (grant === undefined) this.next();
      else this.#granted(grant, fate);
    });
    if (fate.end === 'cancelled') this.#after(fate.answerNs, () => this.#waiter.cancel(got));
  }

  #granted(grant: Grant, fate: Fate): void {
    const { time, observed } = this.#run;
    const calledNs = time.nowNs;
    observed.grantsNs.push(time.now - START_NS);
    this.#after(fate.leaveNs, () => {
      if (fate.end === 'given back') {
        grant.giveBack();
        this.#waiter.look();
        this.next();
      } else {
        this.#send(grant, fate, calledNs);
      }
    });
  }

  #send(grant: Grant, fate: Fate, calledNs: bigint): void {
    const run = this.#run;
    const { time } = run;
    run.observed.startsNs.push(time.now - START_NS);
    if (fate.reportsSent) grant.sent(time.nowNs);
    const isLost = fate.end === 'lost';
    const travelsNs = Math.floor(fate.arrivalShare * (isLost ? run.strayNs(fate) : run.travelNs(fate)));
    const flight: Flight = {
      arrivesNs: isLost && fate.vanishes ? Number.POSITIVE_INFINITY : time.now + travelsNs,
      fromNs: calledNs,
      sentNs: fate.reportsSent ? time.nowNs : undefined,
    };
    this.underWay.add(flight);
    // The upstream counts a request before it answers it.
    this.#after(isLost ? fate.answerNs : Math.max(fate.answerNs, travelsNs), () => {
      this.underWay.delete(flight);
      run.landed(flight, !isLost);
      const { stallNs = 0 } = fate;
      if (isLost) {
        grant.abandoned(time.nowNs);
        // The upstream answers all the same, when nobody listens any more.
        const lateNs = flight.arrivesNs - time.now;
        if (lateNs >= 0 && Number.isFinite(lateNs)) this.#after(lateNs, () => grant.answered(time.nowNs));
        this.next();
      } else if (stallNs === 0) {
        grant.answered(time.nowNs);
        this.next();
      } else {
        this.#answeredBefore(grant, time.nowNs, stallNs);
      }
    });
  }

  /** A late settling, and then one more, which the first must have made void. */
  #answeredBefore(grant: Grant, answeredNs: bigint, stallNs: number): void {
    this.#after(stallNs, () => {
      grant.answered(answeredNs);
      this.next();
      this.#after(stallNs, () => grant.giveBack());
    });
  }
}

class Simulation {
  readonly world: World;
  readonly time = new VirtualTime(BigInt(START_NS));
  readonly block;
  readonly observed = {
    countedNs: [] as number[],
    grantsNs: [] as number[],
    startsNs: [] as number[],
    requests: [] as RequestTimes[],
  };
  /** The shortest `straggle` and `arrivalWithin` of all limits are what the world must keep to. */
  readonly #straggleNs: number;
  readonly #arrivalWithinNs: number;
  readonly #main: Limiter;
  readonly #threads: SimulatedThread[] = [];
  readonly #fates: Iterator<Fate>;
  #lastThreadId = 0;

  constructor(world: World) {
    this.world = world;
    this.block = createControlBlock({ tokens: world.limits.map(({ tokens }) => tokens), slots: 0 });
    this.#main = new Limiter(this.block, world.limits, 0);
    this.#main.fill(BigInt(START_NS));
    this.#straggleNs = Math.min(...world.limits.map(({ straggleNs }) => ns(straggleNs)));
    this.#arrivalWithinNs = Math.min(
      ...world.limits.map(({ arrivalWithinNs }) => ns(world.travelsAnyway ? undefined : arrivalWithinNs)),
    );
    this.#fates = world.fates[Symbol.iterator]();
  }

  nextFate(): Fate | undefined {
    const { done, value } = this.#fates.next();
    return done ? undefined : value;
  }

  /** How long a request with an answer may travel. */
  travelNs({ reportsSent }: Fate): number {
    const { longestTravelNs } = this.world;
    return reportsSent ? Math.min(longestTravelNs, this.#arrivalWithinNs) : longestTravelNs;
  }

  /** How long a request without an answer may travel. */
  strayNs({ reportsSent, answerNs }: Fate): number {
    const { longestStrayNs = Number.POSITIVE_INFINITY } = this.world;
    const mostNs = Math.min(answerNs + this.#straggleNs, longestStrayNs);
    return reportsSent ? Math.min(mostNs, this.#arrivalWithinNs) : mostNs;
  }

  /** Our side is done with a request. */
  landed({ arrivesNs, fromNs, sentNs }: Flight, isAnswered: boolean): void {
    if (arrivesNs < Number.POSITIVE_INFINITY) this.observed.countedNs.push(arrivesNs - START_NS);
    this.observed.requests.push({ fromNs, sentNs, endNs: this.time.nowNs, isAnswered });
  }

  async run(): Promise<Observation> {
    for (let n = 0; n < this.world.threads; n++) this.#startThread();
    for (const deathNs of this.world.deathsNs) this.time.after(deathNs, () => this.#killFirst());
    await this.time.run(this.world.maxEvents);
    const restNs = this.world.limits.map(
      ({ windowNs, straggleNs, arrivalWithinNs }) => ns(windowNs) + ns(straggleNs) + ns(arrivalWithinNs, 0),
    );
    const settledNs = this.time.nowNs + BigInt(Math.max(...restNs));
    return {
      ...this.observed,
      countedNs: this.observed.countedNs.sort((a, b) => a - b),
      timersAtOnce: Math.max(...this.#threads.map(({ clock }) => clock.mostTimersAtOnce)),
      stuck: this.#threads.reduce((sum, { waiting }) => sum + waiting, 0),
      freeInTheEnd: this.#main.buckets.map((bucket) => bucket.countFree(settledNs)),
    };
  }

  #startThread(): void {
    const thread = new SimulatedThread(this, ++this.#lastThreadId);
    this.#threads.push(thread);
    for (let lane = 0; lane < this.world.lanes; lane++) thread.next();
  }

  #killFirst(): void {
    const thread = this.#threads.find(({ isDead }) => !isDead);
    if (thread === undefined) return;
    thread.isDead = true;
    thread.clock.stop();
    const latestNs = this.time.now + this.#straggleNs;
    for (const flight of thread.underWay) {
      if (flight.arrivesNs < Number.POSITIVE_INFINITY) flight.arrivesNs = Math.min(flight.arrivesNs, latestNs);
      this.landed(flight, false);
    }
    this.#main.reclaim(thread.id, this.time.nowNs);
    this.#startThread();
  }
}

/** Let all requests of a world meet their fates. */
export function simulate(world: World): Promise<Observation> {
  return new Simulation(world).run();
}

/** Two of more than `limit` requests that an upstream counted within one window; undefined if there are none. */
export function findOverrun(
  countedNs: readonly number[],
  limit: number,
  windowNs: bigint,
): [number, number] | undefined {
  for (let last = limit; last < countedNs.length; last++) {
    const first = countedNs[last - limit] ?? 0;
    const lastNs = countedNs[last] ?? 0;
    if (lastNs - first < Number(windowNs)) return [first, lastNs];
  }
  return undefined;
}
