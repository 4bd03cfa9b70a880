import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';

/** Colors by what they mean. Without color each gives the text as it is. */
export interface Paint {
  readonly strong: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly good: (text: string) => string;
  readonly waiting: (text: string) => string;
  readonly bad: (text: string) => string;
}

/** Is this a terminal whose cursor can be moved? */
export function isInteractive(stream: Partial<WriteStream>): boolean {
  return stream.isTTY === true && process.env.TERM !== 'dumb';
}

/** Colors on a terminal, unless `NO_COLOR` or the like says otherwise; elsewhere none. */
export function paintFor(stream: Partial<WriteStream>): Paint {
  const hasColors = isInteractive(stream) && stream.hasColors?.() === true;
  const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    hasColors ? styleText(format, text) : text;
  return {
    strong: paint('bold'),
    faint: paint('dim'),
    good: paint('green'),
    waiting: paint('yellow'),
    bad: paint('red'),
  };
}
