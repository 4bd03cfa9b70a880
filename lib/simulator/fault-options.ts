import { InvalidOptionError } from '../errors.ts';
import { isNumberWithin, OptionReader } from './check.ts';
import { isLateError, KIS_ERROR_CODES, type KisErrorCode } from './kis/codes.ts';
import { FAULT_KINDS, type Fault, type FaultKind, REFUSALS, type Refusal } from './types.ts';

/** When a fault strikes, with every default filled in. */
export interface FaultConditions {
  readonly at: readonly number[] | undefined;
  readonly probability: number;
  readonly methods: readonly string[] | undefined;
  readonly path: string | undefined;
  readonly times: number;
  readonly after: 'arrival' | 'executed';
}

/** What a fault does to the answer. */
export type FaultEffect =
  | { readonly kind: 'refuse'; readonly variant: Refusal | undefined }
  | { readonly kind: '429' | '503'; readonly retryAfter: number | string | { readonly dateInMs: number } | undefined }
  | { readonly kind: 'status'; readonly status: number; readonly body: string | undefined }
  | { readonly kind: 'kis'; readonly code: KisErrorCode; readonly status: number | undefined }
  | { readonly kind: 'slow-body'; readonly durationMs: number }
  | { readonly kind: 'huge-body'; readonly bytes: number }
  | { readonly kind: Exclude<FaultKind, 'refuse' | '429' | '503' | 'status' | 'kis' | 'slow-body' | 'huge-body'> };

export interface ResolvedFault {
  readonly when: FaultConditions;
  readonly effect: FaultEffect;
}

const CONDITIONS = ['kind', 'at', 'probability', 'methods', 'path', 'times', 'after'];
const FURTHER: Readonly<Partial<Record<FaultKind, readonly string[]>>> = {
  refuse: ['variant'],
  '429': ['retryAfter'],
  '503': ['retryAfter'],
  status: ['status', 'body'],
  kis: ['code', 'status'],
  'slow-body': ['durationMs'],
  'huge-body': ['bytes'],
};
const AT_ARRIVAL: ReadonlySet<FaultKind> = new Set<FaultKind>(['refuse', '429', '503']);
const MAX_BODY_BYTES = 2 ** 40;
/** The longest delay that a timer keeps; beyond it, timers fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Check a list of faults and fill in the defaults.
 * @throws InvalidOptionError
 */
export function resolveFaults(faults: readonly Fault[] | undefined): ResolvedFault[] {
  const list: unknown = faults === undefined ? [] : faults;
  if (!Array.isArray(list)) throw new InvalidOptionError('faults', list, 'a list of faults');
  return list.map((fault: unknown, index) => resolveFault(fault, `faults[${index}]`));
}

function resolveFault(fault: unknown, path: string): ResolvedFault {
  const kind = new OptionReader(fault, path, [...CONDITIONS, ...Object.values(FURTHER).flat()]).oneOf(
    'kind',
    FAULT_KINDS,
  );
  const reader = new OptionReader(fault, path, [...CONDITIONS, ...(FURTHER[kind] ?? [])]);
  const effect = resolveEffect(reader, kind);
  const isAtArrival = effect.kind === 'kis' ? !isLateError(effect.code) : AT_ARRIVAL.has(kind);
  return {
    when: {
      at: resolveAt(reader),
      probability: reader.number('probability', 1, 0, 1),
      methods: reader.strings('methods')?.map((method) => method.toUpperCase()),
      path: resolvePath(reader),
      times: reader.has('times') ? reader.integer('times', 1, 1, Number.MAX_SAFE_INTEGER) : Number.POSITIVE_INFINITY,
      after: reader.oneOf('after', ['arrival', 'executed'] as const, isAtArrival ? 'arrival' : 'executed'),
    },
    effect,
  };
}

function resolveAt(reader: OptionReader): readonly number[] | undefined {
  const at = reader.get('at');
  if (at === undefined) return undefined;
  const numbers: unknown[] = Array.isArray(at) ? at : [at];
  return numbers.map((number) =>
    isNumberWithin(number, 1, Number.MAX_SAFE_INTEGER) && Number.isInteger(number)
      ? number
      : reader.fail('at', 'the number of a request, from 1 on, or a list of them'),
  );
}

function resolvePath(reader: OptionReader): string | undefined {
  const path = reader.get('path');
  if (path === undefined) return undefined;
  return typeof path === 'string' && path.startsWith('/') ? path : reader.fail('path', 'a path that begins with "/"');
}

function resolveEffect(reader: OptionReader, kind: FaultKind): FaultEffect {
  switch (kind) {
    case 'refuse':
      return { kind, variant: reader.has('variant') ? reader.oneOf('variant', REFUSALS) : undefined };
    case '429':
      return { kind, retryAfter: resolveRetryAfter(reader) };
    case '503':
      return { kind, retryAfter: resolveRetryAfter(reader) ?? 1 };
    case 'status':
      if (!reader.has('status')) reader.fail('status', 'a whole number from 200 to 599');
      return { kind, status: reader.integer('status', 500, 200, 599), body: resolveBody(reader) };
    case 'kis':
      return {
        kind,
        code: reader.oneOf('code', KIS_ERROR_CODES),
        status: reader.has('status') ? reader.integer('status', 500, 200, 599) : undefined,
      };
    case 'slow-body':
      return { kind, durationMs: reader.number('durationMs', 1000, 0, MAX_TIMER_MS) };
    case 'huge-body':
      return { kind, bytes: reader.integer('bytes', 64 * 2 ** 20, 2, MAX_BODY_BYTES) };
    default:
      return { kind };
  }
}

function resolveRetryAfter(reader: OptionReader): number | string | { readonly dateInMs: number } | undefined {
  const value = reader.get('retryAfter');
  if (value === undefined) return undefined;
  if (isNumberWithin(value, 0, Number.MAX_SAFE_INTEGER) && Number.isInteger(value)) return value;
  // What a header may hold: anything else would make the answer itself fail.
  if (typeof value === 'string' && /^[\t\x20-\x7e]*$/.test(value)) return value;
  if (typeof value === 'object' && value !== null && 'dateInMs' in value) {
    const date = new OptionReader(value, reader.path('retryAfter'), ['dateInMs']);
    return { dateInMs: date.number('dateInMs', 0, -1e12, 1e12) };
  }
  return reader.fail('retryAfter', 'whole seconds, { dateInMs } or the text of a header');
}

function resolveBody(reader: OptionReader): string | undefined {
  if (!reader.has('body')) return undefined;
  try {
    const body: string | undefined = JSON.stringify(reader.get('body'));
    if (body !== undefined) return body;
  } catch {
    // Cyclic, or holds a BigInt.
  }
  return reader.fail('body', 'a value that JSON can express');
}
