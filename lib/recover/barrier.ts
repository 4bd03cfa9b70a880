import type { Dispatcher } from '../batch/dispatcher.ts';
import type { ThreadHandle } from '../pool/thread-pool.ts';
import { WORK } from '../shared/layout.ts';

export interface BarrierOptions {
  readonly dispatcher: Dispatcher;
  readonly cancelGraceMs: number;
  readonly nowMs: () => number;
  readonly kill: (thread: ThreadHandle, because: string) => void;
}

/** No request of an old round overlaps the new round: waits for every chunk of the closed generations. */
export class Barrier {
  readonly #options: BarrierOptions;
  #wait: { readonly generation: number; cancelledMs: number | undefined; readonly passed: () => void } | undefined;

  constructor(options: BarrierOptions) {
    this.#options = options;
  }

  /** True while it is being waited at. */
  get isUp(): boolean {
    return this.#wait !== undefined;
  }

  /** Resolves when nothing of an older generation is out any more. */
  pass(generation: number): Promise<void> {
    return new Promise((resolve) => {
      const passed = () => {
        this.#wait = undefined;
        this.#options.dispatcher.watchChunks(undefined);
        resolve();
      };
      this.#wait = { generation, cancelledMs: undefined, passed };
      this.#options.dispatcher.watchChunks(() => this.#check());
      this.#check();
    });
  }

  /** What is in flight has been told to stop: from now on `enforce` waits no longer than handlers may take to obey. */
  noteCancelled(): void {
    if (this.#wait !== undefined) this.#wait.cancelledMs ??= this.#options.nowMs();
  }

  /** Wait no more. */
  lift(): void {
    this.#wait?.passed();
  }

  /**
   * End threads whose handlers ignore that they were cancelled. Called now and then. A thread that has a request in
   * flight which must not be cancelled is left alone: it ends by its timeout.
   */
  enforce(): void {
    const wait = this.#wait;
    if (wait?.cancelledMs === undefined) return;
    if (this.#options.nowMs() - wait.cancelledMs < this.#options.cancelGraceMs) return;
    const late = new Set<ThreadHandle>();
    const spared = new Set<ThreadHandle>();
    for (const { thread, slot } of this.#options.dispatcher.outstandingBelow(wait.generation)) {
      const { work } = slot;
      if ((work & WORK.called) !== 0 && (work & WORK.idempotent) === 0) spared.add(thread);
      else late.add(thread);
    }
    for (const thread of late) if (!spared.has(thread)) this.#options.kill(thread, 'a handler that ignored its signal');
  }

  #check(): void {
    if (this.#wait === undefined) return;
    for (const _ of this.#options.dispatcher.outstandingBelow(this.#wait.generation)) return;
    this.#wait.passed();
  }
}
