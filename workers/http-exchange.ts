import { subscribe } from 'node:diagnostics_channel';

import type { Dispatcher } from 'undici';

import { ItemError } from '../lib/errors.ts';
import type { HandlerContext, HttpValue, Permit } from '../lib/types.ts';
import { firstHeader, tooLarge } from './http-body.ts';
import { toItemError } from './http-errors.ts';
import { describeTarget, type WireRequest } from './http-request.ts';
import { freeHookOf, type HookedContext, LEAVE_HOOK, STOP_HOOK, type StopListener } from './stop-hook.ts';

/** What came back for one request, as it was on the wire. */
export interface Answer {
  readonly status: number;
  readonly headers: HttpValue['headers'];
  /** `null`: an error status whose body could not be read. */
  readonly bytes: Buffer | null;
}

type Start = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>;

/** So many pieces of a body are put together. A server can send each byte in a piece of its own, and each costs 100. */
const MAX_PIECES = 1024;

/** A gateway speaks for an upstream that it lost: the request may still be counted there later. */
const noAnswerOfUpstream = (status: number): boolean => status === 502 || status === 504;

/**
 * Send one request and collect its answer.
 *
 * @param context says when to stop
 * @param permit the token of this request
 * @throws ItemError `NETWORK`, `INVALID_RESPONSE` or `HANDLER`; the reason of `context.signal` if it aborts, and what
 * `context.throwIfStopped` throws in the last moment before sending
 */
export function exchange(
  dispatcher: Dispatcher,
  request: WireRequest,
  context: HandlerContext,
  permit: Permit,
  maxBodyBytes: number,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    new Exchange(request, context, permit, maxBodyBytes, resolve, reject).start(dispatcher);
  });
}

class Exchange implements Dispatcher.DispatchHandler, StopListener {
  readonly #request: WireRequest;
  readonly #context: HandlerContext;
  readonly #permit: Permit;
  readonly #maxBodyBytes: number;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (reason: unknown) => void;
  #hook: HookedContext | undefined;
  #signal: AbortSignal | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #reason: unknown;
  #status = 0;
  #headers: HttpValue['headers'] = {};
  #chunks: Buffer[] = [];
  /** How many of them, from the start, have been put together from others. */
  #packed = 0;
  #size = 0;

