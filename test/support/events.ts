import type { EngineEvents } from '../../lib/events.ts';

/** All events of an engine. */
export const EVENTS = [
  'progress',
  'rateLimited',
  'paused',
  'resumed',
  'circuit',
  'credentials',
  'notify',
  'group',
  'retry',
  'workerExit',
] as const satisfies readonly (keyof EngineEvents)[];
