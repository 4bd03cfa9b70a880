/**
 * Listens to signals on behalf of many: one listener for each signal, however many batches share it. Node takes more
 * than ten for a leak, and a program that passes its shutdown signal to every batch has none.
 */
export class AbortHub {
  readonly #callbacks = new Map<AbortSignal, Set<() => void>>();
  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal;
    const callbacks = this.#callbacks.get(signal);
    this.#callbacks.delete(signal);
    for (const callback of callbacks ?? []) callback();
  };

  /**
   * Call back when the signal aborts, unless it has.
   * @returns a function that ends this; nothing is left on the signal when all have called theirs.
   */
  listen(signal: AbortSignal | undefined, callback: () => void): () => void {
    if (signal === undefined || signal.aborted) return () => {};
    const callbacks = this.#callbacks.get(signal) ?? new Set();
    if (callbacks.size === 0) {
      this.#callbacks.set(signal, callbacks);
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    callbacks.add(callback);
    return () => {
      if (!callbacks.delete(callback) || callbacks.size > 0) return;
      this.#callbacks.delete(signal);
      signal.removeEventListener('abort', this.#onAbort);
    };
  }
}
