import type { HandlerContext } from '../lib/types.ts';

/** Wants to know at once when an attempt must stop. */
export interface StopListener {
  onStop(reason: unknown): void;
}

/**
 * The place for one StopListener on the context of an attempt: what `context.signal` does, for the built-in handlers. A
 * controller, its signal and one listener for every request cost 5 to 12 us of CPU on Node 20, where the whole request
 * takes 25 us without them.
 */
export const STOP_HOOK: unique symbol = Symbol('sluicegate.stopHook');

/** A context that has the hook, as a property of its own. */
export interface HookedContext {
  [STOP_HOOK]: StopListener | undefined;
}

/**
 * The hook of a context, if it has one that is free. One that is only inherited does not count: whoever made an object
 * on top of a context did it to put a signal of their own there.
 */
export function freeHookOf(context: HandlerContext): HookedContext | undefined {
  if (!Object.hasOwn(context, STOP_HOOK)) return undefined;
  const hooked = context as HandlerContext & HookedContext;
  return hooked[STOP_HOOK] === undefined ? hooked : undefined;
}
