import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Grant, Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { allowedLatenessNs } from '../../lib/limit/start-slots.ts';
import { type Clock, type Ticket, Waiter } from '../../lib/limit/waiter.ts';
import { limitOf, MS } from '../limit/worlds.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body, Self, World } from './thread.ts';
import { clock, endOf, now } from './token-world.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
/** Timers fire by so much too early. Some of Node's do by twice that; if all did, one of 1 ms would fire for ever. */
const EARLY_NS = 500_000;

/** What becomes of a request when it has what it waited for, or of its wait. */
type Wish = 'answered' | 'given back' | 'cancelled';

interface WaitGhost {
  now: number;
  /** Until when each thread that waits for its timer waits at least. */
  waits: Record<string, number>;
  /** Threads of which the main thread knows that they are dead, and has what they held. */
  buried: string[];
  /** Requests that were answered as soon as they were started, by thread and time. */
  answers: [name: string, atNs: number][];
}

type Step = Self<WaitGhost>;

/** The clock of the scenario, and the one timer of a waiter. */
class Timer implements Clock {
  readonly #self: Step;
  readonly #name: string;
  /** What the clock said last. */
  #nowNs = 0n;
  #set: { readonly callback: () => void; readonly atNs: number } | undefined;

  constructor(self: Step, name: string) {
    this.#self = self;
    this.#name = name;
  }

  nowNs(): bigint {
    this.#nowNs = now(this.#self);
    return this.#nowNs;
  }

