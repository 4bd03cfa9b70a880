/**
 * The stable codes that a failed item can carry. See docs/errors.md for what each one means and what to do.
 */
export const ERROR_CODES = [
  'RATE_LIMITED',
  'TIMEOUT',
  'NETWORK',
  'HTTP_STATUS',
  'INVALID_RESPONSE',
  'HANDLER',
  'WORKER_LOST',
  'CIRCUIT_OPEN',
  'CREDENTIALS',
  'IN_DOUBT',
  'ABORTED',
  'NOT_CLONEABLE',
] as const;

/** One of the stable codes of a failed item. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Base of every error that Sluicegate throws. `code` is stable; the message is for people and may change. */
export class SluicegateError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** An option is out of range, of the wrong type, or unknown. Thrown at once, before anything starts. */
export class InvalidOptionError extends SluicegateError {
  /** Path of the option, such as `retry.factor`. */
  readonly option: string;
  /** What was given. Never set for options that may hold a secret. */
  readonly value: unknown;
  /** What is allowed, in words. */
  readonly allowed: string;

  constructor(option: string, value: unknown, allowed: string, shown = describeValue(value)) {
    super('INVALID_OPTION', `Invalid option "${option}": got ${shown}; allowed: ${allowed}.`);
    this.option = option;
    this.value = value;
    this.allowed = allowed;
  }
}

/** `run` or `stream` was called on an engine that is closed or closing. */
export class EngineClosedError extends SluicegateError {
  constructor(message = 'The engine is closed: create a new one to run more items.') {
    super('ENGINE_CLOSED', message);
  }
}

/** The handler module could not be imported, has no default export that is a function, or its `setup` failed. */
export class HandlerLoadError extends SluicegateError {
  constructor(message: string, options?: ErrorOptions) {
    super('HANDLER_LOAD', message, options);
  }
}

/**
 * Threads died again and again before they could take up work, so nothing can run.
 * The usual cause is `resourceLimits` that are too small.
 */
export class WorkerStartError extends SluicegateError {
  constructor(message: string, options?: ErrorOptions) {
    super('WORKER_START', message, options);
  }
}

/** A handler throws this to say that the upstream refused the request as too fast: not executed, safe to send again. */
export class RateLimitError extends SluicegateError {
  /** How long the upstream asked to wait, in milliseconds, if it said so. */
  readonly retryAfterMs: number | undefined;

  constructor(options: { message?: string; retryAfterMs?: number; cause?: unknown } = {}) {
    super(
      'RATE_LIMITED',
      options.message ?? 'The upstream refused the request because of its rate limit.',
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * A handler throws this to end an item with one of the stable codes. `NETWORK` and `INVALID_RESPONSE` are tried again
 * where that is safe, the others are final, unless the module's `classify` says otherwise.
 */
export class ItemError extends SluicegateError {
  declare readonly code: ErrorCode;
  /** HTTP status, where there was one. */
  readonly status: number | undefined;
  /** How long the upstream asked to wait, in milliseconds, if it said so. */
  readonly retryAfterMs: number | undefined;
  /** True if the request certainly never left: its token is given back, and it may always be tried again. */
  readonly notSent: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    options: { status?: number; retryAfterMs?: number; notSent?: boolean; cause?: unknown } = {},
  ) {
    super(code, message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.notSent = options.notSent ?? false;
  }
}

/** Why a running attempt was told to stop: the `reason` of its `context.signal`. */
export class StopError extends SluicegateError {
  declare readonly code: 'CANCELLED' | 'TIMEOUT' | 'ABORTED';

  constructor(code: 'CANCELLED' | 'TIMEOUT' | 'ABORTED', message: string) {
    super(code, message);
  }
}

/** A short, safe picture of a value for messages: no contents of objects, long strings cut. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? `an array of ${value.length}` : 'an object';
    default:
      return String(value);
  }
}
