import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Refusal } from './types.ts';

/** A request with all of its body, as the endpoints see it. */
export interface ApiRequest {
  /** Its number, or 0 if it is not counted. */
  readonly n: number;
  readonly atNs: number;
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  readonly pathname: string;
  readonly headers: IncomingHttpHeaders;
  /** `undefined` if the request had none. At most `MAX_KEPT_BODY_BYTES` of it. */
  readonly body: Buffer | undefined;
  readonly bodyBytes: number;
  readonly key: string | undefined;
}

/** What an endpoint answers. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** More of a request's body is read, but not kept. */
export const MAX_KEPT_BODY_BYTES = 64 * 1024;

/** An answer with this value as JSON. */
export function jsonAnswer(status: number, value: unknown, headers?: Readonly<Record<string, string>>): Answer {
  return jsonTextAnswer(status, JSON.stringify(value), headers);
}

/** An answer with this text, which is JSON already. */
export function jsonTextAnswer(status: number, body: string, headers?: Readonly<Record<string, string>>): Answer {
  return { status, headers: { 'content-type': 'application/json; charset=utf-8', ...headers }, body };
}

/** How the rate limit says "too fast". */
export function refusalAnswer(variant: Refusal, windowNs: number): Answer {
  const rt_cd = '1';
  const msg1 = '초당 거래건수를 초과하였습니다.';
  const msg_cd = 'EGW00201';
  switch (variant) {
    case 'egw-500':
      return jsonAnswer(500, { rt_cd, msg1, msg_cd });
    case 'egw-200':
      return jsonAnswer(200, { rt_cd, msg1, msg_cd });
    case 'egw-message':
      return jsonAnswer(500, { rt_cd, msg1, msg_cd, message: msg_cd });
    case 'egw-message-only':
      return jsonAnswer(500, { message: msg_cd });
    case 'egw-text':
      return jsonAnswer(500, { rt_cd, msg1 });
    case '429':
      return jsonAnswer(429, { error: 'Too Many Requests' }, { 'retry-after': String(Math.ceil(windowNs / 1e9)) });
  }
}

/** Send it with its true length. */
export function send(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, { ...answer.headers, 'content-length': Buffer.byteLength(answer.body) });
  response.end(answer.body);
}