  constructor(
    request: WireRequest,
    context: HandlerContext,
    permit: Permit,
    maxBodyBytes: number,
    resolve: (answer: Answer) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#request = request;
    this.#context = context;
    this.#permit = permit;
    this.#maxBodyBytes = maxBodyBytes;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(dispatcher: Dispatcher): void {
    try {
      this.#listen();
    } catch (reason) {
      this.#fail(reason);
      return;
    }
    const { url, method, headers, body } = this.#request;
    if (body !== undefined) watchBody(body, this);
    try {
      dispatcher.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method,
          // The type knows flat lists of strings only; a list as a value is sent as repeated fields.
          headers: headers as string[],
          body: body ?? null,
        },
        this,
      );
    } catch (error) {
      this.#failOnWire(error);
    }
  }

  /** From now on a stop is heard. Throws if it has come already. */
  #listen(): void {
    const context = this.#context;
    const hook = freeHookOf(context);
    if (hook === undefined) {
      const { signal } = context;
      if (signal.aborted) throw signal.reason;
      signal.addEventListener('abort', this);
      this.#signal = signal;
    } else {
      context.throwIfStopped();
      hook[STOP_HOOK] = this;
      this.#hook = hook;
    }
  }

  /** The signal aborts. */
  handleEvent(): void {
    this.onStop(this.#signal?.reason);
  }

  onStop(reason: unknown): void {
    // First our own promise: while undici is connecting it would settle nothing before that ends.
    this.#fail(reason);
    this.#controller?.abort(reason as Error);
  }

  /** The last byte of the body has been handed to the socket. */
  onBodySent(): void {
    if (!this.#settled) this.#permit.sent();
  }

  /** A connection is there and the request is about to be written. Throwing keeps the connection and sends nothing. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#settled) throw this.#reason;
    try {
      if (this.#controller !== undefined) {
        const message = `${this.#target}: the dispatcher tried to send the request again without a token.`;
        throw new ItemError('HANDLER', message);
      }
      this.#context.throwIfStopped();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#controller = controller;
    if (this.#request.body === undefined) this.#permit.sent();
    // Before the first byte: whoever finds this thread dead must not take a request for unsent that was written.
    else this.#hook?.[LEAVE_HOOK]?.();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Start[2]): void {
    // An interim answer (103 Early Hints) comes before the upstream has made up its mind.
    if (this.#settled || status < 200) return;
    this.#controller = controller;
    this.#status = status;
    this.#headers = headers as HttpValue['headers'];
    if (!noAnswerOfUpstream(status)) this.#permit.answered();
    if (this.#request.method === 'HEAD' || status === 304) return;
    if (Number(firstHeader(this.#headers, 'content-length') ?? 0) > this.#maxBodyBytes) this.#overflow(controller);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    this.#size += chunk.length;
    if (this.#size > this.#maxBodyBytes) this.#overflow(controller);
    else this.#keep(chunk);
  }

  #keep(chunk: Buffer): void {
    const chunks = this.#chunks;
    // A piece is a view of all that was read at once. If that is mostly something else (what a server may put between
    // pieces has no end), it must not be kept with it.
    const isSmallPart = chunks.length > 0 && chunk.length * 4 < chunk.buffer.byteLength;
    chunks.push(isSmallPart ? Buffer.from(chunk) : chunk);
    if (chunks.length - this.#packed < MAX_PIECES) return;
    chunks.push(Buffer.concat(chunks.splice(this.#packed)));
    this.#packed++;
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    const first = this.#chunks[0];
    const bytes = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks, this.#size);
    this.#succeed(bytes);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#failOnWire(error);
  }

  get #target(): string {
    return describeTarget(this.#request);
  }

  /** Too much: end the connection rather than read on. */
  #overflow(controller: Dispatcher.DispatchController): void {
    const error = tooLarge(this.#request, this.#status, this.#maxBodyBytes);
    if (this.#status >= 400) this.#succeed(null);
    else this.#fail(error);
    controller.abort(error);
  }

  #failOnWire(error: unknown): void {
    if (this.#settled) return;
    // An error status has said what matters: a broken body must not hide it.
    if (this.#status >= 400) this.#succeed(null);
    else this.#fail(toItemError(error, this.#target, this.#controller !== undefined, this.#status));
  }

  #succeed(bytes: Buffer | null): void {
    this.#settle();
    this.#resolve({ status: this.#status, headers: this.#headers, bytes });
  }

  #fail(reason: unknown): void {
    // Looking whether to stop may be what stops the attempt, and the listener has failed it by then.
    if (this.#settled) return;
    this.#settle();
    this.#reason = reason;
    this.#reject(reason);
  }

  #settle(): void {
    this.#settled = true;
    this.#signal?.removeEventListener('abort', this);
    if (this.#hook !== undefined) this.#hook[STOP_HOOK] = undefined;
    // undici may hold on to this object until a connection attempt ends.
    this.#chunks = [];
  }
}

/**
 * Who waits for a body to be sent, written on the body itself (cheaper than a WeakMap): undici has no callback for it in
 * its present handlers, only a channel.
 */
const WAITING = Symbol('waiting');
interface Watched {
  [WAITING]?: Exchange;
}
let subscribed = false;

function watchBody(body: Buffer & Watched, waiting: Exchange): void {
  body[WAITING] = waiting;
  if (subscribed) return;
  subscribed = true;
  subscribe('undici:request:bodySent', (message) => {
    // Everyone in this thread who uses undici, or the fetch of Node, publishes here.
    const { body: sent } = (message as { request: { body?: Watched | null } }).request;
    sent?.[WAITING]?.onBodySent();
  });
}
