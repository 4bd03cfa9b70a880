import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** A request that waits for the test to say how it is answered. */
export interface HeldRequest {
  readonly item: string;
  readonly method: string;
  readonly headers: http.IncomingHttpHeaders;
  answer(status?: number, headers?: Readonly<Record<string, string>>): void;
  /** Tear the connection down. */
  reset(): void;
}

/**
 * A server that answers nothing by itself: a test decides about every request, so that nothing depends on how fast the
 * machine is. It lives in the main thread, and is deaf while that is blocked.
 */
export class HeldServer {
  readonly url: string;
  /** Requests that have come in and are not answered, in order; those whose client went away are gone. */
  readonly held: HeldRequest[] = [];
  /** Every request that ever came in, by its `x-item`. */
  readonly arrived: string[] = [];
  /** Requests whose client went away before the answer. */
  aborted = 0;
  /** Set to answer all that comes in from now on at once. */
  onRequest: ((request: HeldRequest) => void) | undefined;
  #wake: (() => void)[] = [];

  private constructor(server: http.Server) {
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => this.#take(request, response));
  }

  static async start(t: TestContext): Promise<HeldServer> {
    const server = http.createServer({ keepAliveTimeout: 0 });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    });
    return new HeldServer(server);
  }

  /** Resolves as soon as so many requests are held. */
  async waitFor(count: number): Promise<HeldRequest[]> {
    await this.until(() => this.held.length >= count);
    return [...this.held];
  }

  /** Resolves as soon as it is so; asks whenever a request comes or goes. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  /** Answer all that is held, and from now on everything at once. */
  release(status = 200): void {
    this.onRequest = (request) => request.answer(status);
    for (const request of [...this.held]) request.answer(status);
  }

  #take(request: http.IncomingMessage, response: http.ServerResponse): void {
    request.resume();
    const item = String(request.headers['x-item']);
    const held: HeldRequest = {
      item,
      method: request.method ?? '',
      headers: request.headers,
      answer: (status = 200, headers = {}) => {
        this.#drop(held);
        response.writeHead(status, { 'content-type': 'application/json', ...headers }).end('{}');
      },
      reset: () => {
        this.#drop(held);
        request.socket.resetAndDestroy();
      },
    };
    response.on('close', () => {
      if (this.#drop(held)) this.aborted++;
      this.#notify();
    });
    this.arrived.push(item);
    this.held.push(held);
    this.onRequest?.(held);
    this.#notify();
  }

  #drop(request: HeldRequest): boolean {
    const at = this.held.indexOf(request);
    if (at === -1) return false;
    this.held.splice(at, 1);
    return true;
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
