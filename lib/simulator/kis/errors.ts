import { type Answer, jsonAnswer } from '../answer.ts';
import { KIS_ERRORS, type KisError, type KisErrorCode } from './codes.ts';

/** An error as the API answers it, `rt_cd: "1"`, with its own HTTP status unless told otherwise. */
export function gatewayError(code: KisErrorCode, status: number = KIS_ERRORS[code].status): Answer {
  const { text, result = '1' }: KisError = KIS_ERRORS[code];
  return jsonAnswer(status, { rt_cd: result, msg_cd: code, msg1: text });
}

/** An error as the token endpoints answer it, with `error_code`. */
export function tokenError(code: KisErrorCode, status: number = KIS_ERRORS[code].status): Answer {
  return jsonAnswer(status, { error_description: KIS_ERRORS[code].text, error_code: code });
}

/** A field of the query or body is missing. */
export function missingField(name: string): Answer {
  return jsonAnswer(200, { rt_cd: '2', msg_cd: 'OPSQ2001', msg1: `ERROR : INPUT FIELD NOT FOUND [${name}]` });
}

/** The request is right, but nobody knows the symbol. */
export function noData(): Answer {
  return gatewayError('KIOK0560');
}
