import type { DetailedVerdict, HttpItem, HttpValue, Settled, Verdict } from '../lib/types.ts';
import { retryAfterOf } from './http-retry-after.ts';

export { default, setup } from './http.ts';

/** "Transactions per second", and the limit of the ledger behind. They come with any HTTP status, 200 too. */
const RATE_LIMIT_CODES = new Set<unknown>(['EGW00201', 'EGW00215']);
/** "Number of transactions per second", from "the number of transactions per second was exceeded". */
const RATE_LIMIT_TEXT = '초당 거래건수';

/** Passing trouble of the gateway: routing, server error, time out. */
const PASSING_CODES = new Set<unknown>([
  'EGW00001',
  'EGW00002',
  'EGW00202',
  'EGW00203',
  'EGW00300',
  'EGW00301',
  'EGW00302',
  'EGW00316',
]);

interface KisBody {
  readonly rt_cd?: unknown;
  readonly msg_cd?: unknown;
  readonly msg1?: unknown;
  readonly message?: unknown;
}

/**
 * The verdict on an answer of the KIS Open API, by its body: the HTTP status alone takes a refusal for a success.
 *
 * - `rate-limit`: EGW00201 and EGW00215 in all their variants
 * - `retry`: the codes of passing trouble (the engine repeats only what is safe to repeat)
 * - `fatal`: any other `rt_cd` than "0"
 * - `undefined`, for the rules of HTTP: everything else
 */
export function classify(settled: Settled<HttpValue, HttpItem>): Verdict | DetailedVerdict | undefined {
  if (!settled.ok) return undefined;
  const body = asKisBody(settled.value.body);
  if (body === undefined) return undefined;
  const { rt_cd: result, msg_cd: code, msg1: text, message } = body;
  if (
    RATE_LIMIT_CODES.has(code) ||
    RATE_LIMIT_CODES.has(message) ||
    (typeof text === 'string' && text.includes(RATE_LIMIT_TEXT))
  ) {
    return { verdict: 'rate-limit', retryAfterMs: retryAfterOf(settled.value) };
  }
  if (result === undefined || String(result) === '0') return undefined;
  return {
    verdict: PASSING_CODES.has(code) ? 'retry' : 'fatal',
    // `msg1` is left out: it is the upstream's free text.
    message: `KIS answered with rt_cd ${describeCode(result)}, msg_cd ${describeCode(code)}.`,
  };
}

function describeCode(code: unknown): string {
  return typeof code === 'string' && /^\w{1,16}$/.test(code) ? code : 'unknown';
}

/** JSON under a wrong content type arrives as text. */
function asKisBody(body: unknown): KisBody | undefined {
  if (typeof body === 'string' && body.startsWith('{')) {
    try {
      return JSON.parse(body) as KisBody;
    } catch {
      return undefined;
    }
  }
  return typeof body === 'object' && body !== null ? body : undefined;
}
