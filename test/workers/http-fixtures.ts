import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

import type { HandlerContext, HttpOptions, HttpValue, Permit } from '../../lib/types.ts';
import handle from '../../workers/http.ts';
import { destroyHttp } from '../../workers/http-client.ts';
import { configureHttp } from '../../workers/http-config.ts';
import { type HookedContext, STOP_HOOK, type StopListener } from '../../workers/stop-hook.ts';

/** A key and a certificate for localhost and 127.0.0.1, made for these tests. Valid from 2020 to 2120. */
export const TEST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnnKiqUsnsjzzMl+1
Dm1MEprlrca9MKMGM4RfWRIfDB2hRANCAARJ2qCWKC9J/rbxgAf4ONTyLaNU8M4d
ZSx9W8fJsoxKwfQfkiv97Il5flUtzGuXC49vVqhECgtWWbGwuQXHA1Ew
-----END PRIVATE KEY-----
`;
export const TEST_CERT = `-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEnaoJYoL0n+tvGA
B/g41PIto1Twzh1lLH1bx8myjErB9B+SK/3siXl+VS3Ma5cLj29WqEQKC1ZZsbC5
BccDUTCjTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSUiRrs/2Ludgi4UWPwvz1eOrA4fTAKBggqhkjOPQQD
AgNIADBFAiEA1wBvbkfN6IB2YdsXUzi7sWGVi3XIhmJ0tHIinn2MNJ8CIGsSfIvR
5h2aUUo4Ab+otDkzu5DLFgYglQyahftRUx+J
-----END CERTIFICATE-----
`;

/** The context of one attempt: writes down what it is told, and stops when the test says so. */
export class FakeContext implements HandlerContext {
  readonly index = 0;
  readonly attempt = 1;
  readonly threadId = 1;
  readonly state = undefined;
  credentials: unknown;
  /** `sent` and `answered` of the first token, `acquire`, then `sent2`, `answered2` and so on. */
  readonly log: string[] = [];
  readonly controller = new AbortController();
  /** Resolves when the request has left. */
  readonly wasSent: Promise<void>;
  /** Resolves when the answer has begun. */
  readonly wasAnswered: Promise<void>;
  stopError: Error | undefined;
  readonly #markSent: () => void;
  readonly #markAnswered: () => void;
  #permits = 1;

  constructor() {
    ({ promise: this.wasSent, resolve: this.#markSent } = deferred());
    ({ promise: this.wasAnswered, resolve: this.#markAnswered } = deferred());
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  sent(): void {
    this.log.push('sent');
    this.#markSent();
  }

  answered(): void {
    this.log.push('answered');
    this.#markAnswered();
  }

  async acquire(): Promise<Permit> {
    this.log.push('acquire');
    const number = ++this.#permits;
    return {
      sent: () => void this.log.push(`sent${number}`),
      answered: () => void this.log.push(`answered${number}`),
    };
  }

  throwIfStopped(): void {
    if (this.stopError !== undefined) throw this.stopError;
  }
}

/** The same with the hook that the engine's own contexts have; nobody may touch its signal. */
export class HookedFakeContext extends FakeContext implements HookedContext {
  [STOP_HOOK]: StopListener | undefined = undefined;

  override get signal(): AbortSignal {
    throw new Error('The signal is not to be read.');
  }

  /** What the engine does. */
  stop(reason: Error): void {
    this.stopError = reason;
    this[STOP_HOOK]?.onStop(reason);
  }
}

/** Call the handler with an item of any shape, as a user without types would. */
export function call(item: unknown, context: HandlerContext = new FakeContext()): Promise<HttpValue> {
  return handle(item as Parameters<typeof handle>[0], context);
}

/** Set up the handler for one test and end its connections afterwards. */
export function useHttp(t: TestContext, options: HttpOptions = {}, dispatcherUrl?: string, lanes = 4): void {
  // Of an earlier call in the same test.
  const ended = destroyHttp();
  t.after(() => ended);
  configureHttp({ options, lanes, dispatcherUrl });
  t.after(() => destroyHttp());
}

export interface TestServer {
  readonly origin: string;
  readonly port: number;
  /** Connections that were opened. */
  connections: number;
  /** Called with each new connection. */
  onSocket: ((socket: net.Socket) => void) | undefined;
}

async function listen(
  t: TestContext,
  server: net.Server,
  scheme: string,
  host = '127.0.0.1',
  port = 0,
): Promise<TestServer> {
  const sockets = new Set<net.Socket>();
  const running = { origin: '', port: 0, connections: 0, onSocket: undefined as TestServer['onSocket'] };
  server.on('connection', (socket: net.Socket) => {
    running.connections++;
    sockets.add(socket);
    running.onSocket?.(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  t.after(
    () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  );
  running.port = (server.address() as AddressInfo).port;
  running.origin = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${running.port}`;
  return running;
}

/** An HTTP server on loopback that ends with the test. */
export function serve(
  t: TestContext,
  listener: http.RequestListener,
  host?: string,
  port?: number,
): Promise<TestServer> {
  return listen(t, http.createServer({ keepAliveTimeout: 0 }, listener), 'http', host, port);
}

/** The same with TLS. */
export function serveTls(t: TestContext, listener: http.RequestListener): Promise<TestServer> {
  return listen(t, https.createServer({ key: TEST_KEY, cert: TEST_CERT }, listener), 'https');
}

/** A server that speaks bytes. */
export function serveRaw(t: TestContext, listener: (socket: net.Socket) => void): Promise<TestServer> {
  return listen(t, net.createServer(listener), 'http');
}

/** A server that answers each request, on whatever connection, with the same bytes. */
export function serveBytes(
  t: TestContext,
  answer: string | Buffer,
  end: 'keep' | 'end' | 'reset' = 'keep',
): Promise<TestServer> {
  return serveRaw(t, (socket) => {
    socket.on('data', () => {
      socket.write(answer, () => {
        if (end === 'end') socket.end();
        if (end === 'reset') socket.resetAndDestroy();
      });
    });
  });
}

/** A port on loopback where nobody listens. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A promise and the function that resolves it. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** All of a request's body. */
export async function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Answer with JSON. */
export function sendJson(response: http.ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
