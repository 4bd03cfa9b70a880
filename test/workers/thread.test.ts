import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { BroadcastChannel, MessageChannel, Worker } from 'node:worker_threads';
import {
  type Broadcast,
  type ChunkTask,
  END,
  type InitTask,
  type Reply,
  type ThreadMessage,
} from '../../lib/protocol.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { createLatencyHistogram } from '../../lib/shared/latency.ts';
import { taskOf } from './played-lane.ts';

const ends: (() => unknown)[] = [];

/** A real thread. The test is its main thread and its fellow threads, and does nothing by itself. */
class Stand {
  readonly block = createControlBlock({ tokens: [], slots: 8, threads: 1 });
  readonly gate = new Gate(this.block);
  /** Values of the items that have ended, chunk by chunk. */
  readonly values: unknown[][] = [];
  readonly said: string[] = [];
  readonly #channel: BroadcastChannel;
  readonly #port;
  #onSaid = () => {};

  constructor(handler: string, lanes = 2) {
    const channel = randomUUID();
    const { port1, port2 } = new MessageChannel();
    const setup: InitTask['setup'] = {
      ...{ buffer: this.block.buffer, layout: this.block.layout, limits: [], channel, lanes, place: 0 },
      ...{ handlerUrl: new URL(`./fixtures/${handler}.js`, import.meta.url).href, handlerData: undefined },
      ...{ http: {}, dispatcherUrl: undefined, timeoutMs: 60_000, acquireTimeoutMs: 60_000, onRateLimit: 'cancel' },
      ...{ recovery: [], circuit: undefined, obeysQuota: false, maxRetryAfterMs: 120_000, canRefresh: false },
      ...{ trace: undefined, maxAttempts: 3, waitUs: createLatencyHistogram(), serviceUs: createLatencyHistogram() },
    };
    const workerData: InitTask = { kind: 'init', port: port2, setup };
    const worker = new Worker(new URL('./fixtures/thread.js', import.meta.url), { workerData, transferList: [port2] });
    this.#channel = new BroadcastChannel(channel);
    this.#channel.onmessage = (event) => this.#note(wordsOf((event as { data: Broadcast }).data));
    this.#port = port1;
    port1.on('message', (message: ThreadMessage) => {
      for (const reply of repliesIn(message))
        this.values[reply.id] = [...(this.values[reply.id] ?? []), ...Array.from(reply.values)];
      this.#note(wordsOf(message));
    });
    ends.push(() => Promise.all([worker.terminate(), this.#channel.close(), port1.close()]));
  }

  give(id: number, ...items: string[]): void {
    this.#port.postMessage(taskOf(items, { id, slot: id }) satisfies ChunkTask);
  }

  tell(message: Broadcast): void {
    this.#channel.postMessage(message);
  }

  /** Until it has said all of this, in whatever order its ways have. */
  async hears(...expected: string[]): Promise<void> {
    while (this.said.length < expected.length) {
      await new Promise<void>((resolve) => {
        this.#onSaid = resolve;
      });
    }
    assert.deepEqual(this.said.splice(0).sort(), expected.sort());
  }

  /** Until so many items have ended. */
  async hasEnded(count: number): Promise<void> {
    while (this.values.flat().length < count) {
      await new Promise<void>((resolve) => {
        this.#onSaid = resolve;
      });
    }
  }

  /** Until an item is in its handler. */
  async isInWork(slot: number): Promise<void> {
    const at = this.block.layout.firstSlot + 16 * slot + 1;
    while (Atomics.load(this.block.ints, at) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  #note(words: string): void {
    this.said.push(words);
    this.#onSaid();
  }
}

const NAMES: Record<number, string> = Object.fromEntries(Object.entries(END).map(([name, end]) => [end, name]));

function repliesIn(message: ThreadMessage): readonly Reply[] {
  if (message.kind === 'replies') return message.replies;
  return message.kind === 'reply' ? [message] : [];
}

function wordsOf(message: Broadcast | ThreadMessage): string {
  switch (message.kind) {
    case 'gate':
      return `to all: ${message.generation} began${message.cancels ? ', which cancels' : ''}`;
    case 'limited':
      return `to main: ${message.generation} began`;
    case 'reply':
      return `chunk ${message.id}: ${Array.from(message.values, (_, n) => NAMES[message.ends?.[n] ?? END.ok])}`;
    default:
      return message.kind;
  }
}

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

describe('a thread whose request is refused', { timeout: 30_000 }, () => {
  it('closes the gate, asks for quiet, tells everybody, and stops what it has in flight itself', async () => {
    const stand = new Stand('stays-or-refused');
    await stand.hears('ready');
    stand.give(0, 'stays');
    await stand.isInWork(0);
    const beforeNs = process.hrtime.bigint();
    stand.give(1, 'refused');
    await stand.hears('to all: 1 began, which cancels', 'to main: 1 began', 'chunk 0: cancelled', 'chunk 1: refused');
    assert.deepEqual([stand.gate.generation, stand.gate.causesOf(1)], [1, CAUSE.refused]);
    assert.ok(stand.gate.pausedUntilNs >= beforeNs + 60_000_000_000n);
  });
});

describe('a thread that is told by another one that the gate is closed', { timeout: 30_000 }, () => {
  it('stops what it has in flight', async () => {
    const stand = new Stand('stays-or-refused');
    await stand.hears('ready');
    stand.give(0, 'stays');
    await stand.isInWork(0);
    stand.tell({ kind: 'gate', generation: 1, cancels: true });
    await stand.hears('chunk 0: cancelled');
  });
});

describe('a thread whose items wait for nothing', { timeout: 30_000 }, () => {
  it('does chunk after chunk, however many lanes it has: more at a time would only make each take longer', async () => {
    const stand = new Stand('takes-a-while', 4);
    await stand.hears('ready');
    const sizes = [1, 3, 1, 4, 2, 3, 1, 5];
    for (const [id, size] of sizes.entries()) stand.give(id, ...new Array<string>(size).fill('item'));
    const total = sizes.reduce((sum, size) => sum + size);
    await stand.hasEnded(total);
    assert.deepEqual(
      stand.values.flat(),
      Array.from({ length: total }, (_, index) => index + 1),
    );
  });
});
