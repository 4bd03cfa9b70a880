import type { ControlBlock } from '../../lib/shared/control-block.ts';
import {
  CAUSES,
  FAILURES_IN_ROW,
  FIRST_BUCKET,
  GENERATION,
  HINTS_IGNORED,
  type Layout,
  PAUSED_UNTIL_NS,
  SLOT,
} from '../../lib/shared/layout.ts';

/** A value that shared memory, or the world outside of it, gives to a thread. */
export type Value = number | bigint | boolean | string | undefined;

/** One access to shared memory: a method of `Atomics`, or a plain read or write. */
export interface Access {
  readonly kind: string;
  readonly view: 'ints' | 'words';
  readonly index: number;
  readonly args: readonly unknown[];
}

const real = Atomics;

/** Another block with this layout, all zero. */
export function createBlockLike({ layout }: ControlBlock): ControlBlock {
  const buffer = new SharedArrayBuffer(layout.byteLength);
  return { buffer, layout, ints: new Int32Array(buffer), words: new BigInt64Array(buffer) };
}

/** Do it to the block. */
export function perform(block: ControlBlock, { kind, view, index, args }: Access): Value {
  const array = block[view];
  if (kind === 'read') return array[index];
  if (kind === 'write') return Reflect.set(array, index, args[0]) && undefined;
  return Reflect.apply(Reflect.get(real, kind), real, [array, index, ...args]);
}

/**
 * A control block whose views hand over every access. None reaches memory, nor does a view that is made of its buffer.
 * The views are meant for code that runs inside `withModel`, because the real `Atomics` refuse them.
 */
export function watch({ layout, ints, words }: ControlBlock, onAccess: (access: Access) => Value): ControlBlock {
  const watchView = <A extends object>(view: Access['view'], array: A): A =>
    new Proxy(array, {
      get(target, key) {
        const index = typeof key === 'string' ? Number(key) : Number.NaN;
        if (Number.isInteger(index)) return onAccess({ kind: 'read', view, index, args: [] });
        if (key === 'length') return Reflect.get(target, key);
        if (key === 'fill') {
          return (value: unknown, from: number, to: number) => {
            for (let at = from; at < to; at++) onAccess({ kind: 'write', view, index: at, args: [value] });
          };
        }
        throw new Error(`The explorer does not know what "${String(key)}" of shared memory does.`);
      },
      set(_, key, value) {
        onAccess({ kind: 'write', view, index: Number(key), args: [value] });
        return true;
      },
    });
  return {
    buffer: new SharedArrayBuffer(0),
    layout,
    ints: watchView('ints', ints),
    words: watchView('words', words),
  };
}

/**
 * Run code with `Atomics` that hand over every access to the views of this block, and with a clock that stands still
 * (where a time is given). All else that uses them meanwhile gets the real ones.
 */
export async function withModel<T>(
  block: ControlBlock,
  onAccess: (access: Access) => Value,
  hrtimeNs: bigint | undefined,
  run: () => T,
): Promise<Awaited<T>> {
  if (globalThis.Atomics !== real) throw new Error('Two explorations at the same time.');
  const realBigint = process.hrtime.bigint;
  globalThis.Atomics = new Proxy(real, {
    get(target, kind) {
      const method: unknown = Reflect.get(target, kind);
      if (typeof method !== 'function' || typeof kind !== 'string') return method;
      return (array: unknown, index: number, ...args: unknown[]) => {
        const view = array === block.ints ? 'ints' : array === block.words ? 'words' : undefined;
        if (view === undefined) return Reflect.apply(method, target, [array, index, ...args]);
        return onAccess({ kind, view, index, args });
      };
    },
  });
  if (hrtimeNs !== undefined) process.hrtime.bigint = () => hrtimeNs;
  try {
    return await run();
  } finally {
    globalThis.Atomics = real;
    process.hrtime.bigint = realBigint;
  }
}

const SLOT_INTS = ['cursor', 'work', 'sent', 'refused', 'cancelled'] as const;

/** What a word is called in a schedule. */
export function nameOf(layout: Layout, { view, index }: Pick<Access, 'view' | 'index'>): string {
  if (view === 'words') {
    if (index === PAUSED_UNTIL_NS) return 'pausedUntilNs';
    if (index === CAUSES) return 'causes';
    if (index >= FIRST_BUCKET && index < FIRST_BUCKET + 8) return `bucket[${index - FIRST_BUCKET}]`;
    if (layout.nextStart.includes(index)) return `nextStartNs[${layout.nextStart.indexOf(index)}]`;
    for (const [limit, { first, count }] of layout.tokens.entries()) {
      if (index >= first && index < first + count) return `token[${limit}][${index - first}]`;
    }
    const inSlots = index - layout.firstSlot / 2;
    if (inSlots >= 0 && inSlots < 8 * layout.slots) {
      const word = inSlots % 8;
      return `slot[${Math.floor(inSlots / 8)}].${word === SLOT.deadlineNs ? 'deadlineNs' : `word ${word}`}`;
    }
    return `words[${index}]`;
  }
  if (index === GENERATION) return 'generation';
  if (index === HINTS_IGNORED) return 'hintsIgnored';
  if (index === FAILURES_IN_ROW) return 'failuresInRow';
  const inSlots = index - layout.firstSlot;
  if (inSlots >= 0 && inSlots < 16 * layout.slots) {
    return `slot[${Math.floor(inSlots / 16)}].${SLOT_INTS[inSlots % 16] ?? inSlots % 16}`;
  }
  const inCalls = index - layout.firstCalls;
  if (inCalls >= 0) return `calls[${inCalls >> 1}].${inCalls % 2 === 0 ? 'second' : 'count'}`;
  return `ints[${index}]`;
}

/** One line of a schedule. */
export function describeAccess(layout: Layout, access: Access, result: Value): string {
  const name = nameOf(layout, access);
  const [first, second] = access.args;
  switch (access.kind) {
    case 'load':
    case 'read':
      return `${access.kind} ${name} = ${result}`;
    case 'store':
    case 'write':
      return `${access.kind} ${name} := ${first}`;
    case 'compareExchange':
      return `compareExchange ${name} ${first} -> ${second} = ${result}${result === first ? '' : ' (lost)'}`;
    default:
      return `${access.kind} ${name} ${first} = ${result}`;
  }
}

/** May this access be seen before an atomic store in front of it? Only a plain write may, and only to another place. */
export function mayOvertake(access: Access | undefined, store: Access): boolean {
  if (access?.kind !== 'write') return false;
  const end = byteOf(access) + bytesOf(access);
  return end <= byteOf(store) || byteOf(access) >= byteOf(store) + bytesOf(store);
}

function bytesOf({ view }: Access): number {
  return view === 'ints' ? 4 : 8;
}

function byteOf(access: Access): number {
  return access.index * bytesOf(access);
}
