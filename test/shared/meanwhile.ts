import assert from 'node:assert/strict';

type Operation = 'load' | 'store' | 'compareExchange';

/** Tells of each of these operations in `run`, right before it is done, with the index of its word. */
export function watchAtomics<T>(operation: Operation, before: (index: number) => void, run: () => T): T {
  const original: (...args: never[]) => unknown = Atomics[operation];
  const watched = (...args: [never, never, ...never[]]): unknown => {
    before(args[1]);
    return original(...args);
  };
  const put = (value: unknown) =>
    Object.defineProperty(Atomics, operation, { value, configurable: true, enumerable: false, writable: true });
  put(watched);
  try {
    return run();
  } finally {
    put(original);
  }
}

/**
 * Lets another thread act at the worst moment: `act` is called right before the first of these operations on that word
 * in `run`.
 */
export function meanwhile<T>(operation: Operation, index: number, act: () => void, run: () => T): T {
  let isDone = false;
  const before = (at: number) => {
    if (isDone || at !== index) return;
    isDone = true;
    act();
  };
  const result = watchAtomics(operation, before, run);
  assert.ok(isDone, `no ${operation} of word ${index}`);
  return result;
}
