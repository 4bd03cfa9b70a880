import { type ServerResponse, STATUS_CODES } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Answer, jsonAnswer, jsonTextAnswer, refusalAnswer, send } from './answer.ts';
import type { FaultEffect } from './fault-options.ts';
import { gatewayError, tokenError } from './kis/errors.ts';
import type { Refusal } from './types.ts';

const SLOW_BODY_PIECES = 20;
const HUGE_PIECE_BYTES = 64 * 1024;
const ERROR_PAGE = [
  '<!DOCTYPE html>',
  '<html>',
  '<head><title>500 Internal Server Error</title></head>',
  '<body><center><h1>500 Internal Server Error</h1></center><hr><center>gateway</center></body>',
  '</html>',
  '',
].join('\n');

/** How the rate limit refuses where the fault does not say. */
interface RefusalStyle {
  readonly refusal: Refusal;
  readonly windowNs: number;
}

/**
 * Let a fault loose on the answer to a request. `normal` is what the answer would have been.
 * Returns the HTTP status that was sent, or 0 for none.
 */
export function strike(effect: FaultEffect, response: ServerResponse, normal: Answer, style: RefusalStyle): number {
  switch (effect.kind) {
    case 'refuse':
      return sendWith(response, refusalAnswer(effect.variant ?? style.refusal, style.windowNs));
    case '429':
    case '503':
      return sendWith(response, retryAfterAnswer(Number(effect.kind), effect.retryAfter));
    case 'status':
      return sendWith(response, statusAnswer(effect.status, effect.body));
    case 'kis': {
      const word = response.req.url?.startsWith('/oauth2/') ? tokenError : gatewayError;
      return sendWith(response, word(effect.code, effect.status));
    }
    case 'html-500':
      return sendWith(response, { status: 500, headers: { 'content-type': 'text/html' }, body: ERROR_PAGE });
    case 'malformed-json':
      // Whatever the normal body is: without its last character and with these two, it cannot be JSON.
      return sendWith(response, jsonTextAnswer(200, `${normal.body.slice(0, -1)},}`));
    case 'reset':
      // Not the response's socket: it has none while an earlier answer on the same connection is still to come.
      response.req.socket.resetAndDestroy();
      return 0;
    case 'hang':
      return 0;
    case 'truncated':
      return sendTruncated(response, normal);
    case 'wrong-length':
      return sendWrongLength(response, normal);
    case 'gzip':
      return sendBytes(response, normal, gzipSync(normal.body));
    case 'truncated-gzip': {
      const whole = gzipSync(normal.body);
      return sendBytes(response, normal, whole.subarray(0, whole.length >> 1));
    }
    case 'slow-body':
      void sendSlowly(response, normal, effect.durationMs);
      return normal.status;
    case 'huge-body':
      return sendHuge(response, effect.bytes);
  }
}

function sendWith(response: ServerResponse, answer: Answer): number {
  send(response, answer);
  return answer.status;
}

function retryAfterAnswer(status: number, hint: number | string | { readonly dateInMs: number } | undefined): Answer {
  const text = typeof hint === 'object' ? new Date(Date.now() + hint.dateInMs).toUTCString() : hint;
  return jsonAnswer(status, { error: STATUS_CODES[status] }, text === undefined ? {} : { 'retry-after': String(text) });
}

function statusAnswer(status: number, body: string | undefined): Answer {
  if (status === 204 || status === 304) return { status, headers: {}, body: '' };
  return jsonTextAnswer(status, body ?? JSON.stringify({ error: STATUS_CODES[status] ?? `Status ${status}` }));
}

function sendTruncated(response: ServerResponse, normal: Answer): number {
  const body = Buffer.from(normal.body);
  response.writeHead(normal.status, { ...normal.headers, 'content-length': body.length });
  response.write(body.subarray(0, body.length >> 1), () => response.destroy());
  return normal.status;
}

function sendWrongLength(response: ServerResponse, normal: Answer): number {
  const body = Buffer.from(normal.body);
  response.writeHead(normal.status, { ...normal.headers, 'content-length': body.length >> 1 });
  response.end(body);
  return normal.status;
}

function sendBytes(response: ServerResponse, normal: Answer, gzipped: Buffer): number {
  const headers = { ...normal.headers, 'content-encoding': 'gzip', 'content-length': gzipped.length };
  response.writeHead(normal.status, headers);
  response.end(gzipped);
  return normal.status;
}

async function sendSlowly(response: ServerResponse, normal: Answer, durationMs: number): Promise<void> {
  const body = Buffer.from(normal.body);
  const pieces = Math.min(SLOW_BODY_PIECES, body.length);
  response.writeHead(normal.status, { ...normal.headers, 'content-length': body.length });
  for (let piece = 0; piece < pieces; piece++) {
    response.write(body.subarray(cut(piece), cut(piece + 1)));
    await sleep(durationMs / pieces);
    if (response.destroyed) return;
  }
  response.end();

  function cut(piece: number): number {
    return Math.floor((body.length * piece) / pieces);
  }
}

function sendHuge(response: ServerResponse, bytes: number): number {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
  // A client that goes away in the middle is an error of the pipeline, and nothing to report.
  pipeline(Readable.from(jsonStringPieces(bytes), { objectMode: false }), response, () => {});
  return 200;
}

function* jsonStringPieces(bytes: number): Generator<Buffer> {
  const filler = Buffer.alloc(HUGE_PIECE_BYTES, 'x');
  yield Buffer.from('"');
  for (let left = bytes - 2; left > 0; left -= HUGE_PIECE_BYTES) {
    yield left < HUGE_PIECE_BYTES ? filler.subarray(0, left) : filler;
  }
  yield Buffer.from('"');
}
