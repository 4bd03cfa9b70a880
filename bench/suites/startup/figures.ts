/** What a process that starts and ends says of itself. */
export interface StartupFigures {
  readonly importMs: number;
  readonly firstAnswerMs: number;
  readonly closeMs: number;
}

/**
 * Between the first answer and the end: the second thread has started, too. Node.js 20 may abort if it has to end one
 * in the middle of that.
 */
export const SETTLE_MS = 100;
