/** A chunk aims at this much time in its lane: long enough to pay for its message, short enough to hoard nothing. */
const TARGET_MS = 16;
/** A chunk of less is mostly message: so much is not shared by several lanes. */
const WORTH_MS = 0.25;
const MAX_ITEMS = 1_024;
/** A chunk is at most this many times as large as the last one: the estimate may come from few items. */
const GROWTH = 4;

/** What is known of the items of a batch. */
export interface ChunkSizing {
  /** Moving average of the time that a lane needs per item, waiting included; undefined before the first. */
  readonly itemMs: number | undefined;
  /** Size of the last chunk. */
  readonly size: number;
}

export const INITIAL_SIZING: ChunkSizing = { itemMs: undefined, size: 1 };

/** Learn from a chunk that has come back. Slow items count at once, fast ones gradually. */
export function learn(sizing: ChunkSizing, items: number, chunkMs: number): ChunkSizing {
  if (items === 0) return sizing;
  const sampleMs = chunkMs / items;
  const { itemMs } = sizing;
  const isSlower = itemMs === undefined || sampleMs > itemMs;
  const nextMs = isSlower ? sampleMs : itemMs + (sampleMs - itemMs) / 2;
  return { itemMs: nextMs, size: Math.min(fitting(nextMs), items * GROWTH) };
}

function fitting(itemMs: number): number {
  return Math.max(1, Math.min(Math.floor(TARGET_MS / Math.max(itemMs, Number.EPSILON)), MAX_ITEMS));
}

/**
 * What a batch begins with when the one before it has taught this: the items of one engine are much alike. They need not
 * be, so what is known of the others does not decide that it does not pay to share these.
 */
export function inherit({ itemMs }: ChunkSizing): ChunkSizing {
  return itemMs === undefined ? INITIAL_SIZING : { itemMs: undefined, size: fitting(itemMs) };
}

/** How many items the next chunk gets, so that what is left can still be shared by all lanes, as far as that pays. */
export function nextChunkSize({ itemMs, size }: ChunkSizing, pending: number, lanes: number): number {
  const worth = itemMs === undefined ? 1 : Math.floor(WORTH_MS / Math.max(itemMs, Number.EPSILON));
  return Math.max(1, Math.min(size, Math.max(worth, Math.ceil(pending / (2 * lanes)))));
}
