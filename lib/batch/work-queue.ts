/** An item that has been out before. */
export interface WorkItem {
  readonly index: number;
  readonly item: unknown;
  /** Attempts that count. */
  attempts: number;
  refusals: number;
  /** Attempts whose credentials were refused. */
  refreshes: number;
  /** An earlier attempt may have been executed. */
  possiblyExecuted: boolean;
  /** How often it could not be posted to a thread. */
  sendFailures: number;
}

/** Work for one chunk: fresh items in a row, or items that have been out before. */
export type Work =
  | { readonly first: number; readonly items: unknown[]; readonly entries: undefined }
  | { readonly first: number; readonly items: unknown[]; readonly entries: WorkItem[] };

/**
 * What a batch has still to do, in the order in which it will be done: items taken back come first, then fresh ones,
 * then those that the upstream refused.
 */
export class WorkQueue {
  #fresh: unknown[] = [];
  #freshHead = 0;
  /** Index of the next fresh item. */
  #freshIndex = 0;
  /** Fresh items from this index on are held back. */
  #heldFrom = Number.POSITIVE_INFINITY;
  readonly #again: WorkItem[] = [];
  readonly #refused: WorkItem[] = [];
  #refusedHead = 0;
  readonly #onAdd: () => void;

  /** @param onAdd Called whenever there is more to hand out. */
  constructor(onAdd: () => void) {
    this.#onAdd = onAdd;
  }

  /** Items that wait to be handed out. */
  get size(): number {
    return this.#again.length + this.#freshLeft + (this.#refused.length - this.#refusedHead);
  }

  /** Fresh items that are held back. */
  get held(): number {
    return this.#fresh.length - this.#freshHead - this.#freshLeft;
  }

  /** Fresh items that may be handed out. */
  get #freshLeft(): number {
    return Math.max(0, Math.min(this.#fresh.length - this.#freshHead, this.#heldFrom - this.#freshIndex));
  }

  /** Index that the next fresh item will have. */
  get nextIndex(): number {
    return this.#freshIndex + this.#fresh.length - this.#freshHead;
  }

  /** All items at once, before any other; the array is not copied and must not change. */
  fill(items: readonly unknown[]): void {
    this.#fresh = items as unknown[];
    this.#onAdd();
  }

  /** Hold back fresh items from this index on, also those that are yet to come. */
  holdFrom(index: number): void {
    this.#heldFrom = index;
    if (this.#freshLeft > 0) this.#onAdd();
  }

  /** One more fresh item. */
  push(item: unknown): void {
    if (this.#freshHead > 1_024 && this.#freshHead * 2 > this.#fresh.length) {
      this.#fresh = this.#fresh.slice(this.#freshHead);
      this.#freshHead = 0;
    }
    this.#fresh.push(item);
    this.#onAdd();
  }

  /** Items that come before all others, in the order of their indices. */
  putBack(entries: WorkItem[]): void {
    if (entries.length === 0) return;
    for (const entry of entries) this.#again.push(entry);
    // Taken from the end, so the lowest index stands last.
    this.#again.sort((a, b) => b.index - a.index);
    this.#onAdd();
  }

  /** An item that goes to the end. */
  putLast(entry: WorkItem): void {
    this.#refused.push(entry);
    this.#onAdd();
  }

  /** Take up to `count` items of one kind. */
  take(count: number): Work | undefined {
    if (this.#again.length > 0) {
      return rerun(this.#again.splice(Math.max(0, this.#again.length - count)).reverse());
    }
    const left = this.#freshLeft;
    if (left > 0) {
      const items = this.#fresh.slice(this.#freshHead, this.#freshHead + Math.min(count, left));
      const first = this.#freshIndex;
      this.#freshHead += items.length;
      this.#freshIndex += items.length;
      return { first, items, entries: undefined };
    }
    if (this.#refusedHead < this.#refused.length) {
      const entries = this.#refused.slice(this.#refusedHead, this.#refusedHead + count);
      this.#refusedHead += entries.length;
      if (this.#refusedHead === this.#refused.length) {
        this.#refused.length = 0;
        this.#refusedHead = 0;
      }
      return rerun(entries);
    }
    return undefined;
  }

  /** Take all that is left but what is held back. */
  takeAll(): WorkItem[] {
    const left: WorkItem[] = [];
    for (let work = this.take(Number.MAX_SAFE_INTEGER); work !== undefined; work = this.take(Number.MAX_SAFE_INTEGER)) {
      for (const entry of entriesOf(work)) left.push(entry);
    }
    return left;
  }

  /** Take what is held back. Call it after `takeAll`. */
  takeHeld(): WorkItem[] {
    const heldFrom = this.#heldFrom;
    this.#heldFrom = Number.POSITIVE_INFINITY;
    const left = this.takeAll();
    this.#heldFrom = heldFrom;
    return left;
  }
}

function rerun(entries: WorkItem[]): Work {
  return { first: entries[0]?.index ?? 0, items: entries.map((entry) => entry.item), entries };
}

/** The items of a piece of work, each with what it has been through. */
export function* entriesOf(work: Work, from = 0): Generator<WorkItem> {
  for (let position = from; position < work.items.length; position++) yield entryAt(work, position);
}

/** The item at a position of a piece of work, with what it has been through. */
export function entryAt(work: Work, position: number): WorkItem {
  return (
    work.entries?.[position] ?? {
      index: work.first + position,
      item: work.items[position],
      attempts: 0,
      refusals: 0,
      refreshes: 0,
      possiblyExecuted: false,
      sendFailures: 0,
    }
  );
}
