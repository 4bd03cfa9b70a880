import { parentPort, workerData } from 'node:worker_threads';
import type { ResolvedOptions } from './options.ts';
import type { CallMessage, ServerMessage } from './protocol.ts';
import { ApiServer } from './server.ts';

if (parentPort === null) throw new Error('This module is started by startSimulator() in a worker thread.');
const port = parentPort;
const server = new ApiServer(workerData as ResolvedOptions);

function post(message: ServerMessage): void {
  port.postMessage(message);
}

async function perform(call: CallMessage): Promise<unknown> {
  switch (call.name) {
    case 'stats':
      return server.stats();
    case 'arrivals':
      return server.arrivals();
    case 'orders':
      return server.orders();
    case 'reset':
      return server.reset();
    case 'setFaults':
      return server.setFaults(call.argument);
    case 'setLimit':
      return server.setLimit(call.argument);
    case 'expireTokens':
      return server.expireTokens();
    case 'close':
      await server.close();
      // Ends this thread only. Timers of answers that nobody waits for any more must not hold it up.
      return process.exit();
  }
}

port.on('message', (call: CallMessage) => {
  void perform(call).then((result) => post({ kind: 'reply', id: call.id, result }));
});

server.listen().then(
  (listeningPort) => post({ kind: 'listening', port: listeningPort }),
  (error: NodeJS.ErrnoException) => {
    post({ kind: 'failed', message: error.message, code: error.code });
    // With the listener gone, nothing keeps this thread alive.
    port.close();
  },
);
