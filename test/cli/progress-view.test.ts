import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import type { Progress } from '../../lib/batch/progress.ts';
import { paintFor } from '../../lib/cli/paint.ts';
import { createProgressView } from '../../lib/cli/progress-view.ts';

const PROGRESS: Progress = {
  total: 100,
  done: 0,
  succeeded: 0,
  failed: 0,
  inFlight: 0,
  waiting: 0,
  throughputPerSecond: 12,
  elapsedMs: 0,
  timeLeftMs: 4000,
  rounds: 1,
  isPaused: false,
};

/** A stream that takes itself for a terminal (or not) and keeps what is written. */
function outputStream(t: TestContext, columns: number | undefined) {
  const stream = new PassThrough();
  t.after(() => stream.destroy());
  const isTTY = columns !== undefined;
  const terminal = Object.assign(stream, { isTTY, columns, hasColors: () => isTTY }) as unknown as WriteStream;
  // What it was told since the last call.
  const taken = () => {
    // From Node.js 26 on one call gives one chunk, before it all of them.
    let text = '';
    for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) text += String(chunk);
    return text;
  };
  return { terminal, taken };
}

describe('the progress view on a terminal', () => {
  it('draws a bar, keeps notes above it, and leaves nothing else behind', async (t) => {
    const { terminal, taken } = outputStream(t, 80);
    const paint = paintFor(terminal);
    const view = await createProgressView(terminal, paint, 100, () => 0);
    view.update({ ...PROGRESS, done: 50, elapsedMs: 4000 });
    view.note('  something happened');
    view.stop();
    const written = taken();
    assert.equal(written.indexOf('\x1b[?25l'), 0, 'the cursor is hidden first');
    assert.ok(written.lastIndexOf('\x1b[?25h') > written.lastIndexOf('━'), 'the cursor comes back');
    assert.ok(written.endsWith('\x1b[0J'), 'the bar is cleared away');
    const shown = stripVTControlCharacters(written);
    const [note, bar] = shown.split('\n');
    assert.equal(note, '  something happened');
    assert.match(bar ?? '', /^ {2}(━+)(─+) {3}50\/100 {3}12\.0 per second {3}4\.0 s left$/);
    const [, filled = '', empty = ''] = /(━+)(─+)/.exec(shown) ?? [];
    assert.equal(filled.length, Math.floor((filled.length + empty.length) / 2));
  });

  it('fits into its columns', async (t) => {
    for (const columns of [200, 80, 60]) {
      const { terminal, taken } = outputStream(t, columns);
      const view = await createProgressView(terminal, paintFor(terminal), 100, () => 1500);
      for (const isPaused of [false, true]) {
        view.update({ ...PROGRESS, done: 99, elapsedMs: 9000, isPaused });
        view.stop();
        const shown = stripVTControlCharacters(taken());
        assert.match(shown, isPaused ? /paused, goes on in 1\.5 s$/ : /4\.0 s left$/);
        assert.ok(shown.length < columns, `${shown.length} of ${columns}`);
      }
    }
  });

  it('uses no color where none is wanted', async (t) => {
    const { terminal, taken } = outputStream(t, 80);
    terminal.hasColors = () => false;
    const view = await createProgressView(terminal, paintFor(terminal), 10, () => 0);
    view.update({ ...PROGRESS, total: 10, done: 5 });
    view.stop();
    const written = taken();
    assert.match(written, /━/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(written, /\x1b\[[\d;]*m/);
  });
});

describe('the progress view elsewhere', () => {
  it('writes plain lines, at most one per second, and none for the end', async (t) => {
    const { terminal, taken } = outputStream(t, undefined);
    const view = await createProgressView(terminal, paintFor(terminal), 100, () => 0);
    for (let elapsedMs = 100; elapsedMs < 3500; elapsedMs += 100) {
      view.update({ ...PROGRESS, done: elapsedMs / 100, elapsedMs, isPaused: elapsedMs === 3000 });
    }
    view.note('  something happened');
    view.update({ ...PROGRESS, done: 100, elapsedMs: 9000 });
    view.stop();
    assert.deepEqual(taken().split('\n'), [
      '    1.00 s  progress  10 of 100',
      '    2.00 s  progress  20 of 100, 12.0 per second, 4.0 s left',
      '    3.00 s  progress  30 of 100, paused',
      '  something happened',
      '',
    ]);
  });
});
