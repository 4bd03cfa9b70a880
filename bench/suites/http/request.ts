import { Agent, type Dispatcher, Pool, request } from 'undici';

/** What everybody is given and has to bring back. */
export interface PlainRequest extends PathRequest {
  readonly url: string;
}

/** All that is needed where the origin is known. */
export interface PathRequest {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly body?: string;
}

export interface PlainAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

/** Keep-alive, and as many connections as are needed. */
export function makeAgent(connections: number): Agent {
  return new Agent({ connections, pipelining: 1 });
}

/** The same for one origin: there is nothing to look up for a request. */
export function makePool(origin: string, connections: number): Pool {
  return new Pool(origin, { connections, pipelining: 1 });
}

/** The same without timeouts, which cost something for each request. Whoever uses it has to keep them in another way. */
export function makeBarePool(origin: string, connections: number): Pool {
  return new Pool(origin, { connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
}

/** The function that undici's documentation begins with. */
export async function requestByUrl(item: PlainRequest, dispatcher: Dispatcher): Promise<PlainAnswer> {
  const { statusCode, headers, body } = await request(item.url, {
    method: item.method,
    dispatcher,
    ...(item.body === undefined ? {} : { body: item.body, headers: TEXT }),
  });
  return { status: statusCode, headers, body: await body.text() };
}

/** The method of a pool, which has no URL to take apart: the quickest way to get promises from undici. */
export async function requestByPath(item: PathRequest, pool: Pool): Promise<PlainAnswer> {
  const { statusCode, headers, body } = await pool.request({
    path: item.path,
    method: item.method,
    ...(item.body === undefined ? {} : { body: item.body, headers: TEXT }),
  });
  return { status: statusCode, headers, body: await body.text() };
}

/** The method below that, without a stream for the body: the least that undici can do. */
export function dispatchByPath(item: PathRequest, pool: Pool): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    pool.dispatch(
      {
        path: item.path,
        method: item.method,
        ...(item.body === undefined ? {} : { body: item.body, headers: TEXT }),
      },
      new Collector(resolve, reject),
    );
  });
}

/** A request, and how many milliseconds it took where it was made. */
export async function timed(send: () => Promise<PlainAnswer>): Promise<TimedAnswer> {
  const startedNs = process.hrtime.bigint();
  const answer = await send();
  return { answer, ms: Number(process.hrtime.bigint() - startedNs) / 1e6 };
}

export interface TimedAnswer {
  readonly answer: PlainAnswer;
  readonly ms: number;
}

/** Call `send` for each item, so many at a time. */
export async function inLanes<Item, Result>(
  items: readonly Item[],
  lanes: number,
  send: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await send(item);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

const TEXT = { 'content-type': 'text/plain' };

class Collector implements Dispatcher.DispatchHandler {
  readonly #resolve: (answer: PlainAnswer) => void;
  readonly #reject: (error: Error) => void;
  readonly #pieces: Buffer[] = [];
  #status = 0;
  #headers: PlainAnswer['headers'] = {};

  constructor(resolve: (answer: PlainAnswer) => void, reject: (error: Error) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestStart(): void {}

  onResponseStart(_: unknown, status: number, headers: PlainAnswer['headers']): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_: unknown, piece: Buffer): void {
    this.#pieces.push(piece);
  }

  onResponseEnd(): void {
    const [first] = this.#pieces;
    const bytes = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.#resolve({ status: this.#status, headers: this.#headers, body: bytes.toString() });
  }

  onResponseError(_: unknown, error: Error): void {
    this.#reject(error);
  }
}
