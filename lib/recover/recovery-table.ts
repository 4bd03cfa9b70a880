import type { ErrorMatch, ErrorRecord, LocalizedText, RecoveryRule } from '../types.ts';
import { DEFAULT_RULES, LAST_RULE } from './default-rules.ts';
import type { FailureRecord } from './error-record.ts';

/** What the recovery table adds to the record of a failure. */
export type FailureDescription = Pick<ErrorRecord, 'type' | 'severity' | 'actions' | 'userMessage'>;

/** A rule that was found. Only those of users overrule the classifier; ours say what it decides anyway. */
export interface FoundRule {
  readonly rule: RecoveryRule;
  readonly isUsers: boolean;
}

/**
 * What an error means and what is done about it. The first rule that matches wins: those of the user in their order,
 * then `DEFAULT_RULES`. Looking one up takes time in proportion to the rules; only failures do.
 */
export class RecoveryTable {
  readonly #userRules: readonly RecoveryRule[];

  /** @param userRules checked by `recoveryRulesSchema`, or a clone of such. Not copied. */
  constructor(userRules: readonly RecoveryRule[]) {
    this.#userRules = userRules;
  }

  /** The rule for a failure. There is always one: the last of `DEFAULT_RULES` is for every error. */
  find(record: FailureRecord): FoundRule {
    const isFor = (rule: RecoveryRule) => matches(rule.when, record);
    const usersRule = this.#userRules.find(isFor);
    if (usersRule !== undefined) return { rule: usersRule, isUsers: true };
    return { rule: DEFAULT_RULES.find(isFor) ?? LAST_RULE, isUsers: false };
  }

  /** What a record is told about the kind of its failure, with the message for people in this language. */
  describe(record: FailureRecord, locale: keyof LocalizedText): FailureDescription {
    const { type, severity, actions, message } = this.find(record).rule;
    return { type, severity, actions, userMessage: message[locale] };
  }

  /** Does this failure count for the circuit breaker? `countRefusals`: those by the rate limit do, whatever the rules say. */
  countsForCircuit(record: FailureRecord, countRefusals = false): boolean {
    if (countRefusals && record.code === 'RATE_LIMITED') return true;
    return this.find(record).rule.actions.includes('trip-circuit');
  }
}

/** All conditions that are given must hold. What the record says is compared and nothing else: anybody may have written it. */
function matches(when: ErrorMatch, record: FailureRecord): boolean {
  return (
    isOneOf(when.code, record.code) &&
    isStatus(when.status, record.status) &&
    isOneOf(when.networkCode, record.cause?.code) &&
    isOneOf(when.upstreamCode, record.upstreamCode)
  );
}

function isOneOf(wanted: string | readonly string[] | undefined, given: string | undefined): boolean {
  if (wanted === undefined) return true;
  if (given === undefined) return false;
  return typeof wanted === 'string' ? wanted === given : wanted.includes(given);
}

function isStatus(wanted: ErrorMatch['status'], given: number | undefined): boolean {
  if (wanted === undefined) return true;
  if (given === undefined) return false;
  if (typeof wanted === 'number') return wanted === given;
  return 'from' in wanted ? wanted.from <= given && given <= wanted.to : wanted.includes(given);
}
