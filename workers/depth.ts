/**
 * How deep a value may be nested. The main thread has a quarter of the stack of this one: from about 1500 objects in one
 * another on it cannot read what is written here without trouble, and a server needs only 3 kB of JSON to get there.
 */
export const MAX_DEPTH = 500;

/** What is left to look at, and what has been looked at. */
interface Walk {
  objects: number;
  readonly seen: Set<object> | undefined;
}

/** Is a value nested too deep to be sent to the main thread? */
export function isTooDeep(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  try {
    // So few objects cannot be nested too deep, and hardly any value has more.
    if (!mayReach(value, MAX_DEPTH, { objects: MAX_DEPTH, seen: undefined })) return false;
    // An object is cloned once, wherever else it stands: without the memory, some values would take for ever.
    return mayReach(value, MAX_DEPTH, { objects: Number.POSITIVE_INFINITY, seen: new Set() });
  } catch {
    // A getter or a proxy that throws. Cloning meets it, too, and tells what it was.
    return false;
  }
}

/** Is there something in this that is nested deeper? Also true if the objects of the walk do not suffice to tell. */
function mayReach(value: unknown, depth: number, walk: Walk): boolean {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  if (depth === 0 || walk.objects === 0) return true;
  if (walk.seen?.has(value)) return false;
  walk.objects--;
  walk.seen?.add(value);
  const below = depth - 1;
  if (Array.isArray(value)) return value.some((one) => mayReach(one, below, walk));
  if (value instanceof Map) {
    for (const [key, one] of value) if (mayReach(key, below, walk) || mayReach(one, below, walk)) return true;
  } else if (value instanceof Set) {
    for (const one of value) if (mayReach(one, below, walk)) return true;
  } else if (value instanceof Error && mayReach(value.cause, below, walk)) {
    return true;
  }
  for (const key in value) if (mayReach((value as Record<string, unknown>)[key], below, walk)) return true;
  return false;
}
