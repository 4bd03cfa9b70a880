/** A row of an answer: every value is a string, figures too. */
export type KisRow = Readonly<Record<string, string>>;

/** The body of an answer of the KIS Open API. */
export interface KisBody<Output = KisRow> {
  /** `"0"` of every success. */
  readonly rt_cd: string;
  readonly msg_cd: string;
  /** KIS' own words, in Korean. */
  readonly msg1: string;
  readonly output: Output;
}

/** What a body may be before anybody has looked at it. */
export type UncheckedBody = Readonly<Record<string, unknown>>;

const BLANK_VALUE = /^[\s0.+-]*$/;

/** The body as an object, if it is one. JSON under a wrong content type arrives as text. */
export function readBody(body: unknown): UncheckedBody | undefined {
  if (typeof body === 'string') {
    const text = body.trim();
    if (!text.startsWith('{')) return undefined;
    try {
      return JSON.parse(text) as UncheckedBody;
    } catch {
      return undefined;
    }
  }
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body) && !ArrayBuffer.isView(body);
  return isObject ? (body as UncheckedBody) : undefined;
}

/** Does KIS call this a success? Some endpoints send a number. */
export function saysSuccess(body: UncheckedBody): boolean {
  return body.rt_cd === '0' || body.rt_cd === 0;
}

/**
 * Is this the answer to a symbol that nobody knows? KIS calls it a success, with an empty `rsym` overseas and otherwise a
 * row in which everything is empty or zero.
 */
export function isBlankQuote({ output }: UncheckedBody): boolean {
  if (typeof output !== 'object' || output === null || Array.isArray(output)) return false;
  const row = output as UncheckedBody;
  return row.rsym === '' || Object.values(row).every((value) => typeof value === 'string' && BLANK_VALUE.test(value));
}
