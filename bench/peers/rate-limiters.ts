import { RateLimit } from 'async-sema';
// biome-ignore lint/correctness/noUnresolvedImports: CommonJS, whose exports are the default import.
import Bottleneck from 'bottleneck';
import { RateLimiter } from 'limiter';
import PQueue from 'p-queue';
import pThrottle from 'p-throttle';
import { RateLimiterMemory, RateLimiterQueue } from 'rate-limiter-flexible';
import type { Schedule } from '../harness/peer-run.ts';

const SECOND_MS = 1000;

/** A client that keeps a rate, at a setting that its documentation has for the purpose. */
export interface RateLimitPeer {
  readonly library: string;
  readonly name: string;
  readonly setting: (perSecond: number) => string;
  open(perSecond: number): Schedule;
}

/**
 * Every library in each way that it documents to keep a rate exactly: so many in a second, and one after the other at
 * even distances, where it has both. rate-limiter-flexible's BurstyRateLimiter is not among them: it lets through more
 * than the rate on purpose. p-queue's `carryoverIntervalCount` has no effect with `strict`, so it is a way of its own.
 */
export const RATE_LIMIT_PEERS: readonly RateLimitPeer[] = [
  {
    library: 'bottleneck',
    name: 'bottleneck, reservoir',
    setting: (n) => `{ reservoir: ${n}, reservoirRefreshAmount: ${n}, reservoirRefreshInterval: 1000 }`,
    open: (perSecond) => bottleneck(reservoir(perSecond)),
  },
  {
    library: 'bottleneck',
    name: 'bottleneck, paced',
    setting: (n) => `{ minTime: ${gapText(n)} }`,
    open: (perSecond) => bottleneck({ minTime: SECOND_MS / perSecond }),
  },
  {
    library: 'bottleneck',
    name: 'bottleneck, both',
    setting: (n) => `reservoir of ${n} as above, and minTime: ${gapText(n)}`,
    open: (perSecond) => bottleneck({ ...reservoir(perSecond), minTime: SECOND_MS / perSecond }),
  },
  {
    library: 'p-queue',
    name: 'p-queue, strict',
    setting: (n) => `{ intervalCap: ${n}, interval: 1000, strict: true }`,
    open: (perSecond) => pQueue({ intervalCap: perSecond, interval: SECOND_MS, strict: true }),
  },
  {
    library: 'p-queue',
    name: 'p-queue, carryover',
    setting: (n) => `{ intervalCap: ${n}, interval: 1000, carryoverIntervalCount: true }`,
    open: (perSecond) => pQueue({ intervalCap: perSecond, interval: SECOND_MS, carryoverIntervalCount: true }),
  },
  {
    library: 'p-queue',
    name: 'p-queue, paced',
    setting: (n) => `{ intervalCap: 1, interval: ${gapText(n)}, strict: true }`,
    open: (perSecond) => pQueue({ intervalCap: 1, interval: SECOND_MS / perSecond, strict: true }),
  },
  {
    library: 'p-throttle',
    name: 'p-throttle, strict',
    setting: (n) => `{ limit: ${n}, interval: 1000, strict: true }`,
    open: (perSecond) => throttle(perSecond, SECOND_MS),
  },
  {
    library: 'p-throttle',
    name: 'p-throttle, paced',
    setting: (n) => `{ limit: 1, interval: ${gapText(n)}, strict: true }`,
    open: (perSecond) => throttle(1, SECOND_MS / perSecond),
  },
  {
    library: 'limiter',
    name: 'limiter, per second',
    setting: (n) => `RateLimiter({ tokensPerInterval: ${n}, interval: 'second' })`,
    open: (perSecond) => limiter(perSecond, SECOND_MS),
  },
  {
    library: 'limiter',
    name: 'limiter, paced',
    setting: (n) => `RateLimiter({ tokensPerInterval: 1, interval: ${gapText(n)} })`,
    open: (perSecond) => limiter(1, SECOND_MS / perSecond),
  },
  {
    library: 'async-sema',
    name: 'async-sema, per second',
    setting: (n) => `RateLimit(${n})`,
    open: (perSecond) => ({ schedule: afterWaiting(RateLimit(perSecond)), close: () => {} }),
  },
  {
    library: 'async-sema',
    name: 'async-sema, paced',
    setting: (n) => `RateLimit(${n}, { uniformDistribution: true })`,
    open: (perSecond) => ({
      schedule: afterWaiting(RateLimit(perSecond, { uniformDistribution: true })),
      close: () => {},
    }),
  },
  {
    library: 'rate-limiter-flexible',
    name: 'rate-limiter-flexible, queue',
    setting: (n) => `RateLimiterQueue(RateLimiterMemory({ points: ${n}, duration: 1 }))`,
    open: (perSecond) => flexible({ points: perSecond, duration: 1 }),
  },
  {
    library: 'rate-limiter-flexible',
    name: 'rate-limiter-flexible, evenly',
    setting: (n) => `RateLimiterQueue(RateLimiterMemory({ points: ${n}, duration: 1, execEvenly: true }))`,
    open: (perSecond) => flexible({ points: perSecond, duration: 1, execEvenly: true }),
  },
  {
    library: 'rate-limiter-flexible',
    name: 'rate-limiter-flexible, paced',
    setting: (n) => `RateLimiterQueue(RateLimiterMemory({ points: 1, duration: ${gapText(n)} / 1000 }))`,
    open: (perSecond) => flexible({ points: 1, duration: 1 / perSecond }),
  },
];

/** @throws Error if there is none of this name */
export function findPeer(name: string): RateLimitPeer {
  const found = RATE_LIMIT_PEERS.find((peer) => peer.name === name);
  if (found === undefined) throw new Error(`There is no peer ${name}.`);
  return found;
}

function gapText(perSecond: number): string {
  return String(Number((SECOND_MS / perSecond).toFixed(2)));
}

function reservoir(perSecond: number) {
  return { reservoir: perSecond, reservoirRefreshAmount: perSecond, reservoirRefreshInterval: SECOND_MS };
}

function bottleneck(options: Bottleneck.ConstructorOptions): Schedule {
  const made = new Bottleneck(options);
  return { schedule: (send) => made.schedule(send), close: () => void made.disconnect() };
}

function pQueue(options: ConstructorParameters<typeof PQueue>[0]): Schedule {
  const queue = new PQueue(options);
  return { schedule: (send) => queue.add(send), close: () => {} };
}

function throttle(limit: number, interval: number): Schedule {
  const throttled = pThrottle({ limit, interval, strict: true });
  return { schedule: throttled((send: () => Promise<void>) => send()), close: () => {} };
}

function limiter(tokensPerInterval: number, interval: number): Schedule {
  const made = new RateLimiter({ tokensPerInterval, interval });
  return { schedule: afterWaiting(() => made.removeTokens(1)), close: () => {} };
}

function flexible(options: ConstructorParameters<typeof RateLimiterMemory>[0]): Schedule {
  const queue = new RateLimiterQueue(new RateLimiterMemory(options));
  return { schedule: afterWaiting(() => queue.removeTokens(1)), close: () => {} };
}

function afterWaiting(wait: () => Promise<unknown>): Schedule['schedule'] {
  return async (send) => {
    await wait();
    await send();
  };
}
