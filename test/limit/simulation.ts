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
  /** From the end of the lane's last request to asking for a token. */
  readonly thinkNs: bigint;
  /** From the grant to the last byte on the wire. */
  readonly leaveNs: bigint;
  /** How far the upstream is when it counts the request, as a share of what `arrivalWithin` or `straggle` allow. */
  readonly arrivalShare: number;
  /** From the sending to the answer, at least; or to the moment at which we give up. */
  readonly answerNs: bigint;
  /** Only without an answer: the upstream never hears of it. */
  readonly vanishes: boolean;
}

export interface World {
  readonly limits: readonly PlannedLimit[];
  readonly threads: number;
  /** Lanes of each thread. */
  readonly lanes: number;
  readonly fates: readonly Fate[];
  /** The longest that a request travels, where no limit assumes less. */
  readonly longestTravelNs: bigint;
  /** Requests travel as long as they like, whatever `arrivalWithin` assumes: a world in which nothing is promised. */
  readonly travelsAnyway?: boolean;
  /** How early (negative) or late each timer fires. */
  readonly timerErrorNs: () => bigint;
  /** When threads die (and others take their place), after the start. */
  readonly deathsNs: readonly bigint[];
}

/** What was to be seen. All times since the start. */
export interface Observation {
  /** When the upstream counted each request. */
  readonly countedNs: number[];
  /** When each request was allowed to start, in the order of the grants. */
  readonly grantedStartsNs: number[];
  /** When each request that was not given back did start. */
  readonly startsNs: number[];
  readonly timersAtOnce: number;
  /** Lanes that still wait in the end. */
  readonly stuck: number;
  /** Per limit: tokens that are free once everything has settled. */
  readonly freeInTheEnd: number[];
}

const START_NS = 1_000_000_000_000n;
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const share = (part: number, ofNs: bigint): bigint => BigInt(Math.floor(part * Number(ofNs)));

/** A request under way, as the upstream will see it. */
interface Arrival {
  atNs: bigint;
}

/** A worker thread with its lanes. */
class SimulatedThread {
  readonly #run: Simulation;
  readonly #waiter: Waiter;
  readonly clock: VirtualClock;
  readonly id: number;
  isDead = false;
  /** What its lanes have sent or may still send, with no answer yet. */
  readonly underWay = new Set<Arrival>();

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

  #after(ns: bigint, callback: () => void): void {
    const { time } = this.#run;
    time.at(time.nowNs + ns, () => {
      if (!this.isDead) callback();
    });
  }

  #ask(fate: Fate): void {
    const { time } = this.#run;
    const got = this.#waiter.acquire(time.nowNs);
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
    if (grant.startNs > time.nowNs) throw new Error('Granted before its start.');
    observed.grantedStartsNs.push(Number(grant.startNs - START_NS));
    this.#after(fate.leaveNs, () => {
      if (fate.end === 'given back') {
        grant.giveBack();
        this.#waiter.look();
        this.next();
      } else {
        this.#send(grant, fate);
      }
    });
  }

  #send(grant: Grant, fate: Fate): void {
    const { time, observed } = this.#run;
    observed.startsNs.push(Number(time.nowNs - START_NS));
    if (fate.reportsSent) grant.sent(time.nowNs);
    const travelNs = fate.reportsSent ? this.#run.longestTravelNs : this.#run.world.longestTravelNs;
    if (fate.end === 'lost') this.#lose(grant, fate, travelNs);
    else this.#answer(grant, fate, travelNs);
  }

  #answer(grant: Grant, fate: Fate, longestTravelNs: bigint): void {
    const { time } = this.#run;
    const arrival = { atNs: time.nowNs + share(fate.arrivalShare, longestTravelNs) };
    this.underWay.add(arrival);
    // The upstream counts a request before it answers it.
    this.#after(max(fate.answerNs, arrival.atNs - time.nowNs), () => {
      grant.answered(time.nowNs);
      this.underWay.delete(arrival);
      this.#run.count(arrival);
      this.next();
    });
  }

  #lose(grant: Grant, fate: Fate, longestTravelNs: bigint): void {
    const { time, straggleNs } = this.#run;
    const latestNs = fate.answerNs + straggleNs;
    const mostNs = fate.reportsSent && this.#run.assumesArrival ? min(latestNs, longestTravelNs) : latestNs;
    const arrival = { atNs: time.nowNs + share(fate.arrivalShare, mostNs) };
    if (!fate.vanishes) this.underWay.add(arrival);
    this.#after(fate.answerNs, () => {
      grant.abandoned(time.nowNs);
      if (this.underWay.delete(arrival)) this.#run.count(arrival);
      this.next();
    });
  }
}

class Simulation {
  readonly world: World;
  readonly time = new VirtualTime(START_NS);
  readonly block;
  readonly observed: Observation;
  /** The shortest `straggle` and `arrivalWithin` of all limits are what the world must keep to. */
  readonly straggleNs: bigint;
  readonly longestTravelNs: bigint;
  readonly assumesArrival: boolean;
  readonly #main: Limiter;
  readonly #threads: SimulatedThread[] = [];
  #fate = 0;
  #lastThreadId = 0;

  constructor(world: World) {
    this.world = world;
    this.block = createControlBlock({ tokens: world.limits.map(({ tokens }) => tokens), slots: 0 });
    this.#main = new Limiter(this.block, world.limits, 0);
    this.#main.fill(START_NS);
    this.straggleNs = world.limits.map(({ straggleNs }) => straggleNs).reduce(min);
    const assumed = world.limits.flatMap(({ arrivalWithinNs }) =>
      arrivalWithinNs === undefined || world.travelsAnyway ? [] : arrivalWithinNs,
    );
    this.assumesArrival = assumed.length > 0;
    this.longestTravelNs = assumed.reduce(min, world.longestTravelNs);
    this.observed = {
      countedNs: [],
      grantedStartsNs: [],
      startsNs: [],
      timersAtOnce: 0,
      stuck: 0,
      freeInTheEnd: [],
    };
  }

  nextFate(): Fate | undefined {
    return this.world.fates[this.#fate++];
  }

  count(arrival: Arrival): void {
    this.observed.countedNs.push(Number(arrival.atNs - START_NS));
  }

  async run(): Promise<Observation> {
    for (let n = 0; n < this.world.threads; n++) this.#startThread();
    for (const deathNs of this.world.deathsNs) this.time.at(START_NS + deathNs, () => this.#killFirst());
    await this.time.run();
    const restNs = this.world.limits
      .map(({ windowNs, straggleNs, arrivalWithinNs = 0n }) => windowNs + straggleNs + arrivalWithinNs)
      .reduce(max);
    return {
      ...this.observed,
      countedNs: this.observed.countedNs.toSorted((a, b) => a - b),
      timersAtOnce: Math.max(...this.#threads.map(({ clock }) => clock.mostTimersAtOnce)),
      stuck: this.#threads.reduce((sum, { waiting }) => sum + waiting, 0),
      freeInTheEnd: this.#main.buckets.map((bucket) => bucket.countFree(this.time.nowNs + restNs)),
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
    const latestNs = this.time.nowNs + this.straggleNs;
    for (const arrival of thread.underWay) {
      arrival.atNs = min(arrival.atNs, latestNs);
      this.count(arrival);
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
