import { describeValue, InvalidOptionError } from '../errors.ts';

type Bag = Readonly<Record<string, unknown>>;

function isBag(value: unknown): value is Bag {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads the options of one object and says where in the whole it stands when one is wrong. An option that is
 * `undefined` counts as not given.
 */
export class OptionReader {
  readonly #bag: Bag;
  readonly #prefix: string;

  /** @throws InvalidOptionError if `value` is no object or has a key that is not in `known` */
  constructor(value: unknown, path: string, known: readonly string[]) {
    if (!isBag(value)) throw new InvalidOptionError(path, value, 'an object');
    this.#bag = value;
    this.#prefix = path === 'options' ? '' : `${path}.`;
    for (const key of Object.keys(value)) {
      if (!known.includes(key)) {
        throw new InvalidOptionError(this.#prefix + key, value[key], `no such option; there are ${known.join(', ')}`);
      }
    }
  }

  path(key: string): string {
    return this.#prefix + key;
  }

  get(key: string): unknown {
    return this.#bag[key];
  }

  has(key: string): boolean {
    return this.#bag[key] !== undefined;
  }

  #given(key: string, fallback: unknown): unknown {
    const value = this.#bag[key];
    return value === undefined ? fallback : value;
  }

  fail(key: string, allowed: string): never {
    throw new InvalidOptionError(this.path(key), this.#bag[key], allowed);
  }

  number(key: string, fallback: number, min: number, max: number): number {
    const value = this.#given(key, fallback);
    if (!isNumberWithin(value, min, max)) return this.fail(key, `a number from ${min} to ${max}`);
    return value;
  }

  integer(key: string, fallback: number, min: number, max: number): number {
    const value = this.#given(key, fallback);
    if (!isNumberWithin(value, min, max) || !Number.isInteger(value)) {
      return this.fail(key, `a whole number from ${min} to ${max}`);
    }
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.#given(key, fallback);
    return typeof value === 'boolean' ? value : this.fail(key, 'true or false');
  }

  oneOf<T extends string>(key: string, choices: readonly T[], fallback?: T): T {
    const value = this.#given(key, fallback);
    return choices.find((choice) => choice === value) ?? this.fail(key, choices.map(describeValue).join(', '));
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.#bag[key];
    if (value === undefined) return undefined;
    const isList = Array.isArray(value) && value.every((one) => typeof one === 'string');
    return isList ? [...value] : this.fail(key, 'a list of strings');
  }

  /** A non-empty string that must never be shown. */
  secret(key: string): string | undefined {
    const value = this.#bag[key];
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value.length > 0) return value;
    throw new InvalidOptionError(this.path(key), undefined, 'a string that is not empty', 'something else (not shown)');
  }
}

export function isNumberWithin(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && value >= min && value <= max;
}