  setTimer(callback: () => void, ms: number): unknown {
    assert.equal(this.#set, undefined, 'two timers');
    this.#set = { callback, atNs: Number(this.#nowNs) + ms * 1e6 };
    return this.#set;
  }

  clearTimer(timer: unknown): void {
    assert.equal(timer, this.#set);
    this.#set = undefined;
  }

  get isSet(): boolean {
    return this.#set !== undefined;
  }

  /** Wait for it, and let it look. */
  fire(): void {
    const timer = this.#set;
    assert.ok(timer !== undefined, 'somebody waits, and no timer will ever look');
    this.#set = undefined;
    const fromNs = timer.atNs - EARLY_NS;
    this.#self.note(({ ghost }) => {
      ghost.waits[this.#name] = fromNs;
    });
    const wake = ({ ghost }: World<WaitGhost>) => delete ghost.waits[this.#name];
    this.#self.until(`it is nearly ${timer.atNs}`, ({ ghost }) => ghost.now >= fromNs, wake);
    timer.callback();
  }
}

/** A thread with a lane for each of these wishes. */
const waiting =
  (name: string, id: number, limits: readonly PlannedLimit[], wishes: readonly Wish[]): Body<WaitGhost> =>
  async (self) => {
    const timer = new Timer(self, name);
    const waiter = new Waiter(new Limiter(self.block, limits, id), timer);
    const order: number[] = [];
    const ends: string[] = [];
    const use = (lane: number, grant: Grant | undefined) => {
      order.push(lane);
      ends[lane] = end(self, name, waiter, timer, grant, wishes[lane] ?? 'answered');
    };
    const tickets = new Map<number, Ticket>();
    const granted: [lane: number, grant: Grant | undefined][] = [];
    for (const lane of wishes.keys()) {
      const got = waiter.acquire(timer.nowNs());
      if (got instanceof Grant) {
        assert.equal(tickets.size, 0, 'a lane is served before the first one');
        use(lane, got);
        continue;
      }
      tickets.set(lane, got);
      void got.granted.then((grant) => granted.push([lane, grant]));
    }
    for (const [lane, ticket] of tickets) if (wishes[lane] === 'cancelled') waiter.cancel(ticket);
    for (;;) {
      await nextTurn();
      for (const [lane, grant] of granted.splice(0)) {
        tickets.delete(lane);
        use(lane, grant);
      }
      if (tickets.size === 0) break;
      if (granted.length === 0 && waiter.size > 0) timer.fire();
    }
    assert.deepEqual([waiter.size, timer.isSet], [0, false], 'nobody waits, and there is a timer');
    const served = order.filter((lane) => wishes[lane] !== 'cancelled');
    assert.deepEqual(served, served.toSorted(), 'not in the order in which they came');
    return ends.join('+');
  };

function end(self: Step, name: string, waiter: Waiter, timer: Timer, grant: Grant | undefined, wish: Wish): string {
  if (grant === undefined) return wish;
  const nowNs = timer.nowNs();
  if (wish !== 'answered') {
    grant.giveBack();
    waiter.look();
    return wish === 'cancelled' ? 'too late' : 'back';
  }
  self.act('is answered', ({ ghost }) => {
    ghost.answers.push([name, Number(nowNs)]);
  });
  grant.answered(nowNs);
  return 'answered';
}

/** These times come whenever they like; after them the time of the next timer does, as soon as nobody can go on. */
const clockOf =
  (names: readonly string[], times: readonly number[]): Body<WaitGhost> =>
  (self) => {
    clock(times)(self);
    const isQuiet = (world: World<WaitGhost>) =>
      names.every((name) => world.isOver(name) || (world.ghost.waits[name] ?? 0) > world.ghost.now) &&
      names.every((name) => !world.isDead(name) || world.ghost.buried.includes(name));
    const goOn = ({ ghost, isDead }: World<WaitGhost>) => {
      const next = Object.entries(ghost.waits).filter(([name]) => !isDead(name));
      ghost.now = Math.min(...next.map(([, atNs]) => atNs));
      return next.length > 0;
    };
    while (self.until('nobody can go on', isQuiet, goOn));
  };

/** The main thread: takes back what the dead held, whoever dies first. */
const reclaimer =
  (ids: Readonly<Record<string, number>>, limits: readonly PlannedLimit[]): Body<WaitGhost> =>
  (self) => {
    const limiter = new Limiter(self.block, limits, 0);
    const left = { ...ids };
    let reclaimed = 0;
    while (Object.keys(left).length > 0) {
      const over = (world: World<WaitGhost>) => Object.keys(left).find(world.isOver) ?? '';
      const name = self.until('one is over', (world) => over(world) !== '', over);
      if (self.act(`asks if ${name} died`, ({ isDead }) => isDead(name))) {
        reclaimed += limiter.reclaim(left[name] ?? 0, now(self));
        self.act('has taken back what it held', ({ ghost }) => ghost.buried.push(name));
      }
      delete left[name];
    }
    return reclaimed;
  };

interface Case {
  readonly limit: Partial<PlannedLimit>;
  readonly wishes: Readonly<Record<string, readonly Wish[]>>;
  readonly times?: readonly number[];
  readonly mortal?: readonly string[];
}

function scenarioOf({ limit, wishes, times = [], mortal = [] }: Case): Scenario<WaitGhost> {
  const limits = [limitOf({ tokens: 1, windowNs: 100n * MS, straggleNs: 10n * MS, ...limit })];
  const names = Object.keys(wishes);
  const ids = Object.fromEntries(names.map((name, n) => [name, n + 1]));
  const { tokens, windowNs, gapNs } = limits[0] as PlannedLimit;
  return {
    sizes: { tokens: [tokens], slots: 0 },
    ghost: { now: 0, waits: {}, buried: [], answers: [] },
    threads: {
      ...Object.fromEntries(names.map((name) => [name, waiting(name, ids[name] ?? 0, limits, wishes[name] ?? [])])),
      clock: clockOf(names, times),
      main: reclaimer(Object.fromEntries(mortal.map((name) => [name, ids[name] ?? 0])), limits),
    },
    mortal,
    deaths: mortal.length,
    check: ({ ghost: { answers } }) => {
      const times = answers.map(([, atNs]) => atNs).sort((a, b) => a - b);
      for (const [n, answer] of times.entries()) {
        const later = times[n + tokens];
        assert.ok(later === undefined || later - answer >= windowNs, 'too many in one window');
      }
      const leastNs = gapNs > 0n ? gapNs - allowedLatenessNs(gapNs) : 0n;
      for (const [n, start] of times.slice(1).entries()) assert.ok(start - (times[n] ?? 0) >= leastNs, 'too near');
    },
    end: (world) => {
      const { answers } = world.ghost;
      const end = endOf(world, names, limits);
      if (mortal.length === 0) return `${end}: ${answers.map(([name, atNs]) => `${name} ${atNs / 1e6}`).join(', ')}`;
      // Nobody waits for longer because somebody is dead: a window, and the time for stragglers.
      for (const [name, atNs] of answers) assert.ok(atNs <= 110e6, `${name} waits until ${atNs}`);
      return end;
    },
  };
}

describe('threads that wait for tokens', () => {
  it('are all served, each in the order in which its lanes came', (t) => {
    const wishes = { T1: ['answered', 'answered'], T2: ['answered'] } as const;
    return exploreTo(t, scenarioOf({ limit: {}, wishes }), [
      'answered+answered, answered: T1 0, T1 100, T2 200',
      'answered+answered, answered: T1 0, T2 100, T1 200',
      'answered+answered, answered: T2 0, T1 100, T1 200',
    ]);
  });

  it('see at once what their own lanes give back', (t) => {
    const wishes = { T1: ['given back', 'answered'], T2: ['answered'] } as const;
    return exploreTo(t, scenarioOf({ limit: {}, wishes }), [
      'back+answered, answered: T1 0, T2 100',
      'back+answered, answered: T2 0, T1 100',
    ]);
  });

  it('serve no lane before one that came first, also if the token comes back in between', (t) => {
    const wishes = { T1: ['answered', 'answered'], T2: ['given back'] } as const;
    return exploreTo(t, scenarioOf({ limit: {}, wishes, times: [13e6] }), [
      'answered+answered, back: T1 0, T1 100',
      'answered+answered, back: T1 13, T1 113',
      // T2 had it just then, and of what it gives back T1 does not know for an eighth of a window.
      'answered+answered, back: T1 0, T1 112.5',
      'answered+answered, back: T1 13, T1 125.5',
      'answered+answered, back: T1 25.5, T1 125.5',
    ]);
  });

  it('lose nothing by a lane that leaves the queue', (t) => {
    const wishes = { T1: ['answered', 'cancelled', 'answered'], T2: ['answered'] } as const;
    return exploreTo(t, scenarioOf({ limit: {}, wishes }), [
      'answered+cancelled+answered, answered: T1 0, T1 100, T2 200',
      'answered+cancelled+answered, answered: T1 0, T2 100, T1 200',
      'answered+cancelled+answered, answered: T2 0, T1 100, T1 200',
    ]);
  });

  it('lose nothing by a lane that leaves while it waits for its start', async (t) => {
    const limit = { tokens: 2, gapNs: 40n * MS };
    const alone = { T1: ['answered', 'cancelled', 'answered', 'answered'] } as const;
    await exploreTo(t, scenarioOf({ limit, wishes: alone }), [
      'answered+cancelled+answered+answered: T1 0, T1 40, T1 100',
    ]);
    await exploreTo(t, scenarioOf({ limit, wishes: { T1: ['answered', 'cancelled'], T2: ['answered'] } }), [
      'answered+cancelled, answered: T1 0, T2 40',
      'answered+cancelled, answered: T2 0, T1 40',
    ]);
  });

  it('are served if others die, whoever dies first', (t) =>
    exploreTo(t, scenarioOf({ limit: {}, wishes: { T1: ['answered'], T2: ['answered'] }, mortal: ['T1', 'T2'] }), [
      'answered, answered',
      'answered, dead',
      'dead, answered',
      'dead, dead',
      'answered, dead, 1 reclaimed',
      'dead, answered, 1 reclaimed',
      'dead, dead, 1 reclaimed',
      'dead, dead, 2 reclaimed',
    ]));

  it('are served, also if they or their timers are late', { skip: !LONG && 'only in the long form' }, (t) => {
    const wishes = { T1: ['answered', 'answered'], T2: ['answered'] } as const;
    const ends = [
      // The token is free at 100 and nobody gets a look before 140; or one looked just before it was free for certain.
      'T1 0, T1 140, T2 240',
      'T1 0, T2 140, T1 240',
      'T2 0, T1 140, T1 240',
      'T2 0, T1 152.5, T1 252.5',
    ];
    for (const first of [99, 140]) {
      for (const [one, two, three] of [
        ['T1', 'T1', 'T2'],
        ['T1', 'T2', 'T1'],
        ['T2', 'T1', 'T1'],
      ]) {
        ends.push(`${one} ${first}, ${two} ${first + 100}, ${three} ${first + 200}`);
      }
    }
    return exploreTo(
      t,
      scenarioOf({ limit: {}, wishes, times: [99e6, 140e6] }),
      ends.map((end) => `answered+answered, answered: ${end}`),
    );
  });
});
