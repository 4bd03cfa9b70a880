/** One member of a structured field: an item of a list, or a key of a dictionary with its value. */
export interface Member {
  /** As it was sent, quotes and all: `"default"`, `100`, or the key of a dictionary. */
  readonly name: string;
  /** The value of a dictionary's key, as it was sent. */
  readonly value: string | undefined;
  /** The parameters behind it, as they were sent; `?1` for one without a value. */
  readonly params: ReadonlyMap<string, string>;
}

/** A field that is longer is taken for malformed, so that what a server sends cannot keep a thread busy. */
const MAX_CHARS = 8_192;

// Sticky, and none of them can match the same text in two ways: reading takes linear time.
const BARE_ITEM =
  /"(?:[ !#-[\]-~]|\\["\\])*"|:[A-Za-z0-9+/=]*:|\?[01]|@-?\d{1,15}|%"[ !#-~]*"|-?(?:\d{1,12}\.\d{1,3}|\d{1,15})|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*/y;
const KEY = /[a-z*][a-z0-9_.*-]*/y;
const EQUALS = /=/y;
const PARAMETER = /; */y;
const COMMA = /[ \t]*,[ \t]*/y;

/**
 * The members of a List or a Dictionary of RFC 9651, whichever it is, with every value left as the text that it is.
 * Inner lists are not read: no field here has them.
 *
 * @param text the field; one that was sent several times is to be joined by commas
 * @returns `undefined` if any part is malformed: then all of the field is to be ignored (RFC 9651, 4.2)
 */
export function parseMembers(text: string): Member[] | undefined {
  if (text.length > MAX_CHARS) return undefined;
  const cursor = new Cursor(text.trim());
  const members: Member[] = [];
  do {
    const name = cursor.take(BARE_ITEM);
    if (name === undefined) return undefined;
    let value: string | undefined;
    if (cursor.take(EQUALS) !== undefined) {
      value = cursor.take(BARE_ITEM);
      if (value === undefined) return undefined;
    }
    const params = new Map<string, string>();
    while (cursor.take(PARAMETER) !== undefined) {
      const key = cursor.take(KEY);
      const setting = cursor.take(EQUALS) === undefined ? '?1' : cursor.take(BARE_ITEM);
      if (key === undefined || setting === undefined) return undefined;
      params.set(key, setting);
    }
    members.push({ name, value, params });
  } while (cursor.take(COMMA) !== undefined);
  return cursor.isAtEnd ? members : undefined;
}

class Cursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  /** What the sticky pattern matches here, and go past it. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at = pattern.lastIndex;
    return found;
  }
}
