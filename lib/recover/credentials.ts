import { AsyncLocalStorage } from 'node:async_hooks';
import { Mutex } from 'async-mutex';
import { EngineClosedError } from '../errors.ts';
import type { RefreshReason } from '../events.ts';

/** What a hook that gets new credentials is told. */
export interface RefreshRequest {
  readonly reason: RefreshReason;
  /** Aborts when nobody waits for the credentials any more: the engine was closed, or it took too long. */
  readonly signal: AbortSignal;
}

export interface CredentialsOptions {
  readonly initial: unknown;
  readonly refresh: ((request: RefreshRequest) => unknown) | undefined;
  /** How long one refresh may take. */
  readonly timeoutMs: number;
  readonly onSettled: (reason: RefreshReason, ok: boolean) => void;
}

/** The engine's credentials, and the one who may ask for new ones: one at a time. */
export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #mutex = new Mutex();
  readonly #closed = new AbortController();
  /** Tells code that the hook runs from all other code. */
  readonly #inside = new AsyncLocalStorage<RefreshRequest>();
  /** What the hook is at work on. */
  #request: RefreshRequest | undefined;
  #current: unknown;
  /** Refreshes that succeeded. */
  refreshes = 0;

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#current = options.initial;
  }

  get current(): unknown {
    return this.#current;
  }

  /** True if there are none and somebody can get them. */
  get areMissing(): boolean {
    return this.#current === undefined && this.canRefresh;
  }

  /** True if there is a hook to ask. */
  get canRefresh(): boolean {
    return this.#options.refresh !== undefined;
  }

  /** True for whoever is called by the hook, while that is at work: it would wait for itself. */
  get isInsideHook(): boolean {
    return this.#request !== undefined && this.#inside.getStore() === this.#request;
  }

  /**
   * Ask for new ones.
   * @throws whatever the hook throws; Error if it takes too long, returns nothing, or the engine was closed
   */
  refresh(reason: RefreshReason): Promise<void> {
    return this.#mutex.runExclusive(async () => {
      try {
        this.#current = cloned(await this.#ask(reason));
        this.refreshes++;
      } catch (error) {
        this.#options.onSettled(reason, false);
        throw error;
      }
      this.#options.onSettled(reason, true);
    });
  }

  /** The engine is closed: nobody waits any more. */
  close(): void {
    this.#closed.abort(new EngineClosedError('The engine was closed before there were new credentials.'));
  }

  /** A hook that ignores its signal must not keep anybody waiting. */
  async #ask(reason: RefreshReason): Promise<unknown> {
    const { refresh, timeoutMs } = this.#options;
    if (refresh === undefined) throw new TypeError('There is no onRefreshCredentials to ask.');
    const controller = new AbortController();
    const request: RefreshRequest = { reason, signal: controller.signal };
    this.#request = request;
    const closed = this.#closed.signal;
    let onClose: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await Promise.race([
        new Promise<never>((_, reject) => {
          const stop = (why: Error) => {
            controller.abort(why);
            reject(why);
          };
          onClose = () => stop(closed.reason as Error);
          if (closed.aborted) onClose();
          closed.addEventListener('abort', onClose);
          const tooLong = () => stop(new Error(`onRefreshCredentials took longer than ${timeoutMs} ms.`));
          timer = setTimeout(tooLong, timeoutMs);
        }),
        // In an async function, so that a hook that throws at once rejects like any other.
        this.#inside.run(request, async () => refresh(request)),
      ]);
    } finally {
      this.#request = undefined;
      // While it is enabled, every promise of this thread costs more.
      this.#inside.disable();
      clearTimeout(timer);
      if (onClose !== undefined) closed.removeEventListener('abort', onClose);
    }
  }
}

/** The error of structuredClone quotes what cannot be cloned, which may be a secret: it is not passed on. */
function cloned(fresh: unknown): unknown {
  if (fresh === undefined) throw new TypeError('onRefreshCredentials returned nothing.');
  try {
    return structuredClone(fresh);
  } catch {
    throw new TypeError('onRefreshCredentials returned something that cannot be cloned to other threads.');
  }
}
