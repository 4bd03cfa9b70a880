import { RateLimit } from 'async-sema';
// biome-ignore lint/correctness/noUnresolvedImports: CommonJS, whose exports are the default import.
import Bottleneck from 'bottleneck';
import { RateLimiter } from 'limiter';
import PQueue from 'p-queue';
import pThrottle from 'p-throttle';
import { RateLimiterMemory, RateLimiterQueue } from 'rate-limiter-flexible';
import type { Schedule } from '../harness/peer-run.ts';

const SECOND_MS = 1000;

/** A client that keeps a rate, at a setting that its documentation recommends. */
export interface RateLimitPeer {
  readonly name: string;
  readonly setting: (perSecond: number) => string;
  open(perSecond: number): Schedule;
}

/** Where two settings are documented for the purpose, both. */
export const RATE_LIMIT_PEERS: readonly RateLimitPeer[] = [
  {
    name: 'bottleneck, minTime',
    setting: (perSecond) => `{ minTime: ${SECOND_MS / perSecond} }`,
    open: (perSecond) => {
      const limiter = new Bottleneck({ minTime: SECOND_MS / perSecond });
      return { schedule: (send) => limiter.schedule(send), close: () => void limiter.disconnect() };
    },
  },
  {
    name: 'bottleneck, reservoir',
    setting: (n) => `{ reservoir: ${n}, reservoirRefreshAmount: ${n}, reservoirRefreshInterval: 1000 }`,
    open: (perSecond) => {
      const limiter = new Bottleneck({
        reservoir: perSecond,
        reservoirRefreshAmount: perSecond,
        reservoirRefreshInterval: SECOND_MS,
      });
      return { schedule: (send) => limiter.schedule(send), close: () => void limiter.disconnect() };
    },
  },
  {
    name: 'p-queue, strict',
    setting: (n) => `{ intervalCap: ${n}, interval: 1000, strict: true }`,
    open: (perSecond) => {
      const queue = new PQueue({ intervalCap: perSecond, interval: SECOND_MS, strict: true });
      return { schedule: (send) => queue.add(send), close: () => {} };
    },
  },
  {
    name: 'p-throttle, strict',
    setting: (n) => `{ limit: ${n}, interval: 1000, strict: true }`,
    open: (perSecond) => {
      const throttle = pThrottle({ limit: perSecond, interval: SECOND_MS, strict: true });
      return { schedule: throttle((send: () => Promise<void>) => send()), close: () => {} };
    },
  },
  {
    name: 'limiter, paced',
    setting: (n) => `RateLimiter({ tokensPerInterval: 1, interval: ${SECOND_MS / n} })`,
    open: (perSecond) => {
      const limiter = new RateLimiter({ tokensPerInterval: 1, interval: SECOND_MS / perSecond });
      return { schedule: afterWaiting(() => limiter.removeTokens(1)), close: () => {} };
    },
  },
  {
    name: 'limiter, per second',
    setting: (n) => `RateLimiter({ tokensPerInterval: ${n}, interval: 'second' })`,
    open: (perSecond) => {
      const limiter = new RateLimiter({ tokensPerInterval: perSecond, interval: 'second' });
      return { schedule: afterWaiting(() => limiter.removeTokens(1)), close: () => {} };
    },
  },
  {
    name: 'async-sema, uniform',
    setting: (n) => `RateLimit(${n}, { uniformDistribution: true })`,
    open: (perSecond) => {
      const limit = RateLimit(perSecond, { uniformDistribution: true });
      return { schedule: afterWaiting(limit), close: () => {} };
    },
  },
  {
    name: 'rate-limiter-flexible, queue',
    setting: (n) => `RateLimiterQueue(RateLimiterMemory({ points: ${n}, duration: 1 }))`,
    open: (perSecond) => {
      const queue = new RateLimiterQueue(new RateLimiterMemory({ points: perSecond, duration: 1 }));
      return { schedule: afterWaiting(() => queue.removeTokens(1)), close: () => {} };
    },
  },
];

function afterWaiting(wait: () => Promise<unknown>): Schedule['schedule'] {
  return async (send) => {
    await wait();
    await send();
  };
}
