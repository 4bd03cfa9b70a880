import { createLimiter } from '../../../lib/simulator/limiters.ts';
import type { Random } from '../../../lib/simulator/random.ts';
import type { VirtualTime } from '../virtual-time.ts';
import type { LoopScenario } from './scenario.ts';

/** What the client hears of a request: `reset` that its connection was lost. */
export type Verdict = 'ok' | 'refused' | 'failed' | 'reset';

/** The network, and the server behind it. */
export class Upstream {
  /** When the server counted each request, in nanoseconds since the start. */
  readonly countedNs: number[] = [];
  refusedByLimit = 0;
  readonly #scenario: LoopScenario;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #startNs: number;
  readonly #limiter;

  constructor(scenario: LoopScenario, time: VirtualTime, random: Random) {
    this.#scenario = scenario;
    this.#time = time;
    this.#random = random;
    this.#startNs = time.now;
    this.#limiter = createLimiter(scenario.server);
  }

  /** A request leaves. `onAnswer` is called when something of it is heard, which may be never. */
  send(onAnswer: (verdict: Verdict) => void): void {
    const { travelMs, answerMs, vanished, unanswered, reset, tooLate, timeoutMs } = this.#scenario;
    if (this.#random() < vanished) return;
    const isUnanswered = this.#random() < unanswered;
    const isReset = this.#random() < reset;
    const lateNs = this.#random() < tooLate ? timeoutMs * 1e6 : 0;
    this.#time.after(this.#upToNs(travelMs), () => {
      const verdict = this.#arrive();
      if (isUnanswered) return;
      this.#time.after(this.#upToNs(answerMs) + lateNs, () => onAnswer(isReset ? 'reset' : verdict));
    });
  }

  #upToNs(ms: number): number {
    return Math.floor(this.#random() * ms * 1e6);
  }

  /** What the server says to a request that arrives now. */
  #arrive(): Verdict {
    const nowNs = this.#time.now - this.#startNs;
    this.countedNs.push(nowNs);
    if (!this.#limiter.admit(nowNs)) {
      this.refusedByLimit++;
      return 'refused';
    }
    if (this.#random() < this.#scenario.spurious) return 'refused';
    const isOut = this.#scenario.outages.some(
      ({ fromMs, forMs }) => nowNs >= fromMs * 1e6 && nowNs < (fromMs + forMs) * 1e6,
    );
    return isOut ? 'failed' : 'ok';
  }
}
