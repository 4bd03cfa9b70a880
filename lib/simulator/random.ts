/** A reproducible source of numbers in [0, 1). Not for secrets. */
export type Random = () => number;

/** Mulberry32: 32 bits of state, good enough to draw service times and faults. `seed` is taken modulo 2^32. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = state;
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A range of times; both ends are the same for a fixed one. */
export interface TimeRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/** A time in the range, uniformly, rounded to whole milliseconds. A fixed one draws all the same. */
export function drawMs({ minMs, maxMs }: TimeRange, random: Random): number {
  return Math.round(minMs + random() * (maxMs - minMs));
}

/** FNV-1a over UTF-16 code units: the same number for the same text, in every run. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
