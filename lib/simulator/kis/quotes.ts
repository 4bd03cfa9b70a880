import { hashText } from '../random.ts';

/** Every output value of KIS is a string. */
export type Output = Record<string, string>;

/** Made-up figures of a stock: always the same for a symbol, and consistent with each other. */
interface Figures {
  readonly price: number;
  readonly previousClose: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly volume: number;
  /** KIS' sign of a change: 2 up, 3 unchanged, 5 down. */
  readonly sign: '2' | '3' | '5';
}

const NAMES = [
  '한빛전자',
  '대한화학',
  '서울전기',
  '미래바이오',
  '동해조선',
  '백두건설',
  '한강식품',
  '남산통신',
] as const;
const SECTORS = ['전기.전자', '화학', '의약품', '운수장비', '건설업', '음식료품', '통신업', '금융업'] as const;

export function domesticPrice(symbol: string): Output {
  const figures = domesticFigures(symbol);
  const { price, previousClose } = figures;
  const eps = between(symbol, 'eps', 100, 20_000);
  return {
    iscd_stat_cls_code: '55',
    marg_rate: '20.00',
    rprs_mrkt_kor_name: hashText(symbol) % 3 === 0 ? 'KOSDAQ' : 'KOSPI200',
    bstp_kor_isnm: oneOf(SECTORS, symbol),
    temp_stop_yn: 'N',
    stck_prpr: String(price),
    ...domesticChange(figures),
    acml_tr_pbmn: String(price * figures.volume),
    acml_vol: String(figures.volume),
    stck_oprc: String(figures.open),
    stck_hgpr: String(figures.high),
    stck_lwpr: String(figures.low),
    stck_mxpr: String(onTick(previousClose * 1.3)),
    stck_llam: String(onTick(previousClose * 0.7)),
    stck_sdpr: String(previousClose),
    hts_avls: String(between(symbol, 'cap', 500, 4_000_000)),
    per: (price / eps).toFixed(2),
    pbr: (between(symbol, 'pbr', 30, 500) / 100).toFixed(2),
    eps: eps.toFixed(2),
    bps: between(symbol, 'bps', 1000, 200_000).toFixed(2),
    lstn_stcn: String(between(symbol, 'shares', 1_000_000, 900_000_000)),
    stck_shrn_iscd: symbol,
  };
}

export function multiPriceRow(symbol: string): Output {
  const figures = domesticFigures(symbol);
  const { price, previousClose } = figures;
  const change = domesticChange(figures);
  return {
    kospi_kosdaq_cls_name: '',
    mrkt_trtm_cls_name: '',
    hour_cls_code: '0',
    inter_shrn_iscd: symbol,
    inter_kor_isnm: oneOf(NAMES, symbol),
    inter2_prpr: String(price),
    inter2_prdy_vrss: change.prdy_vrss,
    prdy_vrss_sign: figures.sign,
    prdy_ctrt: change.prdy_ctrt,
    acml_vol: String(figures.volume),
    inter2_oprc: String(figures.open),
    inter2_hgpr: String(figures.high),
    inter2_lwpr: String(figures.low),
    inter2_llam: String(onTick(previousClose * 0.7)),
    inter2_mxpr: String(onTick(previousClose * 1.3)),
    inter2_prdy_clpr: String(previousClose),
    acml_tr_pbmn: String(price * figures.volume),
  };
}

export function etfPrice(symbol: string): Output {
  const figures = domesticFigures(symbol);
  const nav = figures.price + between(symbol, 'nav', -50, 50) / 100;
  return {
    stck_prpr: String(figures.price),
    ...domesticChange(figures),
    acml_vol: String(figures.volume),
    prdy_vol: String(between(symbol, 'prdy_vol', 10_000, 9_000_000)),
    stck_mxpr: String(onTick(figures.previousClose * 1.3)),
    stck_llam: String(onTick(figures.previousClose * 0.7)),
    stck_prdy_clpr: String(figures.previousClose),
    stck_oprc: String(figures.open),
    stck_hgpr: String(figures.high),
    stck_lwpr: String(figures.low),
    nav: nav.toFixed(2),
    nav_prdy_vrss: (nav - figures.previousClose).toFixed(2),
    trc_errt: (between(symbol, 'trc', 0, 200) / 100).toFixed(2),
    etf_cnfg_issu_cnt: String(between(symbol, 'issues', 10, 300)),
    etf_rprs_bstp_kor_isnm: 'KOSPI200',
  };
}

export function stockInfo(symbol: string, productType: string): Output {
  const name = oneOf(NAMES, symbol);
  return {
    pdno: `00000A${symbol}`,
    prdt_type_cd: productType,
    mket_id_cd: hashText(symbol) % 3 === 0 ? 'KSQ' : 'STK',
    scty_grp_id_cd: 'ST',
    excg_dvsn_cd: '02',
    setl_mmdd: '12',
    lstg_stqt: String(between(symbol, 'shares', 1_000_000, 900_000_000)),
    papr: '100',
    prdt_name: `${name}보통주`,
    prdt_name120: `${name}보통주`,
    prdt_abrv_name: name,
    std_pdno: `KR7${symbol}003`,
    prdt_eng_name: `COMPANY ${symbol}`,
    tr_stop_yn: 'N',
    admn_item_yn: 'N',
    lstg_abol_dt: '',
    std_idst_clsf_cd_name: oneOf(SECTORS, symbol),
  };
}

