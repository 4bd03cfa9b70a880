/**
 * The most of these times that lie within one window, wherever it begins. The window holds its first moment and not its
 * last one.
 *
 * @param times in ascending order, in the unit of the window
 */
export function mostInWindow(times: ArrayLike<number>, window: number): number {
  let most = 0;
  for (let last = 0, first = 0; last < times.length; last++) {
    while ((times[last] ?? 0) - (times[first] ?? 0) >= window) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}
