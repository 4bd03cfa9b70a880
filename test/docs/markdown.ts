/** A fenced block of a document. */
export interface Block {
  /** Word after the fence: `js`, `ts`, `sh`, `text`, or nothing. */
  readonly language: string;
  readonly code: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
  /** Name of the file that the block is, from a comment `<!-- example: NAME -->` on the line before it. */
  readonly file: string | undefined;
}

/** A link of a document, as it is written. */
export interface Link {
  readonly target: string;
  readonly line: number;
}

/** What the checks need to know of a Markdown document. */
export interface Document {
  readonly blocks: readonly Block[];
  readonly links: readonly Link[];
  /** The fragments that a link can name: one for each heading, as GitHub and npm make them. */
  readonly anchors: ReadonlySet<string>;
  /** The cells of every table row, without the backquotes around a cell. */
  readonly rows: readonly (readonly string[])[];
  /** The text of every heading. */
  readonly headings: readonly string[];
}

const FENCE = /^(`{3,})(\w*)\s*$/;
const MARKER = /^<!-- example: (\S+) -->$/;
const HEADING = /^#{1,6} (.+)$/;
const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

/**
 * Take a document apart.
 * @throws Error if a fence is never closed: everything after it would go unchecked
 */
export function parseMarkdown(text: string): Document {
  const lines = text.split('\n');
  const blocks: Block[] = [];
  const links: Link[] = [];
  const rows: string[][] = [];
  const headings: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const fence = FENCE.exec(line);
    if (fence !== null) {
      const end = lines.indexOf(fence[1] ?? '', at + 1);
      if (end === -1) throw new Error(`The fence of line ${at + 1} is never closed.`);
      blocks.push({
        language: fence[2] ?? '',
        code: `${lines.slice(at + 1, end).join('\n')}\n`,
        line: at + 1,
        file: MARKER.exec(lines[at - 1] ?? '')?.[1],
      });
      at = end;
      continue;
    }
    const heading = HEADING.exec(line)?.[1];
    if (heading !== undefined) headings.push(heading);
    for (const [, target = ''] of line.matchAll(LINK)) links.push({ target, line: at + 1 });
    if (line.startsWith('|') && !/^\|[-:| ]+\|$/.test(line)) rows.push(cellsOf(line));
  }
  return { blocks, links, rows, headings, anchors: anchorsOf(headings) };
}

function cellsOf(row: string): string[] {
  // A bar inside a cell is written with a backslash before it.
  const cells = row.replace(/^\||\|$/g, '').split(/(?<!\\)\|/);
  return cells.map((cell) =>
    cell
      .trim()
      .replaceAll('\\|', '|')
      .replace(/^`([^`]*)`$/, '$1'),
  );
}

function anchorsOf(headings: readonly string[]): Set<string> {
  const anchors = new Set<string>();
  for (const heading of headings) {
    const words = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = words;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${words}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}