export function productInfo(symbol: string, productType: string): Output {
  const isDomestic = productType === '300';
  const name = isDomestic ? oneOf(NAMES, symbol) : `COMPANY ${symbol}`;
  return {
    pdno: isDomestic ? `00000A${symbol}` : symbol,
    prdt_type_cd: productType,
    prdt_name: name,
    prdt_name120: name,
    prdt_abrv_name: name,
    prdt_eng_name: `COMPANY ${symbol}`,
    std_pdno: isDomestic ? `KR7${symbol}003` : `US${symbol}`,
    shtn_pdno: symbol,
    prdt_sale_stat_cd: '',
    prdt_risk_grad_cd: '02',
    prdt_clsf_cd: '101210',
    prdt_clsf_name: isDomestic ? '상장주식' : '해외주식',
    ivst_prdt_type_cd: isDomestic ? '1012' : '1013',
  };
}

export function overseasPrice(exchange: string, symbol: string): Output {
  const figures = overseasFigures(symbol);
  const change = figures.price - figures.previousClose;
  const rate = (change / figures.previousClose) * 100;
  return {
    rsym: `D${exchange}${symbol}`,
    zdiv: '4',
    base: figures.previousClose.toFixed(4),
    pvol: String(between(symbol, 'pvol', 10_000, 90_000_000)),
    last: figures.price.toFixed(4),
    sign: figures.sign,
    diff: Math.abs(change).toFixed(4),
    rate: `${rate > 0 ? '+' : ''}${rate.toFixed(2)}`,
    tvol: String(figures.volume),
    tamt: String(Math.round(figures.volume * figures.price)),
    ordy: '매도불가',
  };
}

export function overseasDetail(exchange: string, symbol: string): Output {
  const figures = overseasFigures(symbol);
  return {
    rsym: `D${exchange}${symbol}`,
    zdiv: '4',
    curr: 'USD',
    vnit: '1',
    open: figures.open.toFixed(4),
    high: figures.high.toFixed(4),
    low: figures.low.toFixed(4),
    last: figures.price.toFixed(4),
    base: figures.previousClose.toFixed(4),
    pvol: String(between(symbol, 'pvol', 10_000, 90_000_000)),
    tvol: String(figures.volume),
    tamt: String(Math.round(figures.volume * figures.price)),
    h52p: (figures.high * 1.4).toFixed(4),
    l52p: (figures.low * 0.6).toFixed(4),
    perx: (between(symbol, 'per', 500, 9000) / 100).toFixed(2),
    pbrx: (between(symbol, 'pbr', 50, 3000) / 100).toFixed(2),
    epsx: (between(symbol, 'eps', 10, 3000) / 100).toFixed(2),
    bpsx: (between(symbol, 'bps', 100, 9000) / 100).toFixed(2),
    shar: String(between(symbol, 'shares', 1_000_000, 2_000_000_000)),
    e_ordyn: '매매 가능',
    e_hogau: '0.0100',
    e_icod: '기술',
  };
}

/** The same fields, all empty: what KIS answers for a symbol that it does not know. */
export function emptied(output: Output): Output {
  return Object.fromEntries(Object.keys(output).map((name) => [name, '']));
}

function domesticChange({ price, previousClose, sign }: Figures) {
  const change = price - previousClose;
  return {
    prdy_vrss: String(change),
    prdy_vrss_sign: sign,
    prdy_ctrt: ((change / previousClose) * 100).toFixed(2),
  };
}

function domesticFigures(symbol: string): Figures {
  const previousClose = onTick(between(symbol, 'close', 1000, 300_000));
  return figuresFrom(symbol, previousClose, onTick);
}

function overseasFigures(symbol: string): Figures {
  const previousClose = between(symbol, 'close', 500, 60_000) / 100;
  return figuresFrom(symbol, previousClose, (price) => Math.round(price * 100) / 100);
}

function figuresFrom(symbol: string, previousClose: number, rounded: (price: number) => number): Figures {
  const price = rounded(previousClose * (1 + between(symbol, 'change', -500, 500) / 10_000));
  const open = rounded(previousClose * (1 + between(symbol, 'open', -200, 200) / 10_000));
  return {
    price,
    previousClose,
    open,
    high: rounded(Math.max(price, open) * 1.01),
    low: rounded(Math.min(price, open) * 0.99),
    volume: between(symbol, 'volume', 10_000, 90_000_000),
    sign: price > previousClose ? '2' : price < previousClose ? '5' : '3',
  };
}

function onTick(price: number): number {
  return Math.max(100, Math.round(price / 100) * 100);
}

/** A whole number between the two, always the same for this symbol and purpose. */
function between(symbol: string, purpose: string, min: number, max: number): number {
  return min + (hashText(`${purpose}:${symbol}`) % (max - min + 1));
}

function oneOf(choices: readonly string[], symbol: string): string {
  return choices[hashText(symbol) % choices.length] ?? '';
}
