import { createHash } from 'node:crypto';
import { type Answer, type ApiRequest, jsonAnswer } from '../answer.ts';
import type { ResolvedKis } from '../options.ts';
import type { Order } from '../types.ts';
import { gatewayError, missingField, noData } from './errors.ts';
import {
  domesticPrice,
  emptied,
  etfPrice,
  multiPriceRow,
  type Output,
  overseasDetail,
  overseasPrice,
  productInfo,
  stockInfo,
} from './quotes.ts';
import { TokenDesk } from './tokens.ts';

type Fields = ReadonlyMap<string, string>;

/** A quote: its transaction id and what it answers to a query that has the fields it needs. */
interface Quote {
  readonly trId: string;
  readonly needs: readonly string[];
  output(query: Fields): unknown;
}

const ORDER_PATH = '/uapi/domestic-stock/v1/trading/order-cash';
const ORDER_NEEDS = ['CANO', 'ACNT_PRDT_CD', 'PDNO', 'ORD_DVSN', 'ORD_QTY', 'ORD_UNPR'];
/** Real and paper trading, since 2025 and before. */
const BUY = /^[TV]TTC(0012|0802)U$/;
const SELL = /^[TV]TTC(0011|0801)U$/;
const OVERSEAS_EXCHANGES = /^(NAS|NYS|AMS|HKS|TSE|SHS|SZS|HSX|HNX)$/;
const DOMESTIC_SYMBOL = /^(Q\d{6}|\d[0-9A-Z]{5})$/;
const OVERSEAS_SYMBOL = /^[A-Z0-9][A-Z0-9./-]{0,15}$/;
const MULTI_PRICE_PATH = '/uapi/domestic-stock/v1/quotations/intstock-multprice';
const MAX_MULTI_PRICES = 30;

/** The endpoints of KIS: what they check, what they answer. */
export class KisService {
  readonly #options: ResolvedKis;
  readonly #desk: TokenDesk;
  readonly #quotes: ReadonlyMap<string, Quote>;

  constructor(options: ResolvedKis, seed: number) {
    this.#options = options;
    this.#desk = new TokenDesk(options, seed);
    this.#quotes = this.#quoteTable();
  }

  get tokensIssued(): number {
    return this.#desk.issued;
  }

  owns(pathname: string): boolean {
    return pathname.startsWith('/uapi/') || pathname.startsWith('/oauth2/');
  }

  /** Is a request for this path outside the rate limit? */
  isUncounted(pathname: string): boolean {
    return !this.#options.countTokenRequests && pathname.startsWith('/oauth2/');
  }

  expireTokens(): void {
    this.#desk.expireAll();
  }

  /** Executes the request. An order goes to the end of `orders`. */
  answer(request: ApiRequest, orders: Order[]): Answer {
    const { method, pathname } = request;
    if (method === 'POST') {
      if (pathname === '/oauth2/tokenP') return this.#desk.issue(request.body, request.atNs, Date.now());
      if (pathname === '/oauth2/revokeP') return this.#desk.revoke(request.body);
      if (pathname === '/uapi/hashkey') return this.#hashKey(request);
      if (pathname === ORDER_PATH) return this.#order(request, orders);
    }
    const quote = method === 'GET' ? this.#quotes.get(pathname) : undefined;
    return quote ? this.#quote(request, quote) : gatewayError('EGW00203', 404);
  }

  #quote(request: ApiRequest, quote: Quote): Answer {
    const problem = this.#checkHeaders(request, (trId) => trId === quote.trId);
    if (problem) return problem;
    if (request.pathname === MULTI_PRICE_PATH && !this.#options.multiPrice) return gatewayError('EGW02006');
    const query: Fields = new Map(new URLSearchParams(request.target.slice(request.pathname.length)));
    const missing = quote.needs.find((name) => !query.has(name));
    if (missing !== undefined) return missingField(missing);
    const output = quote.output(query);
    if (output === undefined) return noData();
    return jsonAnswer(
      200,
      { output, rt_cd: '0', msg_cd: 'MCA00000', msg1: '정상처리 되었습니다.' },
      { tr_id: quote.trId, tr_cont: '' },
    );
  }

  #order(request: ApiRequest, orders: Order[]): Answer {
    const problem = this.#checkHeaders(request, (trId) => BUY.test(trId) || SELL.test(trId));
    if (problem) return problem;
    const fields = jsonObject(request.body);
    const missing = ORDER_NEEDS.find((name) => typeof fields?.[name] !== 'string' || fields[name] === '');
    if (missing !== undefined || fields === undefined) return missingField(missing ?? 'CANO');
    const symbol = String(fields.PDNO);
    if (!this.#knowsDomestic(symbol)) return noData();
    const orderNumber = String(orders.length + 1).padStart(10, '0');
    orders.push({
      orderNumber,
      n: request.n,
      symbol,
      quantity: String(fields.ORD_QTY),
      side: SELL.test(single(request, 'tr_id')) ? 'sell' : 'buy',
      key: request.key,
    });
    const kstTime = new Date(Date.now() + 9 * 3_600_000).toISOString().slice(11, 19).replaceAll(':', '');
    return jsonAnswer(200, {
      rt_cd: '0',
      msg_cd: 'APBK0013',
      msg1: '주문 전송 완료 되었습니다.',
      output: { KRX_FWDG_ORD_ORGNO: '06010', ODNO: orderNumber, ORD_TMD: kstTime },
    });
  }

