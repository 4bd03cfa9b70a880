import { frozenRules } from '../recover/default-rules.ts';
import type { ErrorMatch, RecoveryRule } from '../types.ts';
import { INVALID_ITEM_CODE, NO_DATA_CODES, NOT_OFFERED_CODES, UNKNOWN_SYMBOL_CODE } from './codes.ts';

const RATE_LIMIT: Omit<RecoveryRule, 'when'> = {
  type: 'RateLimitError',
  severity: 'medium',
  actions: ['wait', 'retry'],
  maxAttempts: 5,
  message: {
    en: 'The call limit of the API was exceeded. Please try again in a moment.',
    ko: 'API 호출 한도 초과. 잠시 후 다시 시도해주세요.',
  },
};

const TIMEOUT: Omit<RecoveryRule, 'when'> = {
  type: 'Timeout',
  severity: 'low',
  actions: ['wait', 'retry', 'trip-circuit'],
  maxAttempts: 3,
  message: {
    en: 'The request timed out. Trying again...',
    ko: '요청 시간 초과. 다시 시도 중...',
  },
};

const SERVER_ERROR: Omit<RecoveryRule, 'when'> = {
  type: 'ServerError',
  severity: 'medium',
  actions: ['wait', 'retry', 'trip-circuit'],
  maxAttempts: 4,
  message: {
    en: 'The KIS server has a problem. Please try again in a moment.',
    ko: '한국투자증권 서버에 오류가 발생했습니다. 잠시 후 다시 시도해주세요.',
  },
};

/** An error that the same request would get again. */
function finalError(
  type: string,
  severity: RecoveryRule['severity'],
  when: ErrorMatch,
  message: RecoveryRule['message'],
): RecoveryRule {
  return { type, when, severity, actions: ['notify', 'fail-fast'], message };
}

/**
 * The recovery table of the KIS Open API, for the engine's option `recovery`. Errors that KIS names by a code come
 * first, then its share of those that every upstream has. What is not here follows the engine's own table.
 *
 * A code that no row knows is final, as the classifier says; but with a 5xx it is a `ServerError` like any other.
 */
export const KIS_RULES: readonly RecoveryRule[] = frozenRules([
  // Before the codes: what KIS said of an order in doubt must not make it look like one that is tried again.
  finalError(
    'InDoubtError',
    'high',
    { code: 'IN_DOUBT' },
    {
      en: 'It is not known whether the request was carried out. Please make sure before you send it again.',
      ko: '요청이 처리되었는지 알 수 없습니다. 다시 요청하기 전에 처리 결과를 반드시 확인해주세요.',
    },
  ),
  { ...RATE_LIMIT, when: { upstreamCode: ['EGW00201', 'EGW00215'] } },
  {
    type: 'TokenExpiredError',
    when: { upstreamCode: ['EGW00123', 'EGW00121'] },
    severity: 'low',
    actions: ['refresh-credentials', 'retry'],
    maxAttempts: 2,
    message: {
      en: 'The access token has expired. Renewing it automatically...',
      ko: '인증 토큰이 만료되었습니다. 자동으로 갱신 중...',
    },
  },
  {
    type: 'TokenIssueLimitError',
    when: { upstreamCode: 'EGW00133' },
    severity: 'medium',
    actions: ['wait', 'retry'],
    maxAttempts: 2,
    message: {
      en: 'An access token is issued only once a minute. Please wait more than a minute.',
      ko: '접근토큰은 1분에 한 번만 발급됩니다. 1분 이상 기다려주세요.',
    },
  },
  finalError(
    'AuthenticationError',
    'high',
    { upstreamCode: ['EGW00102', 'EGW00103', 'EGW00104', 'EGW00105', 'EGW00304'] },
    { en: 'Authentication failed. Please check the API key.', ko: '인증 실패. API 키를 확인해주세요.' },
  ),
  {
    ...SERVER_ERROR,
    when: { upstreamCode: ['EGW00300', 'EGW00316', 'EGW00001', 'EGW00002', 'EGW00202', 'EGW00203'] },
  },
  { ...TIMEOUT, when: { upstreamCode: ['EGW00301', 'EGW00302'] } },
  finalError(
    'NoDataError',
    'low',
    { upstreamCode: [...NO_DATA_CODES] },
    { en: 'There is no data for this request.', ko: '조회할 데이터가 없습니다.' },
  ),
  finalError(
    'UnknownSymbolError',
    'low',
    { upstreamCode: UNKNOWN_SYMBOL_CODE },
    {
      en: 'There is no such symbol. Please check the symbol and its market.',
      ko: '존재하지 않는 종목입니다. 종목 코드와 시장을 확인해주세요.',
    },
  ),
  finalError(
    'NotOfferedError',
    'high',
    { upstreamCode: [...NOT_OFFERED_CODES] },
    {
      en: 'This service is not offered in this environment.',
      ko: '현재 투자 환경에서는 제공되지 않는 서비스입니다.',
    },
  ),
  finalError(
    'InvalidParameterError',
    'high',
    { upstreamCode: ['OPSQ2001', 'EGW00101', 'EGW00116', INVALID_ITEM_CODE] },
    {
      en: 'A field of the request is missing or not valid. Please check what was entered.',
      ko: '필수 입력값이 없거나 요청 내용이 올바르지 않습니다. 입력값을 확인해주세요.',
    },
  ),
  { ...RATE_LIMIT, when: { code: 'RATE_LIMITED' } },
  { ...TIMEOUT, when: { code: 'TIMEOUT' } },
  {
    type: 'ConnectionError',
    when: { code: 'NETWORK' },
    severity: 'low',
    actions: ['wait', 'retry', 'trip-circuit'],
    maxAttempts: 4,
    message: {
      en: 'Network connection error. Trying again...',
      ko: '네트워크 연결 오류. 재시도 중...',
    },
  },
  { ...SERVER_ERROR, when: { code: 'HTTP_STATUS', status: { from: 500, to: 599 } } },
]);
