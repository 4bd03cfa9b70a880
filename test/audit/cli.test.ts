import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { TraceLine } from '../../lib/audit/trace-line.ts';
import { type Ended, run } from '../cli/support.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';

const START = '{"trace":"start","version":1,"startedAt":"2026-01-01T00:00:00.000Z","startedNs":"5000000000"}\n';
const endOf = (lines: number) => `{"trace":"end","lines":${lines}}\n`;

/** Lines of requests that are sent in bursts of 20 and answered after 50 ms. */
function burstsOf20(everyMs: number): string {
  return Array.from({ length: 60 }, (_, item) => {
    const sentMs = 5_000 + Math.floor(item / 20) * everyMs;
    const line: TraceLine = {
      batch: 1,
      item,
      attempt: 1,
      thread: 1,
      sentNs: `${sentMs}000000`,
      answeredNs: `${sentMs + 50}000000`,
      verdict: 'ok',
    };
    return `${JSON.stringify(line)}\n`;
  }).join('');
}
const GOOD = START + burstsOf20(1_050) + endOf(60);
const LUCKY = START + burstsOf20(1_000) + endOf(60);

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-audit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Audit a file with this content. */
async function auditOf(t: TestContext, content: string | Buffer, flags = '', name = 'trace.jsonl'): Promise<Ended> {
  const path = join(folderOf(t), name);
  writeFileSync(path, content);
  const ended = await run(t, ['audit', path, ...`--limit 20 --window 1000 ${flags}`.trim().split(' ')]);
  return { ...ended, stdout: ended.stdout.replaceAll(path, name), stderr: ended.stderr.replaceAll(path, name) };
}

describe('sluicegate audit', { concurrency: 2 }, () => {
  it('accepts a trace that keeps the limit', async (t) => {
    const { code, stdout, stderr } = await auditOf(t, GOOD);
    assert.equal(stderr, '');
    assert.equal(
      stdout,
      [
        'trace.jsonl',
        '  attempts      60',
        '  sent          60 requests: 60 answered, 0 without an answer',
        '  limit         20 requests in any window of 1000 ms',
        '  assumed       a request is counted before its answer,',
        '                or, without an answer, at most 1000 ms after it was given up on',
        '  worst window  up to 20 requests, counted from 50.000 ms to 1050.000 ms after the first was sent',
        '                lines 2-21',
        '',
        'The limit holds: no server can have counted more.',
        '',
      ].join('\n'),
    );
    assert.equal(code, 0);
  });

  it('rejects a trace of a client that may only have been lucky, and names the worst window', async (t) => {
    const { code, stdout, stderr } = await auditOf(t, LUCKY);
    assert.equal(stderr, '');
    assert.match(stdout, /worst window {2}up to 40 requests, counted from 50\.000 ms to 1050\.000 ms/);
    assert.match(stdout, /lines 2-41\n/);
    assert.match(stdout, /The limit does not hold/);
    assert.equal(code, 1);
  });

  it('prints one object with --json', async (t) => {
    const { code, stdout, stderr } = await auditOf(t, LUCKY, '--json --straggle 5');
    assert.equal(code, 1);
    assert.equal(stderr, '');
    assert.deepEqual(JSON.parse(stdout), {
      holds: false,
      limit: 20,
      windowMs: 1_000,
      arrivalWithinMs: null,
      straggleMs: 5,
      attempts: 60,
      sent: 60,
      answered: 60,
      abandoned: 0,
      worst: {
        startNs: '5050000000',
        startMs: 50,
        count: 40,
        lines: Array.from({ length: 40 }, (_, place) => place + 2),
      },
      cutShort: null,
    });
  });

  it('takes into account how long requests travel at most', async (t) => {
    assert.equal((await auditOf(t, LUCKY, '--arrival-within 0')).code, 0);
    const { code, stdout } = await auditOf(t, LUCKY, '--arrival-within 0.000001');
    assert.match(stdout, /at most 0\.000001 ms after it was sent/);
    assert.equal(code, 1);
  });

  it('counts attempts that sent nothing, further requests, and requests without an answer', async (t) => {
    const lines = [
      '{"verdict":"not-started"}',
      '{"startedNs":"1","answeredNs":"2"}',
      '{"startedNs":"1","answeredNs":"2","request":1}',
      '{"sentNs":"1","abandonedNs":"2"}',
    ].join('\n');
    const { code, stdout } = await auditOf(t, lines, '--json');
    assert.equal(code, 0);
    const { attempts, sent, answered, abandoned } = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual({ attempts, sent, answered, abandoned }, { attempts: 3, sent: 3, answered: 2, abandoned: 1 });
  });

  it('unpacks a trace that ends in .gz, also one of several parts', async (t) => {
    const parts = Buffer.concat([GOOD.slice(0, 1_000), GOOD.slice(1_000)].map((part) => gzipSync(part)));
    const { code, stdout } = await auditOf(t, parts, '--json', 'trace.jsonl.gz');
    assert.equal(code, 0);
    assert.equal((JSON.parse(stdout) as { readonly sent: number }).sent, 60);
  });

  it('audits several traces in one file together', async (t) => {
    const { code, stdout } = await auditOf(t, GOOD + GOOD, '--json');
    assert.equal((JSON.parse(stdout) as { readonly worst: { readonly count: number } }).worst.count, 40);
    assert.equal(code, 1);
  });
});

