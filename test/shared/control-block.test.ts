import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createControlBlock, openControlBlock } from '../../lib/shared/control-block.ts';
import { HEADER, layOut, MAGIC, type Sizes, VERSION } from '../../lib/shared/layout.ts';

const SIZES: Sizes = { tokens: [3, 9], slots: 4, threads: 2 };

describe('the control block', () => {
  it('has its header, and is zero otherwise', () => {
    const { buffer, ints, words, layout } = createControlBlock(SIZES);
    assert.ok(buffer instanceof SharedArrayBuffer);
    assert.equal(buffer.byteLength, layout.byteLength);
    assert.deepEqual(layout, layOut(SIZES));
    assert.deepEqual([...ints.subarray(0, 6)], [MAGIC, VERSION, 2, 12, 4, 2]);
    assert.ok(ints.subarray(6).every((int) => int === 0));
    assert.ok(ints.buffer === buffer && words.buffer === buffer);
    assert.equal(words.byteLength, buffer.byteLength);
  });

  it('opens as the same memory', () => {
    const made = createControlBlock(SIZES);
    // A layout is cloned on its way to a thread.
    const opened = openControlBlock(made.buffer, structuredClone(made.layout));
    opened.words[20] = 7n;
    assert.equal(made.words[20], 7n);
    assert.equal(opened.buffer, made.buffer);
  });

  it('refuses memory that is none, whatever its size', () => {
    const { layout } = createControlBlock(SIZES);
    for (const bytes of [0, 3, 4, 12, 64, layout.byteLength - 4, layout.byteLength]) {
      assert.throws(() => openControlBlock(new SharedArrayBuffer(bytes), layout), TypeError, `${bytes} bytes`);
    }
  });

  it('refuses another version, and a header that is not its own', () => {
    for (const at of Object.values(HEADER)) {
      const block = createControlBlock(SIZES);
      block.ints[at] = (block.ints[at] ?? 0) + 1;
      assert.throws(() => openControlBlock(block.buffer, block.layout), TypeError, `word ${at}`);
    }
  });

  it('refuses a layout of another size', () => {
    const { buffer } = createControlBlock(SIZES);
    const others: Sizes[] = [
      { tokens: [3, 9], slots: 5, threads: 2 },
      { tokens: [3, 9], slots: 3, threads: 2 },
      { tokens: [3, 9], slots: 4, threads: 1 },
      { tokens: [3, 9], slots: 4 },
      { tokens: [3], slots: 4, threads: 2 },
      // As long as the right one.
      { tokens: [4, 9], slots: 4, threads: 2 },
      { tokens: [3, 9, 1], slots: 2, threads: 2 },
      { tokens: [3, 9], slots: 12, threads: 1 },
    ];
    for (const sizes of others) {
      assert.throws(() => openControlBlock(buffer, layOut(sizes)), TypeError, JSON.stringify(sizes));
    }
  });
});
