import fc from 'fast-check';

const fail = (): never => {
  throw new Error('A trap.');
};

/** A proxy of which nothing can be learned without an error. */
export function trapped(target: object = {}): object {
  return new Proxy(target, {
    get: fail,
    has: fail,
    ownKeys: fail,
    getPrototypeOf: fail,
    getOwnPropertyDescriptor: fail,
  });
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** An object with getters for these properties, each with what is to happen. */
export function withGetters(getters: Readonly<Record<string, () => unknown>>): object {
  // Not made by `new Error`, whose stack would be written while the getters are put in place.
  const object = Object.create(Error.prototype) as object;
  for (const [key, get] of Object.entries(getters)) Object.defineProperty(object, key, { get, enumerable: true });
  return object;
}

function cyclic(): Error {
  const error = new Error('I am my own cause.');
  error.cause = error;
  return error;
}

/** An error with so many causes. */
export function nested(depth: number): Error {
  let error = new Error('The last.');
  for (let n = 1; n < depth; n++) error = new Error(`Number ${n}.`, { cause: error });
  return error;
}

const HUGE = 'x'.repeat(100_000);

/** What a handler may throw to hurt, by name. */
export const hostile: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  undefined: () => undefined,
  'a symbol': () => Symbol(HUGE),
  'a bigint': () => 10n ** 5_000n,
  'a huge string': () => HUGE,
  'an empty string': () => '',
  'half a character': () => new Error(`${'x'.repeat(1_999)}\u{1f600}`),
  NaN: () => Number.NaN,
  'a function': () => () => 'never called',
  'a class': () => class Thrown extends Error {},
  'a trapped proxy': () => trapped(),
  'a trapped error': () => trapped(new Error('Never seen.')),
  'a trapped function': () => trapped(fail),
  'a revoked proxy': revoked,
  'no prototype': () => Object.create(null),
  'its own cause': cyclic,
  'a thousand causes': () => nested(1_000),
  'endless causes': () => {
    const make = (): object => withGetters({ cause: make });
    return make();
  },
  'a trapped cause': () => new Error('Fine.', { cause: trapped() }),
  'getters that throw': () =>
    withGetters({ name: fail, message: fail, code: fail, stack: fail, cause: fail, status: fail }),
  'getters that change their minds': () => {
    let calls = 0;
    const get = () => (calls++ % 2 === 0 ? 'NETWORK' : trapped());
    return withGetters({ name: get, message: get, code: get, stack: get, cause: get, status: get, retryAfterMs: get });
  },
  'fields of other types': () =>
    Object.assign(new Error('Odd.'), {
      name: 7,
      message: () => 1,
      code: Symbol('code'),
      stack: {},
      status: '500',
      retryAfterMs: '5',
    }),
  'huge fields': () => {
    const error = Object.assign(new Error(HUGE, { cause: new Error(HUGE) }), { code: HUGE, retryAfterMs: 1e308 });
    error.name = HUGE;
    error.stack = HUGE;
    return error;
  },
  'numbers that JSON does not know': () =>
    Object.assign(new Error('Odd.'), { status: Number.NaN, retryAfterMs: Number.POSITIVE_INFINITY }),
  'a negative nothing': () => Object.assign(new Error('Odd.'), { status: -0, retryAfterMs: -0 }),
  'a String object': () => Object.assign(new Error('Odd.'), { message: new String('boxed') }),
  'a DOMException': () => new DOMException('Gone.', 'AbortError'),
  'an AggregateError without a message': () =>
    Object.assign(new AggregateError([new Error('::1'), new Error('127.0.0.1')], 'To be removed.'), {
      message: '',
      code: 'ECONNREFUSED',
    }),
};

/** Makes anything at all, and errors with anything in their fields. */
export const anything: fc.Arbitrary<() => unknown> = fc.oneof(
  fc
    .anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withTypedArray: true,
    })
    .map((value) => () => value),
  fc
    .record(
      {
        name: fc.anything(),
        message: fc.oneof(fc.anything(), fc.string({ unit: 'binary', maxLength: 3_000 })),
        code: fc.oneof(fc.anything(), fc.constantFrom('TIMEOUT', 'RATE_LIMITED', 'ECONNRESET')),
        status: fc.oneof(fc.anything(), fc.double()),
        retryAfterMs: fc.oneof(fc.anything(), fc.double()),
        cause: fc.anything(),
        stack: fc.anything(),
      },
      { requiredKeys: [] },
    )
    .map((fields) => () => Object.assign(new Error('Replaced.'), { message: '', ...fields })),
  fc.constantFrom(...Object.values(hostile)),
);
