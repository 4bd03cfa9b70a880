import type { Fault, FaultKind } from '../../lib/simulator/index.ts';
import { type Random, seededRandom } from '../../lib/simulator/random.ts';
import { REFUSALS } from '../../lib/simulator/types.ts';
import type { ChaosItem, Death, Manner, Moment } from './fixtures/chaos-http.ts';

/** What the server does to the requests of an item: to the first one, or to all of them. */
export interface Trouble {
  readonly kind: FaultKind;
  readonly isOnce: boolean;
}

/** Everything that will go wrong in one run, by the seed alone. */
export interface ChaosPlan {
  readonly items: readonly ChaosItem[];
  readonly troubles: ReadonlyMap<number, Trouble>;
  readonly faults: readonly Fault[];
  /** Numbers of the requests that the server refuses, by way of the faults. */
  readonly refused: ReadonlySet<number>;
  /** The test ends a thread from outside when so many items are done. */
  readonly kills: readonly number[];
}

const MOMENTS: readonly Moment[] = ['before', 'sending', 'written', 'in-flight', 'answered', 'judging'];
/** Of every twenty deaths; four more are the test's. */
const MANNERS: readonly Manner[] = [
  ...Array<Manner>(7).fill('exit'),
  ...Array<Manner>(3).fill('throw'),
  ...Array<Manner>(3).fill('reject'),
  ...Array<Manner>(2).fill('loop'),
  'memory',
];
const KILLS_BY_TEST = 4;
const DEATHS = MANNERS.length + KILLS_BY_TEST;

const TROUBLES: readonly FaultKind[] = [
  'reset',
  'hang',
  'truncated',
  'malformed-json',
  'html-500',
  'slow-body',
  'huge-body',
  'gzip',
  'truncated-gzip',
  'wrong-length',
];

/** Larger than what the handler accepts. */
export const HUGE_BODY_BYTES = 200_000;

/** Plan a run: so many items, and deaths of threads in twenties. */
export function planChaos(seed: number, count: number, twenties: number): ChaosPlan {
  const random = seededRandom(seed);
  const order = shuffled(random, count);
  const deaths = new Map<number, Death>();
  /** Killers that must not run twice. Only of the others it is certain that they will come to it. */
  const careful = new Set<number>();
  for (let n = 0; n < twenties; n++) {
    for (const manner of MANNERS) {
      const moment = pick(random, MOMENTS);
      deaths.set(order.pop() ?? 0, { manner, moment, afterMs: 1 + Math.floor(random() * 25), isOnce: true });
    }
    // Beyond the twenty: one that never lets its thread live, and some that must not run twice.
    deaths.set(order.pop() ?? 0, { manner: 'exit', moment: pick(random, MOMENTS), afterMs: 5, isOnce: false });
    for (const moment of MOMENTS) {
      const index = order.pop() ?? 0;
      deaths.set(index, { manner: 'exit', moment, afterMs: 1 + Math.floor(random() * 25), isOnce: true });
      careful.add(index);
    }
  }
  const troubles = new Map<number, Trouble>();
  for (const kind of TROUBLES) {
    for (let n = 0; n < Math.ceil(count / 250); n++) troubles.set(order.pop() ?? 0, { kind, isOnce: n % 4 !== 0 });
  }
  const refused = planRefusals(random, count);
  return {
    items: Array.from({ length: count }, (_, index) => itemOf(random, index, deaths.get(index), careful.has(index))),
    troubles,
    faults: [...refused.faults, ...[...troubles].map(([index, trouble]) => faultOf(index, trouble))],
    refused: refused.numbers,
    kills: Array.from({ length: KILLS_BY_TEST * twenties }, () => Math.floor(random() * count * 0.9)).sort(
      (a, b) => a - b,
    ),
  };
}

/** How many threads a plan ends at least. */
export function leastDeaths(twenties: number): number {
  return DEATHS * twenties;
}

export function pathOf(index: number): string {
  return `/item/${index}`;
}

function itemOf(random: Random, index: number, death: Death | undefined, isCareful: boolean): ChaosItem {
  const isPost = isCareful || (death === undefined && random() < 0.25);
  const hasBody = death === undefined ? isPost && random() < 0.5 : death.moment === 'written';
  return {
    index,
    url: pathOf(index),
    method: isPost ? 'POST' : hasBody ? 'PUT' : 'GET',
    ...(hasBody ? { body: { index } } : {}),
    ...(death === undefined ? {} : { death }),
  };
}

function faultOf(index: number, { kind, isOnce }: Trouble): Fault {
  const when = { path: pathOf(index), ...(isOnce ? { times: 1 } : {}) };
  if (kind === 'slow-body') return { kind, durationMs: 200, ...when };
  if (kind === 'huge-body') return { kind, bytes: HUGE_BODY_BYTES, ...when };
  return { kind, ...when } as Fault;
}

/** Refusals of all kinds, alone and in bursts, by the number of the request: any item may meet them. */
function planRefusals(random: Random, count: number) {
  const numbers = new Set<number>();
  const draw = (length: number): number[] => {
    const first = 1 + Math.floor(random() * count);
    const burst = Array.from({ length }, (_, n) => first + n).filter((n) => !numbers.has(n));
    for (const n of burst) numbers.add(n);
    return burst;
  };
  const faults: Fault[] = [];
  for (let n = 0; n < Math.ceil(count / 2000); n++) {
    for (const variant of REFUSALS) {
      // This one asks for a second of quiet each time.
      const isAlone = variant === '429' || random() < 0.5;
      faults.push({ kind: 'refuse', variant, at: draw(isAlone ? 1 : 12) });
    }
    faults.push({ kind: '429', at: draw(2) }, { kind: '503', retryAfter: 1, at: draw(1) });
  }
  return { faults: faults.filter(({ at }) => (at as number[]).length > 0), numbers };
}

function shuffled(random: Random, count: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] ?? 0, order[last] ?? 0];
  }
  return order;
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)] as T;
}
