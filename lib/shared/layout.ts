/**
 * The memory map of the control block: the one place that knows where a word stands.
 *
 * ```text
 * byte 0      HEADER    one line: magic, version, and the sizes of everything below
 * byte 64     GATE      one line: generation, hintsIgnored, pausedUntilNs, causes
 * byte 128    CIRCUIT   two lines: failures in a row; calls and failures of the recent past, in buckets
 * byte 256    LIMITS    one line per limit: nextStartNs
 *             TOKENS    one 64-bit word per token; each limit starts on a line of its own
 *             SLOTS     one line per work slot: the chunk that a thread works on
 *             CALLS     eight lines per thread: its calls, second by second
 * ```
 *
 * | section | word | bytes | unit, epoch | written by | special values |
 * |---|---|---|---|---|---|
 * | HEADER | magic, version, limits, tokens, slots, threads | 4 each | - | the main thread, once | - |
 * | GATE | generation | 4 | how often the gate was closed | the thread that closes it (CAS g -> g+1) | - |
 * | GATE | hintsIgnored | 4 | hints of the upstream that made no sense | any thread (adds) | - |
 * | GATE | pausedUntilNs | 8 | ns, hrtime | detectors raise it; main clears it when it opens the gate | 0: no hint |
 * | GATE | causes | 8 | generation * 256 + CAUSE bits: why that generation began | whoever closes the gate (CAS) | - |
 * | CIRCUIT | failuresInRow | 4 | failures since the last success | any thread | - |
 * | CIRCUIT | bucket | 8 each | tag, calls, failures of one eighth of the window | any thread (CAS) | another tag: empty |
 * | LIMITS | nextStartNs | 8 | ns, hrtime | any thread (CAS) | 0: no start yet |
 * | TOKENS | token | 8 | ns, hrtime | its holder; main when the holder died | < 0: held by thread -(t + 1) |
 * | SLOTS | cursor | 4 | items started | the lane (claims one), main (closes) | -1 - c: closed after c items |
 * | SLOTS | work | 4 | WORK_* bits | the lane | 0: no item in work |
 * | SLOTS | sent, refused, cancelled | 4 each | requests or items of this chunk | the lane | - |
 * | SLOTS | deadlineNs | 8 | ns, hrtime | the lane | 0: none yet; of no meaning without an item in work |
 * | CALLS | second | 4 | s, hrtime (68 years) | the thread whose place it is | -1: being used for another one |
 * | CALLS | count | 4 | calls in that second | the thread whose place it is | - |
 *
 * Words that different threads write often stand on lines of 64 bytes of their own, so that no thread slows another by
 * writing beside it. Tokens are the exception: each is written twice per request, and a line each would make a scan for
 * a free one eight times as long.
 */
export const LINE_BYTES = 64;
const INTS_PER_LINE = LINE_BYTES / 4;
const WORDS_PER_LINE = LINE_BYTES / 8;

/** "SLUI", so that a foreign buffer is noticed at once. */
export const MAGIC = 0x49554c53;
export const VERSION = 1;

/** Indices of the header's words in an Int32Array over the whole block. */
export const HEADER = { magic: 0, version: 1, limits: 2, tokens: 3, slots: 4, threads: 5 } as const;

/** The gate's generation: index in an Int32Array over the whole block. */
export const GENERATION = INTS_PER_LINE;
/** The gate's pausedUntilNs: index in a BigInt64Array over the whole block. */
export const PAUSED_UNTIL_NS = WORDS_PER_LINE + 1;

/** Hints that were ignored: index in an Int32Array over the whole block. */
export const HINTS_IGNORED = INTS_PER_LINE + 1;
/** Why the gate was closed last: index in a BigInt64Array over the whole block. */
export const CAUSES = WORDS_PER_LINE + 2;

