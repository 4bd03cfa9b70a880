import type { MessagePort } from 'node:worker_threads';
import type { ChunkTask, InitTask, Task, ThreadMessage } from '../lib/protocol.ts';
import { toCauseRecord } from '../lib/recover/error-record.ts';
import { configureHttp } from './http-config.ts';
import { loadHandler } from './load-handler.ts';
import { Thread } from './thread.ts';

/**
 * What Piscina calls in a worker thread, for every task. Chunks and their results go through the thread's own port: a
 * reply through Piscina would be lost with the thread, or taken for that of a handler that threw `null`, and a task
 * costs several messages.
 */
export default async function entry(task: Task): Promise<number> {
  if (task.kind === 'init') await init(task);
  return 0;
}

async function init({ port, setup }: InitTask): Promise<void> {
  try {
    configureHttp({ options: setup.http, lanes: setup.lanes, dispatcherUrl: setup.dispatcherUrl });
    const thread = new Thread(setup, port, await loadHandler(setup.handlerUrl, setup.handlerData));
    let chunks = 0;
    port.on('message', (chunk: ChunkTask) => {
      chunks++;
      thread.execute(chunk);
    });
    port.on('messageerror', () => tell(port, { kind: 'unreadable', number: ++chunks }));
    tell(port, { kind: 'ready' });
  } catch (error) {
    const record = toCauseRecord(error);
    tell(port, {
      kind: 'failed',
      message: record?.message ?? 'The handler module could not be loaded.',
      cause: record?.cause,
    });
  }
}

function tell(port: MessagePort, message: ThreadMessage): void {
  port.postMessage(message);
}
