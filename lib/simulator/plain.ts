import { type Answer, type ApiRequest, jsonAnswer } from './answer.ts';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAX_BYTES = 16 * 2 ** 20;

/**
 * The endpoints that every other path has, for any method:
 * - `/redirect?to=URL&status=302` answers a redirect (301, 302, 303, 307 or 308)
 * - `?bytes=N` on any path answers N bytes of text (at most 16 MiB)
 * - otherwise `{ path, method, n }`, and for a request with a body also `bodyBytes` and `echo`: parsed, if it is JSON
 */
export function plainAnswer(request: ApiRequest): Answer {
  const { n, method, target, pathname } = request;
  if (pathname === '/redirect') return redirectAnswer(queryOf(request));
  const bytes = pathname.length < target.length ? queryOf(request).get('bytes') : null;
  if (bytes !== null) return fillerAnswer(Number(bytes));
  if (request.body === undefined) return jsonAnswer(200, { path: target, method, n });
  return jsonAnswer(200, { path: target, method, n, bodyBytes: request.bodyBytes, echo: parseOrText(request.body) });
}

function queryOf({ target, pathname }: ApiRequest): URLSearchParams {
  return new URLSearchParams(target.slice(pathname.length));
}

function redirectAnswer(query: URLSearchParams): Answer {
  const status = Number(query.get('status') ?? 302);
  const to = query.get('to');
  if (to === null || !REDIRECTS.has(status)) return jsonAnswer(400, { error: 'needs "to" and a status of a redirect' });
  try {
    // Through URL, so that the header can only hold what a header may hold.
    const location = /^[a-z]+:/i.test(to) ? new URL(to).href : encodeURI(decodeURI(to));
    return jsonAnswer(status, { to: location }, { location });
  } catch {
    return jsonAnswer(400, { error: '"to" is no URL' });
  }
}

function fillerAnswer(bytes: number): Answer {
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > MAX_BYTES) {
    return jsonAnswer(400, { error: `"bytes" must be a whole number up to ${MAX_BYTES}` });
  }
  return { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: 'x'.repeat(bytes) };
}

function parseOrText(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
