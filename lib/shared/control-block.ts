import { HEADER, type Layout, layOut, MAGIC, type Sizes, VERSION } from './layout.ts';

/** The one piece of memory that all threads of an engine share, with typed views over it. */
export interface ControlBlock {
  readonly buffer: SharedArrayBuffer;
  readonly layout: Layout;
  readonly ints: Int32Array;
  readonly words: BigInt64Array;
}

/** Make a new control block, all zero but for its header. */
export function createControlBlock(sizes: Sizes): ControlBlock {
  const layout = layOut(sizes);
  const block = view(new SharedArrayBuffer(layout.byteLength), layout);
  // Plain stores: no other thread has the buffer yet, and the message that brings it there orders them.
  block.ints[HEADER.magic] = MAGIC;
  block.ints[HEADER.version] = VERSION;
  block.ints[HEADER.limits] = sizes.tokens.length;
  block.ints[HEADER.tokens] = sizes.tokens.reduce((sum, count) => sum + count, 0);
  block.ints[HEADER.slots] = layout.slots;
  block.ints[HEADER.threads] = layout.threads;
  return block;
}

/**
 * Open the control block that another thread made.
 * @throws TypeError if the buffer is not a control block of this version and size.
 */
export function openControlBlock(buffer: SharedArrayBuffer, layout: Layout): ControlBlock {
  // First, because a view over memory of any length may fail with another error.
  if (buffer.byteLength !== layout.byteLength) {
    throw new TypeError('The control block does not have the size that its layout says.');
  }
  const block = view(buffer, layout);
  const { ints } = block;
  if (ints[HEADER.magic] !== MAGIC || ints[HEADER.version] !== VERSION) {
    throw new TypeError(`Not a control block of version ${VERSION}.`);
  }
  const tokens = layout.tokens.reduce((sum, { count }) => sum + count, 0);
  if (
    ints[HEADER.limits] !== layout.tokens.length ||
    ints[HEADER.tokens] !== tokens ||
    ints[HEADER.slots] !== layout.slots ||
    ints[HEADER.threads] !== layout.threads
  ) {
    throw new TypeError('The control block was made for another layout.');
  }
  return block;
}

function view(buffer: SharedArrayBuffer, layout: Layout): ControlBlock {
  return { buffer, layout, ints: new Int32Array(buffer), words: new BigInt64Array(buffer) };
}