const CIRCUIT_BYTE = 2 * LINE_BYTES;
/** Failures in a row: index in an Int32Array over the whole block. */
export const FAILURES_IN_ROW = CIRCUIT_BYTE / 4;
/** The first bucket of recent calls: index in a BigInt64Array over the whole block. */
export const FIRST_BUCKET = (CIRCUIT_BYTE + LINE_BYTES) / 8;
/** As many as there are in a line. */
export const BUCKETS = WORDS_PER_LINE;
const LIMITS_BYTE = CIRCUIT_BYTE + 2 * LINE_BYTES;

/** Offsets inside a work slot's line: in 32-bit words, but for `deadlineNs`, which counts 64-bit words (byte 32). */
export const SLOT = { cursor: 0, work: 1, sent: 2, refused: 3, cancelled: 4, deadlineNs: 4 } as const;

/** Bits of a slot's `work` word: what the item in work has reached. */
export const WORK = {
  /** An item is claimed and waits for its tokens. */
  waiting: 1,
  /** The handler was called. */
  called: 2,
  /** The handler said that the request has left, or never says so. */
  sent: 4,
  /** The item may be sent twice, so a rate-limit event may cancel it. */
  idempotent: 8,
  /** The handler was told that its time is up. */
  toldTimeout: 16,
  /** It may be sent twice and has ended, but its end is not reported yet. */
  ended: 32,
  /** This or an earlier item of the chunk must not be sent twice. */
  once: 64,
} as const;

/** Seconds that a thread's ring of calls holds, each a second and a count. A power of two. */
export const CALL_SECONDS = 64;
const INTS_PER_RING = 2 * CALL_SECONDS;

/** Sizes from which every offset follows. */
export interface Sizes {
  /** Tokens of each limit. */
  readonly tokens: readonly number[];
  /** Work slots: chunks that may be with threads at the same time. */
  readonly slots: number;
  /** Threads that may count calls at the same time. Default 0. */
  readonly threads?: number;
}

/** Where everything of one control block stands. Plain data: it is cloned to the threads. */
export interface Layout {
  readonly byteLength: number;
  /** Per limit: index of its nextStartNs in a BigInt64Array over the whole block. */
  readonly nextStart: readonly number[];
  /** Per limit: index of its first token in a BigInt64Array over the whole block, and how many there are. */
  readonly tokens: readonly { readonly first: number; readonly count: number }[];
  /** Index of slot 0 in an Int32Array over the whole block. */
  readonly firstSlot: number;
  readonly slots: number;
  /** Index of the first thread's ring of calls in an Int32Array over the whole block. */
  readonly firstCalls: number;
  readonly threads: number;
}

const alignToLine = (byte: number): number => Math.ceil(byte / LINE_BYTES) * LINE_BYTES;

/** Lay out a control block for the given sizes. */
export function layOut(sizes: Sizes): Layout {
  const nextStart = sizes.tokens.map((_, limit) => (LIMITS_BYTE + limit * LINE_BYTES) / 8);
  let byte = LIMITS_BYTE + sizes.tokens.length * LINE_BYTES;
  const tokens = sizes.tokens.map((count) => {
    const first = byte / 8;
    byte = alignToLine(byte + count * 8);
    return { first, count };
  });
  const { slots, threads = 0 } = sizes;
  const firstSlot = byte / 4;
  const firstCalls = firstSlot + slots * INTS_PER_LINE;
  const byteLength = 4 * (firstCalls + threads * INTS_PER_RING);
  return { byteLength, nextStart, tokens, firstSlot, slots, firstCalls, threads };
}

/** Index of a slot's first 32-bit word in an Int32Array over the whole block. */
export function slotIndex(layout: Layout, slot: number): number {
  return layout.firstSlot + slot * INTS_PER_LINE;
}

/** Index of the first word of a thread's ring of calls in an Int32Array over the whole block. */
export function callsIndex(layout: Layout, place: number): number {
  return layout.firstCalls + place * INTS_PER_RING;
}
