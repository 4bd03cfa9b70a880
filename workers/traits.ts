import { read } from '../lib/recover/error-record.ts';
import type { Classify } from '../lib/types.ts';

/**
 * What the engine knows of a handler beyond its signature. Carried on the function itself, so that a module which
 * exports a built-in handler again, beside a `classify` of its own, keeps it.
 */
export interface HandlerTraits {
  /** The handler calls `context.sent()` for every request, so without that call nothing was executed. */
  readonly reportsSent: boolean;
  /** May the item be sent twice, where the item itself does not say? */
  isIdempotent(item: unknown): boolean;
  /** The handler's own rules, for what the module's `classify` leaves open. */
  readonly classify?: Classify;
}

const TRAITS = Symbol.for('sluicegate.handlerTraits');

const customHandler: HandlerTraits = { reportsSent: false, isIdempotent: () => true };

/** Mark a handler function with its traits. */
export function withTraits<F extends object>(handler: F, traits: HandlerTraits): F {
  return Object.defineProperty(handler, TRAITS, { value: traits });
}

/** The traits of a handler; a custom one is taken to be idempotent and not to report what it sends. */
export function traitsOf(handler: object): HandlerTraits {
  return (handler as { [TRAITS]?: HandlerTraits })[TRAITS] ?? customHandler;
}

/** May the item be sent twice? Its own word goes first, then what `run` was told about all, then the handler's. */
export function mayRunTwice(item: unknown, toldOfAll: boolean | undefined, traits: HandlerTraits): boolean {
  const said = read(item, 'idempotent');
  if (typeof said === 'boolean') return said;
  return toldOfAll ?? traits.isIdempotent(item);
}
