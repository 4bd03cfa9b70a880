import type { Dispatcher } from 'undici';

import { ItemError } from '../lib/errors.ts';
import type { Classify, DetailedVerdict, HandlerContext, HttpItem, HttpValue, Settled, Verdict } from '../lib/types.ts';
import { decodeContent, firstHeader, parseBody } from './http-body.ts';
import { type HttpClient, loadClient, readyClient } from './http-client.ts';
import { FinalResponseError } from './http-errors.ts';
import { type Answer, exchange } from './http-exchange.ts';
import { hintsOf } from './http-hints.ts';
import {
  buildRequest,
  describeTarget,
  isIdempotentItem,
  isRedirect,
  redirectRequest,
  type WireRequest,
  withCredentials,
} from './http-request.ts';
import { withTraits } from './traits.ts';

export type {
  DetailedVerdict,
  HandlerContext,
  HttpItem,
  HttpOptions,
  HttpValue,
  Settled,
  Verdict,
} from '../lib/types.ts';

/**
 * The built-in HTTP handler: one request per item, over one undici Agent per thread.
 *
 * It returns the answer whatever its status, so that a `classify` beside it can look at the body:
 * - `headers` have lower-case names; a field that came several times is an array.
 * - `body` is parsed if the content type is JSON (`null` if empty), otherwise text; see `http.responseType`. With a
 *   status of 400 or more a body never hides the status: broken JSON is returned as text, and a body that cannot be
 *   read (too large, cut short, badly compressed) as `null`.
 * - A redirect is followed up to `http.maxRedirects` times (default 0), each hop for a token of its own. One that is not
 *   followed is an answer like any other, with its `location`. To another origin go only `accept`, `accept-language`,
 *   `user-agent` and `content-type`.
 *
 * Headers come from the item, then from the `headers` of `context.credentials`, then from `http.headers`. With
 * `http.baseUrl` the latter two, but for the four above, and the client certificate go to its origin only.
 *
 * Every request says that it accepts anything, and `user-agent: sluicegate`, unless `http.headers` or the item say
 * otherwise. Compression is not asked for, but undone if it comes (gzip, deflate, br).
 *
 * @throws ItemError `HANDLER` (the item is not a valid request), `NETWORK` (no or half an answer) or `INVALID_RESPONSE`
 * (broken JSON, larger than `http.maxBodyBytes`, too many redirects)
 * @throws HandlerLoadError if the module of `http.dispatcher` does not work
 * @throws StopError if the item is told to stop
 */
async function http(item: HttpItem, context: HandlerContext): Promise<HttpValue> {
  const client = readyClient() ?? (await loadClient());
  let request = buildRequest(item, withCredentials(client, context.credentials));
  let answer = await exchange(dispatcherFor(request, client), request, context, context, client.maxBodyBytes);
  for (let hop = 0; client.maxRedirects > 0; hop++) {
    const location = locationOf(answer);
    if (location === undefined) break;
    if (hop === client.maxRedirects) {
      throw new FinalResponseError(`${describeTarget(request)}: more than ${hop} redirects.`, answer.status);
    }
    request = redirectRequest(request, answer.status, location);
    answer = await followOn(dispatcherFor(request, client), request, context, client.maxBodyBytes);
  }
  const { status, headers } = answer;
  let { bytes } = answer;
  if (bytes !== null && bytes.length > 0 && Object.hasOwn(headers, 'content-encoding')) {
    const encoding = String(headers['content-encoding']);
    bytes = await decodeContent(bytes, encoding, status, client.maxBodyBytes, request);
  }
  return {
    status,
    headers,
    body: bytes === null ? null : parseBody(bytes, headers, status, client.responseType, request),
  };
}

function dispatcherFor(request: WireRequest, client: HttpClient): Dispatcher {
  return request.isElsewhere ? client.dispatcherElsewhere : client.dispatcher;
}

function locationOf(answer: Answer): string | undefined {
  return isRedirect(answer.status) ? firstHeader(answer.headers, 'location') : undefined;
}

/** A further request for the same item: it needs its own token, and from now on something has been sent. */
async function followOn(
  dispatcher: Dispatcher,
  request: WireRequest,
  context: HandlerContext,
  maxBodyBytes: number,
): Promise<Answer> {
  const permit = await context.acquire();
  try {
    return await exchange(dispatcher, request, context, permit, maxBodyBytes);
  } catch (error) {
    if (!(error instanceof ItemError) || !error.notSent) throw error;
    throw new ItemError(error.code, error.message, { cause: error.cause });
  }
}

/**
 * The verdict on what the HTTP handler returned or threw; the engine's rules for it, too.
 *
 * - `rate-limit`: 429, and 503 with a `Retry-After` that says when
 * - `retry`: other 5xx, network errors, answers that arrived damaged
 * - `fatal`: 4xx, answers that break a limit (`maxBodyBytes`, `maxRedirects`)
 * - `ok`: everything else, also a redirect that was not followed
 * - `undefined`, for the engine to decide: other errors
 *
 * `retryAfterMs` comes with the first two, if the answer says when. `quotaResetMs` (the answer says that a quota is used
 * up) and `ignoredHints` come with any verdict; an answer without hints gets the bare verdict, or one without them.
 */
export function classify(settled: Settled<HttpValue, HttpItem>): Verdict | DetailedVerdict | undefined {
  if (settled.ok) return classifyAnswer(settled.value);
  const { error } = settled;
  if (!(error instanceof ItemError)) return undefined;
  if (error.code === 'NETWORK') return 'retry';
  if (error.code === 'INVALID_RESPONSE') return error instanceof FinalResponseError ? 'fatal' : 'retry';
  return undefined;
}

function classifyAnswer(value: HttpValue): Verdict | DetailedVerdict {
  const { status } = value;
  const hints = hintsOf(value, status === 429);
  if (status < 500 && status !== 429) {
    const verdict = status < 400 ? 'ok' : 'fatal';
    // What a Retry-After says beside these is not about the rate limit.
    return hints === undefined ? verdict : { ...hints, verdict, retryAfterMs: undefined };
  }
  const isRefusal = status === 429 || (status === 503 && hints?.retryAfterMs !== undefined);
  return { ...hints, verdict: isRefusal ? 'rate-limit' : 'retry' };
}

/** Once per thread, before the first item: loads the client, so that an option that does not work is found out at once. */
export async function setup(): Promise<void> {
  await loadClient();
}

export default withTraits(http, {
  reportsSent: true,
  isIdempotent: isIdempotentItem,
  // It judges nothing but what this handler returned or threw.
  classify: classify as Classify,
});
