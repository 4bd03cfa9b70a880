import type { HttpOptions } from '../lib/types.ts';

/** What the HTTP handler of this thread works with. Apart from the client, so that threads without it need not load undici. */
export interface HttpConfig {
  readonly options: HttpOptions;
  /** Items that this thread works on at a time: the default for `connections`. */
  readonly lanes: number;
  /** The module that makes the undici Dispatcher, already resolved to a URL by the main thread. */
  readonly dispatcherUrl: string | undefined;
}

let current: HttpConfig = { options: {}, lanes: 16, dispatcherUrl: undefined };

/** Called once by the thread's entry, before any handler is loaded. */
export function configureHttp(config: HttpConfig): void {
  current = config;
}

/** The configuration of this thread. */
export function httpConfig(): HttpConfig {
  return current;
}
