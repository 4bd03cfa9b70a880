/** Where the main thread tells its worker threads how fast this machine is. */
const SPINS_PER_US = 'SLUICEGATE_BENCH_SPINS_PER_US';
/** An item is its number, and above these bits the microseconds that it takes. */
const NUMBER_BITS = 20;
const CALIBRATION_US = 20_000;
/** Turns of the loop per microsecond, while nothing is measured. */
const FIRST_GUESS = 1000;

let sink = 0;
let spinsPerUs: number | undefined;

/**
 * Items that say how much work they are. Whole numbers, as cheap to send as anything can be.
 *
 * @param count at most about a million
 * @param us below 2048
 */
export function workItems(count: number, us: number): number[] {
  return Array.from({ length: count }, (_, index) => us * 2 ** NUMBER_BITS + index);
}

/**
 * Do the work of an item: a loop of a fixed length, not one that looks at the clock, so that a thread that has lost its
 * core has to catch up.
 */
export function work(item: number): number {
  spin(item >>> NUMBER_BITS);
  return item;
}

/** Measure this machine. Before the threads start: they inherit the figure. */
export function calibrateSpins(): void {
  process.env[SPINS_PER_US] = String(FIRST_GUESS);
  // The first turns are those of code that is not yet compiled.
  spin(CALIBRATION_US);
  const startedNs = process.hrtime.bigint();
  spin(CALIBRATION_US);
  spinsPerUs = undefined;
  const measuredUs = Number(process.hrtime.bigint() - startedNs) / 1e3;
  process.env[SPINS_PER_US] = String(Math.round((FIRST_GUESS * CALIBRATION_US) / measuredUs));
}

function spin(us: number): void {
  if (us === 0) return;
  spinsPerUs ??= Number(process.env[SPINS_PER_US]);
  for (let turn = 0; turn < us; turn++) spinOnce(spinsPerUs);
}

/** One microsecond. A function of its own: called often enough, it is compiled as a whole and not from within its loop. */
function spinOnce(count: number): void {
  // A whole number for certain, or the compiler may take the loop for one of floating point, several times as slow.
  let value = sink | 0;
  for (let turn = 0; turn < count; turn++) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
  sink = value;
}
