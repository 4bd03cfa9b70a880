/** Things that wait for their time, the earliest first: a binary heap. Time is an argument. */
export class DelayQueue<T> {
  readonly #heap: { readonly dueMs: number; readonly value: T }[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the first is due; undefined if there is none. */
  get nextDueMs(): number | undefined {
    return this.#heap[0]?.dueMs;
  }

  push(dueMs: number, value: T): void {
    const heap = this.#heap;
    const added = { dueMs, value };
    let at = heap.length;
    heap.push(added);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || parent.dueMs <= dueMs) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = added;
  }

  /** Remove and return all that are due. */
  takeDue(nowMs: number): T[] {
    const due: T[] = [];
    for (let first = this.#heap[0]; first !== undefined && first.dueMs <= nowMs; first = this.#heap[0]) {
      due.push(first.value);
      this.#removeFirst();
    }
    return due;
  }

  /** Remove and return all, in no order. */
  takeAll(): T[] {
    return this.#heap.splice(0).map(({ value }) => value);
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      let child = heap[childAt];
      if (child === undefined) break;
      const right = heap[childAt + 1];
      if (right !== undefined && right.dueMs < child.dueMs) {
        child = right;
        childAt++;
      }
      if (child.dueMs >= last.dueMs) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}
