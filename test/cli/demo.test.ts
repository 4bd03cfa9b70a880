import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { type Report, run, start, waitFor } from './support.ts';

/** Run `demo --json` and take its report apart. */
async function report(t: TestContext, flags: string, exitCode = 0): Promise<Report> {
  const { code, stdout, stderr } = await run(t, ['demo', '--json', ...flags.split(' ').filter(Boolean)]);
  assert.equal(stderr, '');
  assert.equal(code, exitCode, stdout);
  assert.match(stdout, /^\{.*\}\n$/s);
  return JSON.parse(stdout) as Report;
}

// The command waits most of the time, so several of them can run at once.
describe('demo', { concurrency: true }, () => {
  describe('with --json', { concurrency: 4 }, () => {
    it('fetches 100 prices under the limit', async (t) => {
      // The preset assumes that the server counts a request within 50 ms of its sending. Where the machine stalls for
      // longer, what was in flight (3) may be counted late, and beside the next 12. So 15 is the most in any case, and
      // 12 what one of a few runs must show.
      const most: number[] = [];
      do {
        const { items, succeeded, failed, errorRate, rateLimitEvents, requestsSent, server, ...times } = await report(
          t,
          '',
        );
        const { maxInWindow, ...counts } = server;
        assert.deepEqual(
          { items, succeeded, failed, errorRate, rateLimitEvents, requestsSent, counts },
          {
            items: 100,
            succeeded: 100,
            failed: 0,
            errorRate: 0,
            rateLimitEvents: 0,
            requestsSent: 100,
            counts: { total: 100, refused: 0, injected: 0 },
          },
        );
        // 100 requests are 8 windows of 12 and a rest, so not even a perfect engine can do it in less.
        assert.ok(times.elapsedMs >= 8000, `${times.elapsedMs} ms`);
        assert.ok(Math.abs(times.throughputPerSecond - 100e3 / times.elapsedMs) < 0.01);
        assert.ok(times.startupMs > 0);
        assert.ok(maxInWindow <= 15, `${maxInWindow} in a window`);
        most.push(maxInWindow);
      } while (Math.min(...most) > 12 && most.length < 3);
      assert.ok(Math.min(...most) <= 12, `${most} in a window`);
    });

    it('recovers from a refused request', async (t) => {
      const { succeeded, failed, rateLimitEvents, rounds, requestsSent, server } = await report(t, '--reject-at 50');
      assert.deepEqual(
        { succeeded, failed, rateLimitEvents, rounds, injected: server.injected, refused: server.refused },
        { succeeded: 100, failed: 0, rateLimitEvents: 1, rounds: 2, injected: 1, refused: 0 },
      );
      // The refused one again, and what was in flight beside it.
      assert.ok(requestsSent > 100 && requestsSent <= 104, `${requestsSent} requests`);
    });

    it('uses all that the server allows with the exact preset', async (t) => {
      const { items, succeeded, requestsSent, server, elapsedMs } = await report(t, '--preset exact --items 24');
      assert.deepEqual({ items, succeeded, requestsSent }, { items: 24, succeeded: 24, requestsSent: 24 });
      assert.deepEqual({ total: server.total, refused: server.refused }, { total: 24, refused: 0 });
      assert.ok(server.maxInWindow <= 20, `${server.maxInWindow} in a window`);
      assert.ok(elapsedMs >= 1000, `${elapsedMs} ms`);
    });

    it('takes requests to refuse as a list, as several values and as several flags', async (t) => {
      const [list, values, flags] = await Promise.all([
        report(t, '--items 6 --reject-at 2,4'),
        report(t, '--items 6 --reject-at 2 4'),
        report(t, '--reject-at 2 --items 6 --reject-at 4'),
      ]);
      for (const { succeeded, server } of [list, values, flags]) {
        assert.deepEqual({ succeeded, injected: server.injected }, { succeeded: 6, injected: 2 });
      }
    });

    it('starts over with the scope "batch"', async (t) => {
      const { succeeded, rounds, server } = await report(t, '--items 12 --reject-at 9 --scope batch');
      assert.deepEqual({ succeeded, rounds, injected: server.injected }, { succeeded: 12, rounds: 2, injected: 1 });
      // The first round came to request 9 at least, the second one is all of the batch.
      assert.ok(server.total >= 9 + 12, `${server.total} requests`);
    });

    it('exits with 1 when prices are missing', async (t) => {
      const { items, succeeded, failed, errorRate, errors } = await report(
        t,
        // Three rounds of two.
        '--items 2 --scope batch --reject-at 1,2,3,4,5,6',
        1,
      );
      assert.deepEqual(
        { items, succeeded, failed, errorRate, errors },
        { items: 2, succeeded: 0, failed: 2, errorRate: 1, errors: { RATE_LIMITED: 2 } },
      );
    });
  });

  describe('for people', { concurrency: 4 }, () => {
    it('shows a run, the same with a refusal, and no control characters outside of a terminal', async (t) => {
      const { code, stdout, stderr } = await run(t, ['demo', '--items', '30'], { FORCE_COLOR: '3' });
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
      assert.doesNotMatch(stdout, /[^\n\x20-\x7e]/);
      const [, first = '', second = ''] = stdout.split(/^[12]\/2 {2}/m);
      for (const shown of [first, second]) {
        assert.match(shown, /done {6}30 of 30 prices/);
        assert.match(shown, /^ {2}items {13}30 \(30 succeeded, 0 failed\)$/m);
        assert.match(shown, /What the server saw/);
      }
      assert.doesNotMatch(first, /EGW00201/);
      assert.match(first, /0 for its limit, 0 on demand/);
      assert.match(second, /^The same again, but the server refuses request 15$/m);
      assert.match(second.replaceAll(/.* progress .*\n/g, ''), /refused .*\n.*broadcast .*\n.*waiting .*\n.*resumed /);
      assert.match(second, /0 for its limit, 1 on demand/);
      assert.match(second, /no price is missing/);
      for (const shown of [first, second]) {
        const atSeconds = [...shown.matchAll(/^ +([\d.]+) s {2}progress/gm)].map(([, at]) => Number(at));
        assert.ok(atSeconds.length > 0);
        // As printed, to hundredths.
        for (const [i, at] of atSeconds.entries()) assert.ok(at - (atSeconds[i - 1] ?? 0) > 0.985, `${atSeconds}`);
      }
    });

    it('shows one run with --reject-at, says which requests never came, and lists failures', async (t) => {
      const { code, stdout } = await run(t, [
        'demo',
        '--items',
        '2',
        '--scope',
        'batch',
        '--reject-at',
        '1,2,3,4,5,6,40',
      ]);
      assert.equal(code, 1);
      assert.match(stdout, /^The server refuses requests 1, 2, 3, 4, 5, 6 and 40$/m);
      assert.match(stdout, /failed {4}0 of 2 prices/);
      assert.match(stdout, /^ {2}005930 +RATE_LIMITED: /m);
      assert.match(stdout, / 40 never came/);
      assert.doesNotMatch(stdout, /2\/2/);
    });

    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      it(`still prints the summary after ${signal}, also if it comes twice at once`, async (t) => {
        const command = start(t, ['demo', '--items', '1000']);
        const closed = once(command, 'close');
        const stderr = text(command.stderr);
        const before = await waitFor(command.stdout, /progress/);
        command.kill(signal);
        command.kill(signal);
        const stdout = before + (await text(command.stdout));
        assert.deepEqual(await closed, [exitCode, null]);
        assert.equal(await stderr, '');
        assert.match(stdout, /aborted {3}\d+ of 1000 prices/);
        assert.match(stdout, /^ {2}error rate .*\(ABORTED \d+\)$/m);
        assert.match(stdout, /What the server saw/);
      });
    }

    it('ends quietly when its reader goes away', async (t) => {
      const command = start(t, ['demo', '--items', '1000']);
      const closed = once(command, 'close');
      const stderr = text(command.stderr);
      await once(command.stdout, 'data');
      command.stdout.destroy();
      assert.deepEqual(await closed, [141, null]);
      assert.equal(await stderr, '');
    });
  });
});
