// biome-ignore lint/correctness/noUnresolvedImports: CommonJS, whose exports are the default import.
import Bottleneck from 'bottleneck';
import {
  bulkhead,
  DelegateBackoff,
  ExponentialBackoff,
  handleType,
  type IBackoff,
  type IBackoffFactory,
  type IRetryBackoffContext,
  retry,
  wrap,
} from 'cockatiel';
import pThrottle from 'p-throttle';
import { type Dispatcher, interceptors } from 'undici';
import { RefusedError, type Schedule } from '../../harness/peer-run.ts';
import { findPeer } from '../../peers/rate-limiters.ts';

const SECOND_MS = 1000;
/** As many as ours, so that nobody gives up earlier. */
const MAX_RETRIES = 5;
const INITIAL_MS = 1000;
const MAX_CONCURRENT = 20;

/** A client with the way of trying again that its documentation shows, or else cockatiel's around it. */
export interface Recipe {
  /** Those of one library share a process. */
  readonly library: string;
  readonly name: string;
  readonly recipe: string;
  open(perSecond: number): Schedule;
}

/** What the server asks for, otherwise a second, doubled each time. */
function backoffMs(error: unknown, retries: number): number {
  const hintMs = error instanceof RefusedError ? error.retryAfterMs : undefined;
  return hintMs ?? INITIAL_MS * 2 ** retries;
}

const exponential: IBackoffFactory<unknown> = new ExponentialBackoff({ initialDelay: INITIAL_MS });

/** cockatiel's exponential backoff, or the server's hint where there is one. */
const hintOrExponential = new DelegateBackoff<IRetryBackoffContext<unknown>, IBackoff<unknown>>((context, before) => {
  const state = (before ?? exponential).next(context);
  const { result } = context;
  const hintMs = 'error' in result && result.error instanceof RefusedError ? result.error.retryAfterMs : undefined;
  return { state, delay: hintMs ?? state.duration };
});

function retryPolicy() {
  return retry(handleType(RefusedError), { maxAttempts: MAX_RETRIES, backoff: hintOrExponential });
}

/** Each attempt waits for its turn at the limiter. */
function withRetries(schedule: Schedule): Schedule {
  const policy = retryPolicy();
  return {
    schedule: (send) => policy.execute(() => schedule.schedule(send)),
    close: () => schedule.close(),
  };
}

function peerWithRetries(name: string): Recipe {
  const peer = findPeer(name);
  return {
    library: peer.library,
    name: `${name} + cockatiel`,
    recipe: 'cockatiel retry(handleType, hint or ExponentialBackoff) around each call of the limiter',
    open: (perSecond) => withRetries(peer.open(perSecond)),
  };
}

function undiciRetry(): Dispatcher.DispatcherComposeInterceptor {
  return interceptors.retry({ maxRetries: MAX_RETRIES, minTimeout: INITIAL_MS, statusCodes: [429] });
}

/** Whatever passes here waits for its turn: the first attempt of a request and every later one. */
function throttleBelow(perSecond: number): Dispatcher.DispatcherComposeInterceptor {
  const throttled = pThrottle({ limit: perSecond, interval: SECOND_MS, strict: true })((send: () => void) => send());
  return (dispatch) => (options, handler) => {
    void throttled(() => void dispatch(options, handler));
    return true;
  };
}

export const RECIPES: readonly Recipe[] = [
  {
    library: 'bottleneck',
    name: 'bottleneck, failed event',
    recipe: "minTime; limiter.on('failed') returns the hint or a doubled second; such retries do not wait for minTime",
    open: (perSecond) => {
      const limiter = new Bottleneck({ minTime: SECOND_MS / perSecond });
      limiter.on('failed', (error, { retryCount }) =>
        retryCount < MAX_RETRIES ? backoffMs(error, retryCount) : undefined,
      );
      return { schedule: (send) => limiter.schedule(send), close: () => void limiter.disconnect() };
    },
  },
  peerWithRetries('bottleneck, paced'),
  {
    library: 'p-throttle',
    name: 'cockatiel + p-throttle',
    recipe: 'wrap(retry, bulkhead) around a strict p-throttle',
    open: (perSecond) => {
      const policy = wrap(retryPolicy(), bulkhead(MAX_CONCURRENT, Number.POSITIVE_INFINITY));
      const throttle = pThrottle({ limit: perSecond, interval: SECOND_MS, strict: true });
      const throttled = throttle((send: () => Promise<void>) => send());
      return { schedule: (send) => policy.execute(() => throttled(send)), close: () => {} };
    },
  },
  peerWithRetries('p-throttle, paced'),
  {
    library: 'p-throttle',
    name: 'undici retry over p-throttle',
    recipe: 'agent.compose([strict p-throttle, interceptors.retry]): every attempt is throttled; honours Retry-After',
    open: (perSecond) => ({
      schedule: (send) => send(),
      interceptors: [throttleBelow(perSecond), undiciRetry()],
      close: () => {},
    }),
  },
  {
    library: 'p-throttle',
    name: 'undici retry below p-throttle',
    recipe:
      'a strict p-throttle around requests of agent.compose(interceptors.retry): only first attempts are throttled',
    open: (perSecond) => ({ ...findPeer('p-throttle, strict').open(perSecond), interceptors: [undiciRetry()] }),
  },
  peerWithRetries('p-queue, strict'),
  peerWithRetries('p-queue, paced'),
  peerWithRetries('limiter, paced'),
  peerWithRetries('async-sema, paced'),
  peerWithRetries('rate-limiter-flexible, queue'),
  peerWithRetries('rate-limiter-flexible, paced'),
];
