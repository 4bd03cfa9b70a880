/** Large companies of the Korean stock market, by the six digits that KIS knows them by. */
const WELL_KNOWN =
  '005930 000660 373220 207940 005380 000270 068270 005490 035420 051910 006400 035720 028260 105560 012330 055550 ' +
  '066570 003670 096770 032830 003550 033780 015760 086790 034730 009150 017670 018260 011200 010130 030200 316140 ' +
  '010950 024110 051900 090430 036570 251270 259960 352820';

/** Common stock ends in 0, which leaves five digits. */
const CODES = 100_000;
/** Has no divisor in common with `CODES`, so its multiples meet every code once before the first comes again. */
const STRIDE = 7919;

/** So many different symbols, always the same ones: known companies first, then codes that only look like some. */
export function symbols(count: number): string[] {
  const known = WELL_KNOWN.split(' ');
  const taken = new Set(known);
  const list = known.slice(0, count);
  for (let n = 1; list.length < count; n++) {
    const code = `${String((n * STRIDE) % CODES).padStart(5, '0')}0`;
    if (!taken.has(code)) list.push(code);
  }
  return list;
}
