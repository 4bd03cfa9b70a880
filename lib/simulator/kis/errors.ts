import { type Answer, jsonAnswer } from '../answer.ts';

/** Errors of the KIS gateway: message by code, as KIS lists them. */
const GATEWAY_ERRORS = {
  EGW00121: '유효하지 않은 token 입니다.',
  EGW00123: '기간이 만료된 token 입니다.',
  EGW00304: '고객식별키가 유효하지 않습니다.',
  EGW02006: '모의투자 TR 이 아닙니다.',
  OPSQ0002: '없는 서비스 코드 입니다.',
} as const;

/** Errors of the token endpoints. */
const TOKEN_ERRORS = {
  EGW00101: '유효하지 않은 요청입니다.',
  EGW00102: 'AppKey는 필수입니다.',
  EGW00103: '유효하지 않은 AppKey입니다.',
  EGW00104: 'AppSecret은 필수입니다.',
  EGW00105: '유효하지 않은 AppSecret입니다.',
  EGW00116: '지원하지 않는 권한부여 타입(grant_type)입니다.',
  EGW00121: '유효하지 않은 token 입니다.',
  EGW00133: '접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)',
} as const;

export type GatewayErrorCode = keyof typeof GATEWAY_ERRORS;
export type TokenErrorCode = keyof typeof TOKEN_ERRORS;

/** HTTP 500 with `rt_cd: "1"`. */
export function gatewayError(code: GatewayErrorCode): Answer {
  return jsonAnswer(500, { rt_cd: '1', msg_cd: code, msg1: GATEWAY_ERRORS[code] });
}

/** HTTP 403 with `error_code`. */
export function tokenError(code: TokenErrorCode): Answer {
  return jsonAnswer(403, { error_description: TOKEN_ERRORS[code], error_code: code });
}

/** A field of the query or body is missing. */
export function missingField(name: string): Answer {
  return jsonAnswer(200, { rt_cd: '2', msg_cd: 'OPSQ2001', msg1: `ERROR : INPUT FIELD NOT FOUND [${name}]` });
}

/** The request is right, but nobody knows the symbol. */
export function noData(): Answer {
  return jsonAnswer(200, { rt_cd: '7', msg_cd: 'KIOK0560', msg1: '조회할 자료가 없습니다.' });
}