describe('a trace in another form', { concurrency: 2 }, () => {
  const lines = burstsOf20(1_050).trimEnd().split('\n');
  const worstOf = ({ stdout }: Ended) => (JSON.parse(stdout) as { readonly worst: { readonly count: number } }).worst;

  it('may have the line breaks of Windows', async (t) => {
    assert.equal((await auditOf(t, GOOD.replaceAll('\n', '\r\n'))).code, 0);
  });

  it('may have its lines in any order, and fields that are not known', async (t) => {
    const mixed = lines.map((line, n) => lines[(n * 37) % lines.length] ?? line);
    assert.equal(new Set(mixed).size, lines.length);
    const odd = mixed.map((line) => line.replace('}', ',"constructor":null,"toString":[],"Δ":{"sentNs":"0"}}'));
    const ended = await auditOf(t, `${START}${odd.join('\n')}\n${endOf(60)}`, '--json');
    assert.equal(ended.code, 0);
    assert.equal(worstOf(ended).count, 20);
  });

  it('is refused with a line twice; without a header it counts twice', async (t) => {
    const twice = lines.toSpliced(5, 0, lines[5] ?? '').join('\n');
    const { code, stderr } = await auditOf(t, `${START}${twice}\n${endOf(60)}`, '--tolerant');
    assert.equal(code, 2);
    assert.match(stderr, /line 63: .* 60 lines, but it has 61/);
    const ended = await auditOf(t, twice, '--json');
    assert.equal(ended.code, 1);
    assert.equal(worstOf(ended).count, 21);
  });
});

describe('a huge trace', () => {
  const requests = LONG ? 1_000_000 : 200_000;

  it(`of ${requests} requests needs little memory`, async (t) => {
    const path = join(folderOf(t), 'huge.jsonl');
    const file = openSync(path, 'w');
    writeSync(file, START);
    for (let from = 0; from < requests; from += 10_000) {
      const block = Array.from({ length: 10_000 }, (_, n) => {
        // 20 in each second, which are answered in the order opposite to that in which they were sent.
        const [second, place] = [Math.floor((from + n) / 20), (from + n) % 20];
        const [sentMs, answeredMs] = [1_100 * second + place, 1_100 * second + 99 - place];
        return `{"batch":1,"item":${from + n},"attempt":1,"thread":1,"sentNs":"${sentMs}000000","answeredNs":"${answeredMs}000000","verdict":"ok"}\n`;
      });
      writeSync(file, block.join(''));
    }
    writeSync(file, endOf(requests));
    closeSync(file);
    // The file alone would not fit into this heap.
    const limited = { NODE_OPTIONS: `--max-old-space-size=${LONG ? 40 : 16}` };
    const { code, stdout, stderr } = await run(t, ['audit', path, '--limit=20', '--window=1000', '--json'], limited);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    const { sent, worst } = JSON.parse(stdout) as { readonly sent: number; readonly worst: { readonly count: number } };
    assert.deepEqual([sent, worst.count], [requests, 20]);
  });
});

