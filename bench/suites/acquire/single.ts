import { Mutex } from 'async-mutex';
import { Sema } from 'async-sema';
import { TokenBucket as PeerBucket, RateLimiter } from 'limiter';
import PQueue from 'p-queue';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { Limiter } from '../../../lib/limit/limiter.ts';
import { TokenBucket } from '../../../lib/limit/token-bucket.ts';
import { createControlBlock } from '../../../lib/shared/control-block.ts';
import {
  alternate,
  byItemsPerSecond,
  type Contender,
  failuresOf,
  perSecond,
  timingRow,
} from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atLeast, type Part } from '../../harness/suite.ts';
import { ANSWERED_NS, alwaysFree, NOW_NS, takeAndSettle, WINDOW_NS } from './always-free.ts';

const TOKENS = 20;
/** So many that none of the peers ever has to wait. */
const PLENTY = 1e12;
const FAST = 500_000;
const SLOW = 100_000;
const SLOWEST = 5_000;
const ROUNDS = 12;
const WARM_UPS = 4;
const WARM_UP_MS = 300;
const GOAL_TIMES = 0.8;

const US = 'sluicegate: take + settle, time passed in';
const PEERS = ['limiter: RateLimiter.tryRemoveTokens', 'limiter: TokenBucket.tryRemoveTokens'];

/** One thread, and there is always a token. */
export const single: Part = {
  name: 'single',
  title: 'one thread, always a token free',
  async run({ isQuick }) {
    const watch = watchMachine();
    const timings = await alternate(
      [...ours(), ...peers()],
      isQuick ? { rounds: 3, warmUps: 2 } : { rounds: ROUNDS, warmUps: WARM_UPS, warmUpMs: WARM_UP_MS },
    );
    const sorted = byItemsPerSecond(timings);
    const own = Math.max(...timings.filter(({ name }) => name === US).map(perSecond));
    const limiter = Math.max(...timings.filter(({ name }) => PEERS.includes(name)).map(perSecond));
    return {
      tables: [
        {
          title: 'take and give back, in turn',
          rows: sorted.map((timing) => ({
            ...timingRow(timing),
            'ns/item': (timing.ms.median / timing.items) * 1e6,
            'times limiter': perSecond(timing) / limiter,
          })),
          notes: [
            'ours is shared memory that any thread may use; the others are objects of one thread',
            'limiter: the faster of its two synchronous classes; its tokens are not given back, they refill by its clock',
            describeDisturbance(watch()),
          ],
        },
      ],
      failures: failuresOf(timings),
      targets: [atLeast('acquire, one thread: times limiter (synchronous)', own / limiter, GOAL_TIMES, 'x')],
      charts: [
        {
          title: 'Take and settle, one thread',
          kind: 'bars',
          xLabel: '',
          yLabel: '1/s',
          isLogarithmic: true,
          x: sorted.map(({ name }) => name),
          series: [{ name: 'per second', values: sorted.map(perSecond) }],
        },
      ],
    };
  },
};

function ours(): Contender[] {
  const limit = alwaysFree(TOKENS);
  const bucket = new TokenBucket(createControlBlock({ tokens: [TOKENS], slots: 1 }), 0, limit, 1);
  const clocked = new TokenBucket(createControlBlock({ tokens: [TOKENS], slots: 1 }), 0, limit, 1);
  const limiter = new Limiter(createControlBlock({ tokens: [TOKENS], slots: 1 }), [limit], 1);
  return [
    sync(US, FAST, (times) => void takeAndSettle(bucket, times)),
    sync('sluicegate: take + settle, the clock read for both', FAST, (times) => {
      for (let done = 0; done < times; done++) {
        const taken = clocked.take(process.hrtime.bigint());
        if (taken !== undefined) clocked.answered(taken.token, undefined, process.hrtime.bigint() - WINDOW_NS);
      }
    }),
    sync('sluicegate: Limiter.tryAcquire + Grant.answered, as a lane does', FAST, (times) => {
      for (let done = 0; done < times; done++) limiter.tryAcquire(NOW_NS)?.answered(ANSWERED_NS);
    }),
  ];
}

function peers(): Contender[] {
  const rate = new RateLimiter({ tokensPerInterval: PLENTY, interval: 'second' });
  const waiting = new RateLimiter({ tokensPerInterval: PLENTY, interval: 'second' });
  const bucket = new PeerBucket({ bucketSize: PLENTY, tokensPerInterval: PLENTY, interval: 1 });
  const flexible = new RateLimiterMemory({ points: PLENTY, duration: 1 });
  const sema = new Sema(TOKENS);
  const mutex = new Mutex();
  const queue = new PQueue({ intervalCap: PLENTY, interval: 1000 });
  return [
    sync('limiter: RateLimiter.tryRemoveTokens', FAST, (times) => {
      for (let done = 0; done < times; done++) rate.tryRemoveTokens(1);
    }),
    sync('limiter: TokenBucket.tryRemoveTokens', FAST, (times) => {
      for (let done = 0; done < times; done++) bucket.tryRemoveTokens(1);
    }),
    inTurn('limiter: removeTokens', SLOW, () => waiting.removeTokens(1)),
    inTurn('rate-limiter-flexible: consume, in memory', SLOW, () => flexible.consume('key')),
    inTurn('async-sema: acquire + release', SLOW, async () => sema.release(await sema.acquire())),
    inTurn('async-mutex: runExclusive', SLOW, () => mutex.runExclusive(nothing)),
    inTurn('p-queue: add', SLOWEST, () => queue.add(nothing)),
  ];
}

function nothing(): void {}

function sync(name: string, items: number, repeat: (times: number) => void): Contender {
  return { name, items, run: async () => repeat(items) };
}

function inTurn(name: string, items: number, once: () => Promise<unknown>): Contender {
  return {
    name,
    items,
    run: async () => {
      for (let done = 0; done < items; done++) await once();
    },
  };
}
