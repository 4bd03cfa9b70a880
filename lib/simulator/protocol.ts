import type { ResolvedFault } from './fault-options.ts';
import type { ArrivalColumns } from './journal.ts';
import type { Order, SimulatorStats } from './types.ts';

/** What the main thread may ask of the server's thread: arguments and result of each call. */
export interface Calls {
  stats: { argument: undefined; result: SimulatorStats };
  arrivals: { argument: undefined; result: ArrivalColumns };
  orders: { argument: undefined; result: readonly Order[] };
  reset: { argument: undefined; result: undefined };
  setFaults: { argument: readonly ResolvedFault[]; result: undefined };
  setLimit: { argument: number; result: undefined };
  expireTokens: { argument: undefined; result: undefined };
  close: { argument: undefined; result: undefined };
}

export type CallName = keyof Calls;

/** From the main thread. */
export type CallMessage = {
  [Name in CallName]: { readonly id: number; readonly name: Name; readonly argument: Calls[Name]['argument'] };
}[CallName];

/** To the main thread: first `listening` or `failed`, then one reply for each call. */
export type ServerMessage =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string | undefined }
  | { readonly kind: 'reply'; readonly id: number; readonly result: unknown };
