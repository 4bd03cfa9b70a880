import type { ErrorCode } from '../errors.ts';
import type { Verdict } from '../types.ts';
import type { UncheckedBody } from './body.ts';

/** What a code of the gateway means to an engine. */
interface KisCode {
  readonly verdict: Exclude<Verdict, 'ok'>;
  readonly meaning: string;
  /** The stable code, where it is not that of the HTTP status. */
  readonly code?: ErrorCode;
  /** `false`: the gateway turned the request away before anybody executed it. */
  readonly possiblyExecuted?: false;
}

const refused = (meaning: string): KisCode => ({ verdict: 'fatal', possiblyExecuted: false, meaning });
const passing = (meaning: string): KisCode => ({ verdict: 'retry', meaning });
/** The gateway has lost sight of the request: whether it was executed, only the customer can find out. */
const timeout = (meaning: string): KisCode => ({ verdict: 'retry', code: 'TIMEOUT', meaning });

/** "Number of transactions per second", from "the number of transactions per second was exceeded". */
const RATE_LIMIT_TEXT = '초당 거래건수';
/** Where a code may stand. `error_code` is what the token endpoints use. */
const CODE_FIELDS = ['msg_cd', 'error_code', 'message'] as const;
const CODE = /^[A-Z]{2,8}\d{2,8}$/;

/** The code of the rate limit, for the variant that only says it in words, too. */
export const RATE_LIMIT_CODE = 'EGW00201';
/** Not of KIS: `rt_cd` "7" under a code of which nothing is known. */
export const NO_DATA_CODE = 'NO_DATA';
/** Not of KIS: a quote without content. */
export const UNKNOWN_SYMBOL_CODE = 'UNKNOWN_SYMBOL';
/** Not of KIS: no request could be made of the item. */
export const INVALID_ITEM_CODE = 'INVALID_ITEM';
/** "There is no data", as quotes say it. */
export const NO_DATA_CODES: ReadonlySet<string> = new Set(['KIOK0560', NO_DATA_CODE]);
/** The endpoint does not exist here. */
export const NOT_OFFERED_CODES: ReadonlySet<string> = new Set(['EGW02006', 'OPSQ0002']);

/** The codes that KIS documents or that were seen. Any other is final, with an outcome that nobody knows. */
export const KIS_CODES: ReadonlyMap<string, KisCode> = new Map([
  [RATE_LIMIT_CODE, { verdict: 'rate-limit', meaning: 'more transactions per second than are allowed' }],
  ['EGW00215', { verdict: 'rate-limit', meaning: 'the limit of the ledger was exceeded' }],
  ['EGW00121', refused('the access token is not valid')],
  ['EGW00123', refused('the access token has expired')],
  ['EGW00101', refused('the request for a token is not valid')],
  ['EGW00102', refused('the app key is missing')],
  ['EGW00103', refused('the app key is not valid')],
  ['EGW00104', refused('the app secret is missing')],
  ['EGW00105', refused('the app secret is not valid')],
  ['EGW00116', refused('the grant type is not supported')],
  ['EGW00133', refused('an access token is issued once a minute')],
  ['EGW00304', refused('the customer key is not valid')],
  ['EGW00300', passing('the gateway could not route the request')],
  ['EGW00316', passing('the query failed while it was processed')],
  ['EGW00001', passing('passing trouble')],
  ['EGW00002', passing('the server has an error')],
  ['EGW00202', passing('the gateway could not route the request')],
  ['EGW00203', passing('the gateway could not route the request')],
  ['EGW00301', timeout('the gateway got no answer in time')],
  ['EGW00302', timeout('the gateway got no answer in time')],
  ['EGW02006', refused('paper trading does not offer this')],
  ['OPSQ0002', refused('there is no such service')],
  ['OPSQ2001', refused('a field of the request is missing')],
  ['KIOK0560', refused('there is no data')],
  [NO_DATA_CODE, refused('there is no data')],
]);

/** The code of an answer, wherever it stands; the one of the rate limit also if only the text tells. */
export function codeOfBody(body: UncheckedBody): string | undefined {
  const found = CODE_FIELDS.map((field) => body[field]).filter((code) => typeof code === 'string' && CODE.test(code));
  const codes = found as string[];
  // Of several, the one that is known: gateways put words of their own into `message`.
  const known = codes.find((code) => KIS_CODES.has(code));
  if (known !== undefined) return known;
  if (typeof body.msg1 === 'string' && body.msg1.includes(RATE_LIMIT_TEXT)) return RATE_LIMIT_CODE;
  return codes[0];
}
