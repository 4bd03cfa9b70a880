import { constants } from 'node:os';

/**
 * npm passes on a signal that the terminal has already sent to the whole process group, so one Ctrl-C may come twice.
 * A second one after this time is meant.
 */
const ECHO_MS = 500;

/** The first Ctrl-C or request to end, as an AbortSignal. The next one ends the process at once. */
export class Interruption {
  readonly #controller = new AbortController();
  #exitCode: number | undefined;
  readonly #onSigint = () => this.#interrupt(constants.signals.SIGINT);
  readonly #onSigterm = () => this.#interrupt(constants.signals.SIGTERM);

  constructor() {
    process.on('SIGINT', this.#onSigint);
    process.on('SIGTERM', this.#onSigterm);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** By convention 128 and the number of the signal; `undefined` if there was none. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** Leave signals to Node again. */
  stop(): void {
    process.off('SIGINT', this.#onSigint);
    process.off('SIGTERM', this.#onSigterm);
  }

  #interrupt(signalNumber: number): void {
    if (this.#exitCode !== undefined) return;
    this.#exitCode = 128 + signalNumber;
    this.#controller.abort();
    setTimeout(() => this.stop(), ECHO_MS).unref();
  }
}
