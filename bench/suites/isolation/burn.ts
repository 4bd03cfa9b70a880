/** CPU work on an answer, such as parsing a large document. */
export const BURN_MS = 5;

export function burn(): void {
  const untilNs = process.hrtime.bigint() + BigInt(BURN_MS) * 1_000_000n;
  while (process.hrtime.bigint() < untilNs);
}
