/** How KIS words an error, and how it comes. */
export interface KisError {
  readonly status: number;
  readonly text: string;
  /** `rt_cd` where it is not "1". */
  readonly result?: string;
  /** True if it may come after the request was executed. Default: the gateway turns the request away. */
  readonly isLate?: true;
}

const gateway = (text: string): KisError => ({ status: 500, text });
const late = (text: string): KisError => ({ status: 500, text, isLate: true });
const token = (text: string): KisError => ({ status: 403, text });

/** Every error that the simulator knows, by its code. */
export const KIS_ERRORS = {
  EGW00001: late('일시적 오류가 발생했습니다.'),
  EGW00002: late('서버 에러가 발생했습니다.'),
  EGW00101: token('유효하지 않은 요청입니다.'),
  EGW00102: token('AppKey는 필수입니다.'),
  EGW00103: token('유효하지 않은 AppKey입니다.'),
  EGW00104: token('AppSecret은 필수입니다.'),
  EGW00105: token('유효하지 않은 AppSecret입니다.'),
  EGW00116: token('지원하지 않는 권한부여 타입(grant_type)입니다.'),
  EGW00121: gateway('유효하지 않은 token 입니다.'),
  EGW00123: gateway('기간이 만료된 token 입니다.'),
  EGW00133: token('접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)'),
  EGW00201: gateway('초당 거래건수를 초과하였습니다.'),
  EGW00202: late('GW라우팅 중 오류가 발생했습니다.'),
  EGW00203: late('OPS라우팅 중 오류가 발생했습니다.'),
  EGW00215: gateway('원장 유량제한을 초과하였습니다.'),
  EGW00300: late('Gateway 라우팅 오류가 발생했습니다.'),
  EGW00301: late('연결시간이 초과하였습니다. 직전 거래를 반드시 확인하세요.'),
  EGW00302: late('거래시간이 초과하였습니다. 직전 거래를 반드시 확인하세요.'),
  EGW00304: gateway('고객식별키가 유효하지 않습니다.'),
  EGW00316: late('조회 처리 중 오류가 발생했습니다.'),
  EGW02006: gateway('모의투자 TR 이 아닙니다.'),
  KIOK0560: { status: 200, text: '조회할 자료가 없습니다.', result: '7', isLate: true },
  OPSQ0002: gateway('없는 서비스 코드 입니다.'),
} as const satisfies Record<string, KisError>;

/** A code of an error that the simulator knows. */
export type KisErrorCode = keyof typeof KIS_ERRORS;

export const KIS_ERROR_CODES = Object.keys(KIS_ERRORS) as readonly KisErrorCode[];

/** May this error come after the request was executed? */
export function isLateError(code: KisErrorCode): boolean {
  return 'isLate' in KIS_ERRORS[code];
}