describe('a trace that was cut short', { concurrency: 2 }, () => {
  const lines = START + burstsOf20(1_050);
  const cases: readonly (readonly [name: string, content: string | Buffer, message: RegExp, file?: string])[] = [
    ['in a line', lines.slice(0, -30), /line 61, the last one, is not whole/],
    ['between two lines', lines, /it has no end, so requests that were under way may be missing/],
    ['before another one', lines + GOOD, /another trace begins in line 62, and the one before has no end/],
    [
      'while it was packed',
      gzipSync(lines).subarray(0, -20),
      /the end of the packed file is missing/,
      'trace.jsonl.gz',
    ],
  ];
  for (const [name, content, message, file] of cases) {
    it(`is refused: ${name}`, async (t) => {
      const { code, stdout, stderr } = await auditOf(t, content, '', file);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, /^sluicegate audit: trace\.jsonl(\.gz)? was cut short: .*\. With --tolerant .*\.\n$/);
      assert.match(stderr, message);
    });

    it(`is audited with --tolerant, which says so: ${name}`, async (t) => {
      const { code, stdout, stderr } = await auditOf(t, content, '--tolerant --json', file);
      assert.match(stderr, /^sluicegate audit: trace\.jsonl(\.gz)? was cut short: .*\.\n$/);
      assert.match(stderr, message);
      const report = JSON.parse(stdout) as {
        readonly sent: number;
        readonly cutShort: string;
        readonly holds: boolean;
      };
      assert.match(report.cutShort, message);
      assert.ok(report.sent > 0);
      assert.equal(code, report.holds ? 0 : 1);
    });
  }

  it('needs no line break after its last line', async (t) => {
    assert.equal((await auditOf(t, GOOD.trimEnd())).code, 0);
  });
});

describe('what cannot be audited', { concurrency: 2 }, () => {
  const whole = GOOD.split('\n');
  const cases: readonly (readonly [name: string, content: string | Buffer, message: RegExp, file?: string])[] = [
    [
      'a malformed line in the middle',
      whole.with(6, '{"sentNs":').join('\n'),
      /trace\.jsonl, line 7: this is not JSON/,
    ],
    ['a line that makes no sense', whole.with(6, '{"sentNs":"x"}').join('\n'), /trace\.jsonl, line 7: "sentNs" is not/],
    ['a trace with a line too few', whole.toSpliced(6, 1).join('\n'), /line 61: .* 60 lines, but it has 59/],
    ['an end without a start', endOf(0), /line 1: .* 0 lines, but it has no start/],
    ['an empty file', '', /trace\.jsonl is empty/],
    ['a file of blank lines', '\n \n', /trace\.jsonl is empty/],
    ['a file without lines', 'x'.repeat(200_000), /line 1: longer than 65536 characters/],
    ['a file that only says that it is packed', GOOD, /trace\.jsonl\.gz is not a gzip file/, 'trace.jsonl.gz'],
  ];
  for (const [name, content, message, file] of cases) {
    it(`is refused, also with --tolerant: ${name}`, async (t) => {
      const { code, stdout, stderr } = await auditOf(t, content, '--tolerant', file);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /^\s+at /m);
    });
  }

  for (const [name, path, message] of [
    ['a file that is not there', '/no/such/trace.jsonl', /trace\.jsonl cannot be read: ENOENT/],
    ['a packed file that is not there', '/no/such/trace.gz', /trace\.gz cannot be read: ENOENT/],
    ['a folder', tmpdir(), /cannot be read: EISDIR/],
  ] as const) {
    it(`is refused: ${name}`, async (t) => {
      const { code, stdout, stderr } = await run(t, ['audit', path, '--limit', '1', '--window', '1']);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, message);
    });
  }
});

describe('wrong usage of audit', { concurrency: 2 }, () => {
  const ms = /milliseconds, a number from/;
  const cases: readonly (readonly [args: string, ...says: RegExp[]])[] = [
    ['--limit 1 --window 1', /missing required argument 'trace'/],
    ['x --window 1', /--limit <n>/],
    ['x --limit 1', /--window <ms>/],
    ['x y --limit 1 --window 1', /too many arguments/],
    ['x --limit 0 --window 1', /--limit <n>/, /'0'/, /whole number from 1 to 1000000000/],
    ['x --limit 1.5 --window 1', /--limit <n>/, /'1\.5'/],
    ['x --limit 1 --window 0', /--window <ms>/, /'0'/, ms],
    ['x --limit 1 --window 1s', /--window <ms>/, /'1s'/, ms],
    ['x --limit 1 --window 1 --arrival-within -1', /--arrival-within <ms>/, /'-1'/, ms],
    ['x --limit 1 --window 1 --straggle Infinity', /--straggle <ms>/, /'Infinity'/, ms],
  ];
  for (const [args, ...says] of cases) {
    it(`is explained: ${args}`, async (t) => {
      const { code, stdout, stderr } = await run(t, ['audit', ...args.split(' ')]);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      for (const pattern of says) assert.match(stderr, pattern);
    });
  }
});
