import { describeValue, HandlerLoadError } from '../lib/errors.ts';
import type { Classify, Handler } from '../lib/types.ts';
import { type HandlerTraits, traitsOf } from './traits.ts';

/** A handler module, ready to work in this thread. */
export interface LoadedHandler {
  readonly handle: Handler;
  readonly classify: Classify | undefined;
  readonly traits: HandlerTraits;
  /** What `setup` returned. */
  readonly state: unknown;
}

/**
 * Import a handler module and run its `setup`.
 * @throws HandlerLoadError if it cannot be imported, has no function as default export, or its `setup` fails.
 */
export async function loadHandler(url: string, handlerData: unknown): Promise<LoadedHandler> {
  let module: Record<string, unknown>;
  try {
    module = (await import(url)) as Record<string, unknown>;
  } catch (cause) {
    throw new HandlerLoadError(`The handler module ${url} could not be imported.`, { cause });
  }
  const parts = partsOf(module);
  if (typeof parts.default !== 'function') {
    throw new HandlerLoadError(
      `The handler module ${url} must have a function as its default export; it has ${describeValue(parts.default)}.`,
    );
  }
  for (const name of ['setup', 'classify'] as const) {
    if (parts[name] !== undefined && typeof parts[name] !== 'function') {
      throw new HandlerLoadError(
        `The export "${name}" of the handler module ${url} must be a function; it is ${describeValue(parts[name])}.`,
      );
    }
  }
  let state: unknown;
  if (typeof parts.setup === 'function') {
    try {
      state = await (parts.setup as (data: unknown) => unknown)(handlerData);
    } catch (cause) {
      throw new HandlerLoadError(`The setup of the handler module ${url} failed.`, { cause });
    }
  }
  return {
    handle: parts.default as Handler,
    classify: parts.classify as Classify | undefined,
    traits: traitsOf(parts.default),
    state,
  };
}

/** A CommonJS module arrives as its `module.exports` under `default`: look inside it for what an ES module exports. */
function partsOf(module: Record<string, unknown>): { default?: unknown; setup?: unknown; classify?: unknown } {
  const exported = module.default;
  const isCommonJs =
    'module.exports' in module || '__esModule' in module || (typeof exported === 'object' && exported !== null);
  if (!isCommonJs || exported === null || exported === undefined) return module;
  const inner = exported as Record<string, unknown>;
  return {
    default: typeof exported === 'function' ? exported : inner.default,
    setup: module.setup ?? inner.setup,
    classify: module.classify ?? inner.classify,
  };
}
