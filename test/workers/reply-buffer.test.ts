import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import fc from 'fast-check';
import { columnOf, END, NOT_IDEMPOTENT, type Reply, type ThreadMessage } from '../../lib/protocol.ts';
import { postReplies, ReplyBuffer } from '../../workers/reply-buffer.ts';

function openPort(t: TestContext): { port: MessagePort; next: () => Promise<ThreadMessage> } {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  return { port: port2, next: async () => ((await once(port1, 'message')) as [ThreadMessage])[0] };
}

function fill(buffer: ReplyBuffer, values: readonly unknown[]): ReplyBuffer {
  for (const value of values) buffer.add(END.ok, value, 0, 1);
  return buffer;
}

describe('a column', () => {
  it('holds the same values, whatever they are', () => {
    const values = fc.oneof(
      fc.array(fc.double()),
      fc.array(fc.oneof(fc.double(), fc.string(), fc.constant(undefined))),
    );
    fc.assert(
      fc.property(values, (all) => {
        assert.deepEqual(Array.from(columnOf(all)), all);
      }),
    );
  });

  it('of many numbers is one block of memory, and -0 and NaN survive', () => {
    const numbers = Array.from({ length: 1_000 }, (_, index) => [index, -0, Number.NaN, 2 ** 53][index % 4] ?? 0);
    const column = columnOf(numbers);
    assert.ok(column instanceof Float64Array);
    assert.ok(Array.from(column).every((value, index) => Object.is(value, numbers[index])));
    assert.ok(Array.isArray(columnOf([...numbers, 'one string'])));
    assert.ok(Array.isArray(columnOf(numbers.map(BigInt.bind(undefined, 1)))));
  });
});

describe('a reply', () => {
  it('says nothing of ends and waits while all are ok and nothing has waited', async (t) => {
    const { port, next } = openPort(t);
    fill(new ReplyBuffer(port, 1), ['a', 'b']).flush();
    const { ends, waitsMs, values, durationsMs } = (await next()) as Reply;
    assert.deepEqual(
      { ends, waitsMs, values, durationsMs },
      { ends: undefined, waitsMs: undefined, values: ['a', 'b'], durationsMs: [1, 1] },
    );
  });

  it('has each end and each wait at its place, also after the first flush', async (t) => {
    const { port, next } = openPort(t);
    const buffer = new ReplyBuffer(port, 7);
    for (const from of [0, 4]) {
      fill(buffer, [0, 1]);
      buffer.add(END.retry | NOT_IDEMPOTENT, 'record', 5, 2);
      buffer.add(END.ok, 3, 0, 3);
      buffer.flush(from > 0, 9);
      const reply = (await next()) as Reply;
      assert.deepEqual(reply, {
        kind: 'reply',
        id: 7,
        from,
        ends: [END.ok, END.ok, END.retry | NOT_IDEMPOTENT, END.ok],
        values: [0, 1, 'record', 3],
        waitsMs: [0, 0, 5, 0],
        durationsMs: [1, 1, 2, 3],
        cells: undefined,
        last: from > 0,
        elapsedMs: 9,
      });
      assert.equal(buffer.isPending, false);
    }
  });

  for (const how of ['alone', 'with those of other lanes'] as const) {
    it(`loses only the value that cannot be cloned: ${how}`, async (t) => {
      const { port, next } = openPort(t);
      const one = fill(new ReplyBuffer(port, 1), ['a', () => 'a function', 'c']);
      const other = fill(new ReplyBuffer(port, 2), ['d']);
      if (how === 'alone') one.flush();
      else postReplies(port, [one.take(), other.take()]);
      const message = await next();
      const replies = message.kind === 'replies' ? message.replies : [message as Reply];
      assert.deepEqual(
        replies.map(({ id }) => id),
        how === 'alone' ? [1] : [1, 2],
      );
      const [reply] = replies;
      assert.deepEqual(reply?.ends, [END.ok, END.fatal, END.ok]);
      assert.deepEqual([reply?.values[0], reply?.values[2]], ['a', 'c']);
      assert.equal((reply?.values[1] as { code?: unknown } | undefined)?.code, 'NOT_CLONEABLE');
      if (how !== 'alone') assert.deepEqual(replies[1]?.values, ['d']);
    });
  }
});
