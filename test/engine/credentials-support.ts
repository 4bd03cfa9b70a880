import type { TestContext } from 'node:test';
import type { EngineEvents, EngineOptions, RecoveryRule, RefreshRequest } from '../../lib/index.ts';
import { makeEngine } from '../support/engine-bench.ts';
import type { HeldServer } from '../support/held-server.ts';

/** What the users of most of these tests say of an answer 401. */
export const EXPIRED = {
  type: 'ExpiredTokenError',
  when: { status: 401 },
  severity: 'medium',
  actions: ['refresh-credentials', 'retry'],
  message: { en: 'The token has expired.', ko: '토큰이 만료되었습니다.' },
} as const satisfies RecoveryRule;

/** Credentials for the built-in HTTP handler. */
export function bearer(token: string) {
  return { headers: { authorization: `Bearer ${token}` } };
}

/** Answer all that comes in from now on: with 200 if it has this token, else with 401. */
export function admitOnly(server: HeldServer, token: string): void {
  server.onRequest = (request) => request.answer(request.headers.authorization === `Bearer ${token}` ? 200 : 401);
}

/** One call of a hook that waits for the test. */
export interface HeldCall extends RefreshRequest {
  resolve(credentials: unknown): void;
  reject(error: unknown): void;
}

/** A hook that says nothing by itself: a test decides what comes of every call. */
export class HeldHook {
  readonly calls: HeldCall[] = [];
  #wake: (() => void)[] = [];

  /** The hook itself. */
  readonly ask = (request: RefreshRequest): Promise<unknown> =>
    new Promise((resolve, reject) => {
      this.calls.push({ ...request, resolve, reject });
      for (const wake of this.#wake.splice(0)) wake();
    });

  /** Resolves as soon as there has been this call, the first being number 1. */
  async call(number: number): Promise<HeldCall> {
    for (;;) {
      const call = this.calls[number - 1];
      if (call !== undefined) return call;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
}

/** An engine over HTTP with the rule above, and all that it says of its credentials and pauses. */
export function openRefreshing(t: TestContext, options: EngineOptions = {}) {
  const engine = makeEngine(t, { recovery: [EXPIRED], ...options });
  const refreshes: EngineEvents['credentials'][] = [];
  const pauses: EngineEvents['paused'][] = [];
  engine.on('credentials', (event) => refreshes.push(event));
  engine.on('paused', (event) => pauses.push(event));
  return { engine, refreshes, pauses };
}