  #hashKey(request: ApiRequest): Answer {
    if (!this.#hasApp(request)) return gatewayError('EGW00304');
    const fields = jsonObject(request.body);
    if (fields === undefined) return missingField('BODY');
    const hash = createHash('sha256').update(JSON.stringify(fields)).digest('hex');
    return jsonAnswer(200, { BODY: fields, HASH: hash });
  }

  #checkHeaders(request: ApiRequest, isRightTrId: (trId: string) => boolean): Answer | undefined {
    if (!this.#options.checkHeaders) return undefined;
    if (!this.#hasApp(request)) return gatewayError('EGW00304');
    const code = this.#desk.check(request.headers.authorization, single(request, 'appkey'), request.atNs);
    if (code) return gatewayError(code);
    return isRightTrId(single(request, 'tr_id')) ? undefined : gatewayError('OPSQ0002');
  }

  #hasApp(request: ApiRequest): boolean {
    return (
      !this.#options.checkHeaders || this.#desk.isKnownApp(single(request, 'appkey'), single(request, 'appsecret'))
    );
  }

  #knowsDomestic(symbol: string): boolean {
    return DOMESTIC_SYMBOL.test(symbol) && !this.#options.unknownSymbols.includes(symbol);
  }

  #knowsOverseas(exchange: string, symbol: string): boolean {
    return (
      OVERSEAS_EXCHANGES.test(exchange) &&
      OVERSEAS_SYMBOL.test(symbol) &&
      !this.#options.unknownSymbols.includes(symbol)
    );
  }

  #quoteTable(): ReadonlyMap<string, Quote> {
    const priceNeeds = ['FID_COND_MRKT_DIV_CODE', 'FID_INPUT_ISCD'];
    const infoNeeds = ['PDNO', 'PRDT_TYPE_CD'];
    const overseasNeeds = ['AUTH', 'EXCD', 'SYMB'];

    const domestic = (make: (symbol: string) => unknown) => (query: Fields) => {
      const symbol = query.get('FID_INPUT_ISCD') ?? '';
      return this.#knowsDomestic(symbol) ? make(symbol) : undefined;
    };
    const overseas = (make: typeof overseasPrice) => (query: Fields) => {
      const exchange = query.get('EXCD') ?? '';
      const symbol = query.get('SYMB') ?? '';
      const output = make(exchange, symbol);
      return this.#knowsOverseas(exchange, symbol) ? output : emptied(output);
    };
    const info = (make: typeof stockInfo) => (query: Fields) => {
      const symbol = query.get('PDNO') ?? '';
      const type = query.get('PRDT_TYPE_CD') ?? '';
      const isKnown = type === '300' ? this.#knowsDomestic(symbol) : this.#knowsOverseas('NAS', symbol);
      return isKnown ? make(symbol, type) : undefined;
    };
    const quotes = '/uapi/domestic-stock/v1/quotations';
    return new Map<string, Quote>([
      [`${quotes}/inquire-price`, { trId: 'FHKST01010100', needs: priceNeeds, output: domestic(domesticPrice) }],
      [
        MULTI_PRICE_PATH,
        {
          trId: 'FHKST11300006',
          needs: ['FID_COND_MRKT_DIV_CODE_1', 'FID_INPUT_ISCD_1'],
          output: (query) => this.#multiPrices(query),
        },
      ],
      [
        '/uapi/etfetn/v1/quotations/inquire-price',
        { trId: 'FHPST02400000', needs: priceNeeds, output: domestic(etfPrice) },
      ],
      [`${quotes}/search-stock-info`, { trId: 'CTPF1002R', needs: infoNeeds, output: info(stockInfo) }],
      [`${quotes}/search-info`, { trId: 'CTPF1604R', needs: infoNeeds, output: info(productInfo) }],
      [
        '/uapi/overseas-price/v1/quotations/price',
        { trId: 'HHDFS00000300', needs: overseasNeeds, output: overseas(overseasPrice) },
      ],
      [
        '/uapi/overseas-price/v1/quotations/price-detail',
        { trId: 'HHDFS76200200', needs: overseasNeeds, output: overseas(overseasDetail) },
      ],
    ]);
  }

  /** One row for each symbol that is known: a client has to match rows by symbol, not by place. */
  #multiPrices(query: Fields): unknown {
    const rows: Output[] = [];
    for (let place = 1; place <= MAX_MULTI_PRICES; place++) {
      const symbol = query.get(`FID_INPUT_ISCD_${place}`);
      if (symbol !== undefined && this.#knowsDomestic(symbol)) rows.push(multiPriceRow(symbol));
    }
    return rows;
  }
}

function single(request: ApiRequest, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}

function jsonObject(body: Buffer | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body?.toString('utf8') ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
