import * as v from 'valibot';

/** An integer from `min` to `max`; `advice` goes behind that in the message. */
export const integer = (min: number, max: number, advice = '') => {
  const allowed = `an integer from ${min} to ${max}${advice}`;
  return v.pipe(v.number(allowed), v.safeInteger(allowed), v.minValue(min, allowed), v.maxValue(max, allowed));
};

/** A number from `min` to `max`, both allowed. */
export const number = (min: number, max: number, allowed = `a number from ${min} to ${max}`) =>
  v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed));

/** A number of milliseconds from `min` to `max`, both allowed. */
export const durationMs = (min: number, max: number) =>
  number(min, max, `a number of milliseconds from ${min} to ${max}`);

/** A number more than 0 and at most `max`. */
export const positive = (max: number, allowed: string) =>
  v.pipe(v.number(allowed), v.gtValue(0, allowed), v.maxValue(max, allowed));

/** One of these strings. */
export const oneOf = <const T extends readonly string[]>(values: T) =>
  v.picklist(values, values.map((value) => `"${value}"`).join(' or '));

/** True or false, and nothing that only looks like it. */
export const flag = () => v.boolean('true or false');
/** A string that is not empty. */
export const text = (allowed: string) => v.pipe(v.string(allowed), v.minLength(1, allowed));

/** An object literal, or as good as one: no array, no map, no instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Objects of another realm have another Object.prototype: theirs has no prototype either.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A plain object, every property of which is read once, so that a getter cannot change its mind after the check. */
export const plainObject = (shape: string) =>
  v.pipe(
    v.custom<Record<string, unknown>>(isPlainObject, shape),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return { ...dataset.value };
      } catch {
        addIssue({ message: `${shape} whose properties can be read` });
        return NEVER;
      }
    }),
  );

/**
 * A plain object with no other keys than these. Arrays, maps and class instances, which look like objects with every
 * option left out, are refused.
 */
export function options<E extends v.ObjectEntries>(entries: E, shape = 'a plain object') {
  const keys = Object.keys(entries);
  const unset = Object.fromEntries(keys.map((key) => [key, undefined]));
  return v.pipe(
    plainObject(shape),
    v.transform((given) => ({ ...unset, ...given })),
    v.strictObject(entries, (issue) => `${suggestion(String(issue.path?.[0]?.key), keys)}${keys.join(', ')}`),
    v.transform(withoutUndefined),
  );
}

/** An option that is `undefined` is one that was left out: it must not hide a default when objects are merged. */
function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as never;
}

function suggestion(given: string, keys: readonly string[]): string {
  const low = given.toLowerCase();
  const like = keys.find((key) => key.toLowerCase().startsWith(low) || low.startsWith(key.toLowerCase()));
  return like === undefined || low === '' ? 'one of ' : `"${like}", if that was meant, or another of `;
}

/** What `one` allows, or a list of at least one of them. */
export const listOrOne = <const S extends v.GenericSchema>(one: S, allowed: string) =>
  v.lazy((input) => (Array.isArray(input) ? v.pipe(v.array(one), v.minLength(1, allowed)) : one));
