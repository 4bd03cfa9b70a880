import type { RecoveryRule } from '../types.ts';

/** Freeze rules and all that is in them: records of failures share their lists of actions. Returns the same rules. */
export function frozenRules<T extends readonly RecoveryRule[]>(rules: T): T {
  freezeDeeply(rules);
  return rules;
}

function freezeDeeply(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const part of Object.values(value)) freezeDeeply(part);
  Object.freeze(value);
}

/** For what no other rule is for. */
export const LAST_RULE: RecoveryRule = {
  type: 'UnknownError',
  when: {},
  severity: 'high',
  actions: ['notify', 'fail-fast'],
  message: {
    en: 'An unknown error occurred.',
    ko: '알 수 없는 오류가 발생했습니다.',
  },
};

/**
 * The built-in recovery table, in the order in which its rows are tried. It decides nothing: each row says of an error
 * what the classifiers decide about it, how bad that is, whether it counts for the circuit breaker, and what people are
 * told. How many attempts there are is left to the engine's `retry`.
 */
export const DEFAULT_RULES: readonly RecoveryRule[] = frozenRules([
  {
    type: 'RateLimitError',
    when: { code: 'RATE_LIMITED' },
    severity: 'medium',
    actions: ['wait', 'retry'],
    message: {
      en: 'The rate limit of the API was exceeded. Please try again in a moment.',
      ko: 'API 호출 한도 초과. 잠시 후 다시 시도해주세요.',
    },
  },
  {
    type: 'Timeout',
    when: { code: 'TIMEOUT' },
    severity: 'low',
    actions: ['wait', 'retry', 'trip-circuit'],
    message: {
      en: 'The server did not answer in time. Please try again in a moment.',
      ko: '요청 시간이 초과되었습니다. 잠시 후 다시 시도해주세요.',
    },
  },
  {
    type: 'NameResolutionError',
    when: { code: 'NETWORK', networkCode: ['ENOTFOUND', 'EAI_AGAIN'] },
    severity: 'medium',
    actions: ['wait', 'retry', 'trip-circuit'],
    message: {
      en: 'The address of the server was not found. Please check the address and the network.',
      ko: '서버 주소를 찾을 수 없습니다. 주소와 네트워크 연결을 확인해주세요.',
    },
  },
  {
    type: 'UnreachableError',
    when: {
      code: 'NETWORK',
      networkCode: [
        'ECONNREFUSED',
        'EHOSTUNREACH',
        'EHOSTDOWN',
        'ENETUNREACH',
        'ENETDOWN',
        'ETIMEDOUT',
        'UND_ERR_CONNECT_TIMEOUT',
      ],
    },
    severity: 'medium',
    actions: ['wait', 'retry', 'trip-circuit'],
    message: {
      en: 'The server cannot be reached. Please check that it is running, and the network.',
      ko: '서버에 연결할 수 없습니다. 서버 상태와 네트워크 연결을 확인해주세요.',
    },
  },
  {
    type: 'ConnectionError',
    when: { code: 'NETWORK' },
    severity: 'low',
    actions: ['wait', 'retry', 'trip-circuit'],
    message: {
      en: 'The connection to the server failed. Please try again in a moment.',
      ko: '네트워크 연결 오류가 발생했습니다. 잠시 후 다시 시도해주세요.',
    },
  },
  {
    type: 'ServerError',
    // To the end of what HTTP can say: what is no success and no word about the request is treated like a 5xx.
    when: { code: 'HTTP_STATUS', status: { from: 500, to: 999 } },
    severity: 'medium',
    actions: ['wait', 'retry', 'trip-circuit'],
    message: {
      en: 'The server has a problem. Please try again in a moment.',
      ko: '서버에 오류가 발생했습니다. 잠시 후 다시 시도해주세요.',
    },
  },
  {
    type: 'AuthenticationError',
    when: { code: 'HTTP_STATUS', status: [401, 407] },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'Authentication failed. Please check the API key.',
      ko: '인증 실패. API 키를 확인해주세요.',
    },
  },
  {
    type: 'PermissionDeniedError',
    when: { code: 'HTTP_STATUS', status: [403, 451] },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'Access was denied. Please check what you are permitted to do.',
      ko: '접근 권한이 없습니다. 이용 권한을 확인해주세요.',
    },
  },
  {
    type: 'NoDataError',
    when: { code: 'HTTP_STATUS', status: [404, 410] },
    severity: 'low',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'There is no such data.',
      ko: '요청한 데이터를 찾을 수 없습니다.',
    },
  },
  {
    type: 'InvalidParameterError',
    when: { code: 'HTTP_STATUS', status: [400, 413, 414, 415, 422] },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The request is not valid. Please check what was entered.',
      ko: '요청 내용이 올바르지 않습니다. 입력값을 확인해주세요.',
    },
  },
  {
    type: 'HttpStatusError',
    when: { code: 'HTTP_STATUS' },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The server refused the request.',
      ko: '서버가 요청을 거부했습니다.',
    },
  },
  {
    type: 'InvalidResponseError',
    when: { code: 'INVALID_RESPONSE' },
    severity: 'medium',
    actions: ['wait', 'retry'],
    message: {
      en: 'The answer of the server cannot be used.',
      ko: '서버의 응답을 처리할 수 없습니다.',
    },
  },
  {
    type: 'HandlerError',
    when: { code: 'HANDLER' },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The program that handles the request has failed.',
      ko: '요청을 처리하는 프로그램에서 오류가 발생했습니다.',
    },
  },
  {
    type: 'WorkerLostError',
    when: { code: 'WORKER_LOST' },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The program that handles the request ended unexpectedly.',
      ko: '요청을 처리하던 프로그램이 예기치 않게 종료되었습니다.',
    },
  },
  {
    type: 'CircuitOpenError',
    when: { code: 'CIRCUIT_OPEN' },
    severity: 'high',
    actions: ['fail-fast'],
    message: {
      en: 'Too many requests have failed, so no more are sent for a while. Please try again later.',
      ko: '오류가 많아 요청을 일시적으로 중단했습니다. 나중에 다시 시도해주세요.',
    },
  },
  {
    type: 'CredentialsError',
    when: { code: 'CREDENTIALS' },
    severity: 'critical',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The credentials could not be obtained or renewed. Please check them.',
      ko: '인증 정보를 발급받거나 갱신하지 못했습니다. 인증 정보를 확인해주세요.',
    },
  },
  {
    type: 'InDoubtError',
    when: { code: 'IN_DOUBT' },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'It is not known whether the request was carried out. Please make sure before you send it again.',
      ko: '요청이 처리되었는지 알 수 없습니다. 다시 요청하기 전에 처리 결과를 반드시 확인해주세요.',
    },
  },
  {
    type: 'AbortError',
    when: { code: 'ABORTED' },
    severity: 'low',
    actions: ['fail-fast'],
    message: {
      en: 'The request was cancelled.',
      ko: '요청이 취소되었습니다.',
    },
  },
  {
    type: 'NotCloneableError',
    when: { code: 'NOT_CLONEABLE' },
    severity: 'high',
    actions: ['notify', 'fail-fast'],
    message: {
      en: 'The data cannot be passed between threads. Please use plain data.',
      ko: '스레드 사이에 전달할 수 없는 데이터입니다. 데이터 형식을 확인해주세요.',
    },
  },
  LAST_RULE,
]);
