import { Agent, type Dispatcher, request } from 'undici';

/** What everybody is given and has to bring back. */
export interface PlainRequest {
  readonly url: string;
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

/** The function that undici's documentation begins with. */
export async function requestByUrl(item: PlainRequest, dispatcher: Dispatcher): Promise<PlainAnswer> {
  const { statusCode, headers, body } = await request(item.url, {
    method: item.method,
    dispatcher,
    ...(item.body === undefined ? {} : { body: item.body, headers: TEXT }),
  });
  return { status: statusCode, headers, body: await body.text() };
}

/** The method of a dispatcher: the URL has been taken apart before. */
export async function requestByPath(
  origin: string,
  path: string,
  item: PlainRequest,
  dispatcher: Dispatcher,
): Promise<PlainAnswer> {
  const { statusCode, headers, body } = await dispatcher.request({
    origin,
    path,
    method: item.method,
    ...(item.body === undefined ? {} : { body: item.body, headers: TEXT }),
  });
  return { status: statusCode, headers, body: await body.text() };
}

const TEXT = { 'content-type': 'text/plain' };
