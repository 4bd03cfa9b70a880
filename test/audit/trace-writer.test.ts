import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readTrace, TraceError } from '../../lib/audit/read-trace.ts';
import type { TraceLine } from '../../lib/audit/trace-line.ts';
import { TraceWriter } from '../../lib/audit/trace-writer.ts';
import { InvalidOptionError } from '../../lib/errors.ts';

const ENDLESS = fileURLToPath(new URL('./fixtures/endless.js', import.meta.url));
const FULL_DISK = fileURLToPath(new URL('./fixtures/full-disk.js', import.meta.url));

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sluicegate-trace-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const lineOf = (item: number, more = ''): string =>
  `{"batch":1,"item":${item},"attempt":1,"thread":1,"sentNs":"1","answeredNs":"2","verdict":"ok","more":"${more}"}`;

async function itemsOf(path: string): Promise<number[]> {
  const items: number[] = [];
  const lines = readFileSync(path, 'utf8').split('\n');
  for await (const { number, entry } of readTrace(path)) {
    if (entry.kind !== 'attempt') continue;
    items.push((JSON.parse(lines[number - 1] ?? '') as TraceLine).item);
  }
  return items;
}

describe('TraceWriter', () => {
  it('writes a header, the lines in their order, and an end', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const writer = new TraceWriter(path, 123n, new Date(0));
    writer.add(lineOf(0));
    writer.add(lineOf(1));
    await writer.close();
    const lines = readFileSync(path, 'utf8').split('\n');
    assert.deepEqual(lines, [
      '{"trace":"start","version":1,"startedAt":"1970-01-01T00:00:00.000Z","startedNs":"123"}',
      lineOf(0),
      lineOf(1),
      '{"trace":"end","lines":2}',
      '',
    ]);
    assert.deepEqual(await itemsOf(path), [0, 1]);
  });

  it('empties a file that is there, and closes it once', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    writeFileSync(path, 'x'.repeat(10_000));
    const writer = new TraceWriter(path, 0n);
    const closed = writer.close();
    assert.equal(writer.close(), closed);
    await closed;
    writer.add(lineOf(0));
    await writer.close();
    assert.deepEqual(await itemsOf(path), []);
  });

  it('has a line in the file soon, without being closed', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const writer = new TraceWriter(path, 0n);
    t.after(() => writer.close());
    for (let item = 0; item < 3; item++) {
      writer.add(lineOf(item));
      const line = `${lineOf(item)}\n`;
      while (!readFileSync(path, 'utf8').endsWith(line)) await new Promise(setImmediate);
    }
  });

  it('loses no line and keeps their places, however many are added at once', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const writer = new TraceWriter(path, 0n);
    // 40 MB in turns that leave no time to write, and in turns that do: both ways of writing are used at the same time.
    const long = 'é'.repeat(1_000);
    for (let item = 0; item < 20_000; item++) {
      writer.add(lineOf(item, long));
      if (item % 3_000 === 0) await new Promise(setImmediate);
    }
    await writer.close();
    assert.deepEqual(
      await itemsOf(path),
      Array.from({ length: 20_000 }, (_, item) => item),
    );
  });

  it('never lets more wait than 4 million characters beside those that are being written', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const writer = new TraceWriter(path, 0n);
    const line = lineOf(0, 'x'.repeat(50_000));
    const lineLength = line.length + 1;
    // In one turn of the event loop at most one write is begun that need not be over: of a block, and the line that filled it.
    const beingWritten = 64 * 1024 + lineLength;
    for (let count = 1; count <= 1_000; count++) {
      writer.add(line);
      const waiting = count * lineLength - statSync(path).size;
      assert.ok(waiting <= 4 * 1024 * 1024 + beingWritten, `${waiting} characters wait`);
    }
    await writer.close();
    assert.equal((await itemsOf(path)).length, 1_000);
  });

  const bad: readonly (readonly [name: string, path: (folder: string) => string])[] = [
    ['a folder', (folder) => folder],
    ['a file in a folder that is not there', (folder) => join(folder, 'no', 'trace.jsonl')],
    ['a device', () => '/dev/null'],
    ['a device that is always full', () => '/dev/full'],
    ['a file in a file', () => join(FULL_DISK, 'trace.jsonl')],
    [
      'a pipe, without waiting for its other end',
      (folder) => {
        const path = join(folder, 'pipe');
        execFileSync('sh', ['-c', 'mkfifo "$0"', path]);
        return path;
      },
    ],
  ];
  for (const [name, pathIn] of bad) {
    it(`refuses ${name}`, (t) => {
      const path = pathIn(folder(t));
      assert.throws(
        () => new TraceWriter(path, 0n),
        (error) => error instanceof InvalidOptionError && error.option === 'trace' && error.value === path,
      );
    });
  }

  it('refuses a file that it may not write', (t) => {
    const path = join(folder(t), 'trace.jsonl');
    writeFileSync(path, 'mine', { mode: 0o444 });
    chmodSync(dirname(path), 0o755);
    // The superuser may write everything: be somebody else for a moment.
    const isSuperuser = process.geteuid?.() === 0;
    if (isSuperuser) process.seteuid?.(65_534);
    try {
      assert.throws(() => new TraceWriter(path, 0n), /"trace".*EACCES/);
    } finally {
      if (isSuperuser) process.seteuid?.(0);
    }
    assert.equal(readFileSync(path, 'utf8'), 'mine');
  });

  it('refuses a file that is being written, by whatever name, and takes it when that is over', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const writer = new TraceWriter(path, 0n);
    writer.add(lineOf(0));
    symlinkSync(path, `${path}.link`);
    for (const name of [path, `${path}.link`]) {
      assert.throws(() => new TraceWriter(name, 0n), InvalidOptionError);
    }
    await writer.close();
    assert.deepEqual(await itemsOf(path), [0]);
    await new TraceWriter(path, 0n).close();
    assert.deepEqual(await itemsOf(path), []);
  });

  it('leaves a trace whose process is killed without an end, and otherwise readable', async (t) => {
    const path = join(folder(t), 'trace.jsonl');
    const child = spawn(process.execPath, [ENDLESS, path], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    while ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < 300_000) await new Promise(setImmediate);
    child.kill('SIGKILL');
    await exited;
    await assert.rejects(itemsOf(path), (error) => error instanceof TraceError && error.isCut);
    const cuts: string[] = [];
    let items = 0;
    for await (const { entry } of readTrace(path, { onCut: (how) => cuts.push(how) })) {
      if (entry.kind === 'attempt') items++;
    }
    assert.equal(cuts.length, 1);
    assert.ok(items > 1_000, `${items} lines`);
  });

  for (const when of ['meanwhile', 'closing']) {
    it(`warns once when it cannot write (${when}), discards the rest, and closes all the same`, async (t) => {
      const path = join(folder(t), 'trace.jsonl');
      // A limit on the size of files is the full disk that needs no disk.
      const script = 'ulimit -f 8; exec "$0" "$@"';
      const { stdout } = await promisify(execFile)('sh', ['-c', script, process.execPath, FULL_DISK, path, when]);
      const warnings = JSON.parse(stdout) as string[];
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? '', /^The trace .*trace\.jsonl is not whole: EFBIG/);
      assert.doesNotMatch(readFileSync(path, 'utf8'), /"trace":"end"/);
    });
  }
});
