import * as v from 'valibot';
import { ERROR_CODES } from '../errors.ts';
import { integer, isPlainObject, listOrOne, oneOf, options, text } from '../schema-parts.ts';
import type { RecoveryAction, RecoveryRule, Severity } from '../types.ts';
import { frozenRules } from './default-rules.ts';

const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const satisfies readonly Severity[];
const ACTIONS = [
  'wait',
  'retry',
  'refresh-credentials',
  'fail-fast',
  'notify',
  'trip-circuit',
] as const satisfies readonly RecoveryAction[];

/** No upstream code that reaches a rule is longer. */
const MAX_NAME_CHARS = 64;

const name = (what: string) => {
  const allowed = `${what} of 1 to ${MAX_NAME_CHARS} characters`;
  return v.pipe(
    v.string(allowed),
    v.check((input) => input.trim() !== '', allowed),
    v.maxLength(MAX_NAME_CHARS, allowed),
  );
};

/** Where an issue is, when only a whole object shows that there is one. */
function fieldOf(input: Record<string, unknown>, key: string): { input: unknown; path: [v.ObjectPathItem] } {
  return { input: input[key], path: [{ type: 'object', origin: 'value', input, key, value: input[key] }] };
}

const httpStatus = integer(100, 999, ' (an HTTP status)');

const statusRange = v.pipe(
  options({ from: httpStatus, to: httpStatus }, 'a status, a list of them, or a range { from, to }'),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed || dataset.value.from <= dataset.value.to) return;
    addIssue({ message: `a status not below "from", which is ${dataset.value.from}`, ...fieldOf(dataset.value, 'to') });
  }),
);

const errorMatch = options(
  {
    code: v.optional(listOrOne(oneOf(ERROR_CODES), 'a list of at least one code; leave "code" out for any')),
    status: v.optional(
      v.lazy((input) =>
        isPlainObject(input)
          ? statusRange
          : listOrOne(httpStatus, 'a list of at least one status; leave "status" out for any'),
      ),
    ),
    networkCode: v.optional(
      listOrOne(name('a code such as "ECONNREFUSED"'), 'a list of at least one code; leave "networkCode" out for any'),
    ),
    upstreamCode: v.optional(
      listOrOne(name('a code of the upstream'), 'a list of at least one code; leave "upstreamCode" out for any'),
    ),
  },
  'a plain object that says which errors the rule is for, {} for all',
);

/** The actions that cannot stand together are those of which one says "again" and the other "never again". */
const actions = v.pipe(
  v.array(oneOf(ACTIONS), 'a list of actions'),
  v.check(
    (list) => !(list.includes('retry') && list.includes('fail-fast')),
    'one of "retry" and "fail-fast", not both',
  ),
  v.check(
    (list) => !(list.includes('refresh-credentials') && list.includes('fail-fast')),
    'one of "refresh-credentials" and "fail-fast", not both: after a refresh the item is tried again',
  ),
  v.check(
    (list) => !list.includes('wait') || list.includes('retry'),
    '"wait" only together with "retry": it is the wait before the next attempt',
  ),
);

const message = options(
  { ko: text('a text in Korean for people'), en: text('a text in English for people') },
  'a text for people in both languages, { ko, en }',
);

const rule = v.pipe(
  options(
    {
      type: name('a name such as "ServerError",'),
      when: errorMatch,
      severity: oneOf(SEVERITIES),
      actions,
      maxAttempts: v.optional(integer(1, 1_000_000)),
      message,
    },
    'a recovery rule { type, when, severity, actions, message }',
  ),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed || (dataset.value.maxAttempts ?? 1) === 1 || !dataset.value.actions.includes('fail-fast'))
      return;
    addIssue({
      message: '1, or leave it out: the rule says "fail-fast", which is never again',
      ...fieldOf(dataset.value, 'maxAttempts'),
    });
  }),
);

/**
 * The shape of a list of `RecoveryRule`s, as a user gives them. Rules that contradict themselves are refused. What comes
 * out is a copy, frozen with all that is in it.
 */
export const recoveryRulesSchema = v.pipe(
  v.array(rule, 'a list of recovery rules'),
  v.transform((rules): readonly RecoveryRule[] => frozenRules(rules)),
);
