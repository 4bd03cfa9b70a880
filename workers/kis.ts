import { ItemError } from '../lib/errors.ts';
import { isBlankQuote, readBody, saysSuccess, type UncheckedBody } from '../lib/kis/body.ts';
import {
  codeOfBody,
  INVALID_ITEM_CODE,
  KIS_CODES,
  NO_DATA_CODE,
  NO_DATA_CODES,
  UNKNOWN_SYMBOL_CODE,
} from '../lib/kis/codes.ts';
import type { KisRequest } from '../lib/kis/requests.ts';
import type { DetailedVerdict, HandlerContext, HttpValue, Permit, Settled, Verdict } from '../lib/types.ts';
import http from './http.ts';
import { hintsOf } from './http-hints.ts';
import { traitsOf, withTraits } from './traits.ts';

export { setup } from './http.ts';

/** Paths whose answers always have an `rt_cd`; the hash key and the tokens have none. */
const API_PATH = /(?:^|\/)uapi\/[^?#]*\/v\d+\//;
const QUOTE_PATH = /\/quotations\//;

/**
 * The handler of the KIS client: the built-in HTTP handler, for one request or, where the symbol may be at one of several
 * exchanges, for one request after the other until it is found. Each has a token of its own.
 *
 * @throws ItemError `HANDLER`, with the item's `problem`, and all that the HTTP handler throws
 */
async function kis(item: KisRequest, context: HandlerContext): Promise<HttpValue> {
  const { problem, elsewhere = [] } = item ?? {};
  if (problem !== undefined) throw new ItemError('HANDLER', problem, { notSent: true });
  let value = await http(item, context);
  for (const query of elsewhere) {
    if (!isElsewhere(value)) break;
    const permit = await context.acquire();
    value = await http({ ...item, query: { ...item.query, ...query } }, furtherContext(context, permit));
  }
  return value;
}

/** The same attempt, for a request that has a token of its own. */
function furtherContext(context: HandlerContext, permit: Permit): HandlerContext {
  const { index, attempt, threadId, state, credentials } = context;
  return {
    index,
    attempt,
    threadId,
    state,
    credentials,
    get signal() {
      return context.signal;
    },
    sent: () => permit.sent(),
    answered: () => permit.answered(),
    acquire: () => context.acquire(),
    throwIfStopped: () => context.throwIfStopped(),
  };
}

/** This exchange does not know the symbol; another one may. */
function isElsewhere(value: HttpValue): boolean {
  const body = readBody(value.body);
  if (body === undefined) return false;
  return saysSuccess(body) ? isBlankQuote(body) : NO_DATA_CODES.has(errorCodeOf(body) ?? '');
}

/**
 * The verdict on an answer of the KIS Open API, by its body: the HTTP status alone takes a refusal for a success.
 *
 * - `rate-limit`: EGW00201 and EGW00215 in all their variants
 * - `retry`: the codes of passing trouble, and what should be an answer of the API but is none (the engine repeats only
 *   what is safe to repeat)
 * - `fatal`: any other `rt_cd` than "0", and a quote of a symbol that nobody knows
 * - `undefined`, for the rules of HTTP: everything else
 *
 * `upstreamCode` has the code, for the recovery table: an expired token is fatal here, but not with `KIS_RULES`.
 */
export function classify(settled: Settled<HttpValue, KisRequest>): Verdict | DetailedVerdict | undefined {
  if (!settled.ok) {
    const isInvalid = settled.item?.problem !== undefined;
    return isInvalid ? { verdict: 'fatal', upstreamCode: INVALID_ITEM_CODE, possiblyExecuted: false } : undefined;
  }
  const { value } = settled;
  const { url } = settled.item;
  const body = readBody(value.body);
  if (body !== undefined) {
    const code = errorCodeOf(body);
    if (code !== undefined) return verdictOn(code, body, value);
    if (isFailure(body)) return { verdict: 'fatal', message: unknownError(body) };
    if (QUOTE_PATH.test(url) && isBlankQuote(body)) {
      return {
        verdict: 'fatal',
        code: 'INVALID_RESPONSE',
        upstreamCode: UNKNOWN_SYMBOL_CODE,
        possiblyExecuted: false,
        message: 'KIS knows no such symbol in this market: the quote came back empty.',
      };
    }
  }
  if (value.status >= 400 || !API_PATH.test(url) || (body !== undefined && saysSuccess(body))) return undefined;
  return {
    verdict: value.status < 300 ? 'retry' : 'fatal',
    code: 'INVALID_RESPONSE',
    message: 'What came back is no answer of the KIS Open API.',
  };
}

function verdictOn(upstreamCode: string, body: UncheckedBody, value: HttpValue): DetailedVerdict {
  const known = KIS_CODES.get(upstreamCode);
  if (known === undefined) return { verdict: 'fatal', upstreamCode, message: unknownError(body) };
  const { verdict, code, possiblyExecuted, meaning } = known;
  return {
    verdict,
    upstreamCode,
    message: `KIS answered ${upstreamCode}: ${meaning}.`,
    ...(code === undefined ? {} : { code }),
    ...(possiblyExecuted === undefined ? {} : { possiblyExecuted }),
    ...(verdict === 'rate-limit' ? hintsOf(value, true) : {}),
  };
}

/** The code of an answer that is an error, if it has one. A known code is an error whatever else the body says. */
function errorCodeOf(body: UncheckedBody): string | undefined {
  const code = codeOfBody(body);
  if (code !== undefined && KIS_CODES.has(code)) return code;
  if (!isFailure(body)) return undefined;
  return String(body.rt_cd) === '7' ? NO_DATA_CODE : code;
}

function isFailure(body: UncheckedBody): boolean {
  return body.rt_cd === undefined ? typeof body.error_code === 'string' : !saysSuccess(body);
}

/** `msg1` is left out: it is the upstream's free text. */
function unknownError({ rt_cd, msg_cd, error_code }: UncheckedBody): string {
  return `KIS answered with rt_cd ${describeCode(rt_cd)}, msg_cd ${describeCode(msg_cd ?? error_code)}.`;
}

function describeCode(code: unknown): string {
  return typeof code === 'number' || (typeof code === 'string' && /^\w{1,16}$/.test(code)) ? String(code) : 'unknown';
}

export default withTraits(kis, traitsOf(http));
