import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Reply, ThreadMessage, ThreadSetup } from '../../../../lib/protocol.ts';
import { createControlBlock } from '../../../../lib/shared/control-block.ts';
import { createLatencyHistogram } from '../../../../lib/shared/latency.ts';
import type { LaneBuild, LanesPlan, LanesResult } from '../fixtures/lanes.ts';

export interface LanesOptions {
  readonly handler: URL;
  readonly chunkItems: number;
  readonly pairs: number;
  readonly warmUps: number;
}

/**
 * Time chunks on the lanes of two builds, in turn, in one worker thread: only what a worker thread does, so that a
 * difference of some nanoseconds per item can be seen.
 *
 * @param entries the module of each build that Piscina calls
 * @throws Error if an item did not succeed
 */
export async function timeLanes(entries: readonly [URL, URL], options: LanesOptions): Promise<LanesResult['timesNs']> {
  const { handler, ...plan } = options;
  let succeeded = 0;
  const builds = entries.map((entry): LaneBuild => {
    const { port1, port2 } = new MessageChannel();
    port1.on('message', (message: ThreadMessage) => {
      if (message.kind === 'failed') throw new Error(message.message);
      if (message.kind === 'reply') succeeded += successesOf(message);
      if (message.kind === 'replies') for (const reply of message.replies) succeeded += successesOf(reply);
    });
    port1.unref();
    return { entryUrl: entry.href, setup: setupFor(handler), port: port2 };
  });
  const worker = new Worker(new URL('../fixtures/lanes.js', import.meta.url), {
    workerData: { builds, ...plan } satisfies LanesPlan,
    transferList: builds.map(({ port }): MessagePort => port),
  });
  try {
    const [{ timesNs, items }] = (await once(worker, 'message')) as [LanesResult];
    // Replies come through ports of their own: the last ones may still be on their way.
    while (succeeded < items) await new Promise((resolve) => setImmediate(resolve));
    return timesNs;
  } finally {
    await worker.terminate();
  }
}

function successesOf({ ends, values }: Reply): number {
  if (ends !== undefined) throw new Error('An item did not succeed.');
  return values.length;
}

function setupFor(handler: URL): ThreadSetup {
  const { buffer, layout } = createControlBlock({ tokens: [], slots: 1, threads: 1 });
  return {
    buffer,
    layout,
    limits: [],
    channel: `sluicegate-bench-${randomUUID()}`,
    handlerUrl: handler.href,
    handlerData: undefined,
    http: {},
    dispatcherUrl: undefined,
    lanes: 1,
    place: 0,
    timeoutMs: 30_000,
    acquireTimeoutMs: 30_000,
    onRateLimit: 'cancel',
    recovery: [],
    circuit: undefined,
    obeysQuota: true,
    maxRetryAfterMs: 120_000,
    canRefresh: false,
    trace: undefined,
    maxAttempts: 3,
    waitUs: createLatencyHistogram(),
    serviceUs: createLatencyHistogram(),
  };
}
