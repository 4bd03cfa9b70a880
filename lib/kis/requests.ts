import { describeValue } from '../errors.ts';
import type { HttpItem } from '../types.ts';

/** Where a symbol is traded: all of Korea, the United States, or one exchange overseas. */
export const KIS_MARKETS = ['KR', 'KRX', 'US', 'NAS', 'NYS', 'AMS', 'HKS', 'TSE', 'SHS', 'SZS', 'HSX', 'HNX'] as const;

/**
 * - `KR`, `KRX`: Korea
 * - `US`: the exchanges of the United States, one after the other until the symbol is found: NAS, NYS, AMS
 * - `NAS` Nasdaq, `NYS` New York, `AMS` Amex, `HKS` Hong Kong, `TSE` Tokyo, `SHS` Shanghai, `SZS` Shenzhen,
 *   `HSX` Ho Chi Minh City, `HNX` Hanoi
 */
export type KisMarket = (typeof KIS_MARKETS)[number];

/** What the batch methods take: a symbol and its market. */
export type KisItem = readonly [symbol: string, market: KisMarket];

type Query = NonNullable<HttpItem['query']>;

/** What the client's handler module takes. */
export interface KisRequest extends HttpItem {
  /** Fields of `query` to try instead, in this order, as long as nobody knows the symbol. */
  readonly elsewhere?: readonly Query[];
  /** There is no request: the item fails with this message. */
  readonly problem?: string;
}

/** A kind of quote: makes the request for a symbol. */
export type KisQuote = (item: unknown) => KisRequest;

type Exchange = Exclude<KisMarket, 'KR' | 'KRX' | 'US'>;

const US_EXCHANGES = ['NAS', 'NYS', 'AMS'] as const satisfies readonly Exchange[];

/** KIS' types of products. Hong Kong has one for each currency. */
const PRODUCT_TYPES: Readonly<Record<Exchange, readonly string[]>> = {
  NAS: ['512'],
  NYS: ['513'],
  AMS: ['529'],
  HKS: ['501', '543', '558'],
  TSE: ['515'],
  SHS: ['551'],
  SZS: ['552'],
  HSX: ['508'],
  HNX: ['507'],
};
const DOMESTIC_STOCK = '300';

const SYMBOL = /^[\x21-\x7e]{1,32}$/;

/** A message for an item that no request can be made of. */
class Problem extends Error {}

/** The price now: `inquire-price` at home, `price` overseas. */
export const priceQuote: KisQuote = quote((symbol, market) =>
  isDomestic(market) ? domesticPrice(symbol) : overseas('price', 'HHDFS00000300', symbol, market),
);

/** The price overseas with its details. */
export const overseasDetailQuote: KisQuote = quote((symbol, market) => {
  if (isDomestic(market)) throw new Problem(`The market ${market} has no overseas price: use fetchPriceList.`);
  return overseas('price-detail', 'HHDFS76200200', symbol, market);
});

/** The product behind a symbol, at home or overseas. */
export const productQuote: KisQuote = quote((symbol, market) =>
  product('search-info', 'CTPF1604R', symbol, isDomestic(market) ? [DOMESTIC_STOCK] : productTypes(market)),
);

/** The basics of a domestic stock. */
export const stockQuote: KisQuote = quote((symbol, market) => {
  if (!isDomestic(market)) throw new Problem(`KIS has stock basics for KR and KRX only, not for ${market}.`);
  return product('search-stock-info', 'CTPF1002R', symbol, [DOMESTIC_STOCK]);
});

/** Up to 30 domestic prices at once. */
export function multiPriceRequest(symbols: readonly string[]): KisRequest {
  const fields = symbols.flatMap((symbol, at) => [
    [`FID_COND_MRKT_DIV_CODE_${at + 1}`, 'J'],
    [`FID_INPUT_ISCD_${at + 1}`, symbol],
  ]);
  return {
    url: 'uapi/domestic-stock/v1/quotations/intstock-multprice',
    headers: { tr_id: 'FHKST11300006' },
    query: Object.fromEntries(fields) as Query,
  };
}

/** What is wrong with a symbol, or `undefined`. */
export function symbolProblem(symbol: unknown): string | undefined {
  if (typeof symbol === 'string' && SYMBOL.test(symbol)) return undefined;
  return `A symbol is a string of 1 to 32 visible characters; got ${describeValue(symbol)}.`;
}

function quote(make: (symbol: string, market: KisMarket) => KisRequest): KisQuote {
  return (item) => {
    try {
      return make(...checkItem(item));
    } catch (error) {
      // What an item is comes from outside, its getters too. It fails alone.
      return { url: '', problem: error instanceof Problem ? error.message : 'An item that cannot be read.' };
    }
  };
}

function checkItem(item: unknown): KisItem {
  if (!Array.isArray(item) || item.length !== 2) {
    throw new Problem(`An item is a pair [symbol, market]; got ${describeValue(item)}.`);
  }
  const [symbol, market] = item as unknown[];
  const problem = symbolProblem(symbol);
  if (problem !== undefined) throw new Problem(problem);
  if (!(KIS_MARKETS as readonly unknown[]).includes(market)) {
    throw new Problem(`A market is one of ${KIS_MARKETS.join(', ')}; got ${describeValue(market)}.`);
  }
  return [symbol as string, market as KisMarket];
}

function isDomestic(market: KisMarket): market is 'KR' | 'KRX' {
  return market === 'KR' || market === 'KRX';
}

function domesticPrice(symbol: string): KisRequest {
  return {
    url: 'uapi/domestic-stock/v1/quotations/inquire-price',
    headers: { tr_id: 'FHKST01010100' },
    query: { FID_COND_MRKT_DIV_CODE: 'J', FID_INPUT_ISCD: symbol },
  };
}

function overseas(what: string, trId: string, symbol: string, market: Exchange | 'US'): KisRequest {
  const [first, ...others] = market === 'US' ? US_EXCHANGES : [market];
  return {
    url: `uapi/overseas-price/v1/quotations/${what}`,
    headers: { tr_id: trId },
    query: { AUTH: '', EXCD: first, SYMB: symbol },
    ...(others.length === 0 ? {} : { elsewhere: others.map((exchange) => ({ EXCD: exchange })) }),
  };
}

function product(what: string, trId: string, symbol: string, types: readonly string[]): KisRequest {
  const [first, ...others] = types;
  return {
    url: `uapi/domestic-stock/v1/quotations/${what}`,
    headers: { tr_id: trId },
    query: { PRDT_TYPE_CD: first, PDNO: symbol },
    ...(others.length === 0 ? {} : { elsewhere: others.map((type) => ({ PRDT_TYPE_CD: type })) }),
  };
}

function productTypes(market: Exchange | 'US'): readonly string[] {
  return market === 'US' ? US_EXCHANGES.flatMap((exchange) => PRODUCT_TYPES[exchange]) : PRODUCT_TYPES[market];
}
