import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { TokenManager, type TokenManagerOptions } from '../../lib/kis/token.ts';
import { TokenFile } from '../../lib/kis/token-file.ts';
import type { RawAnswer } from '../../lib/kis/token-request.ts';

const START_MS = Date.UTC(2024, 0, 1);
const HOUR_MS = 3_600_000;
const OWNER = { appKey: 'the-app-key', environment: 'real', origin: 'https://example.com' };

/** A clock that goes on only while somebody sleeps. */
class VirtualClock {
  nowMs = 0;
  /** Called at the beginning of each sleep. */
  onSleep: () => void = () => {};
  readonly sleeps: number[] = [];

  wallMs(): number {
    return START_MS + this.nowMs;
  }

  steadyMs(): number {
    return this.nowMs;
  }

  async sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.sleeps.push(ms);
    this.onSleep();
    signal?.throwIfAborted();
    this.nowMs += ms;
  }
}

type Reply = RawAnswer | Error;

/** A token endpoint that answers as told, and a manager that asks it in virtual time. */
class Desk {
  readonly clock = new VirtualClock();
  readonly warnings: string[] = [];
  /** When each request came. */
  readonly askedAtMs: number[] = [];
  atOnce = 0;
  mostAtOnce = 0;
  replies: Reply[] = [];
  readonly manager: TokenManager;

  constructor(options: Partial<TokenManagerOptions> = {}) {
    this.manager = new TokenManager({
      post: () => this.#post(),
      file: undefined,
      intervalMs: 60_000,
      warn: (message) => this.warnings.push(message),
      clock: this.clock,
      ...options,
    });
  }

  get(mustBeNew = false, signal?: AbortSignal): Promise<string> {
    return this.manager.get({ mustBeNew, signal });
  }

  async #post(): Promise<RawAnswer> {
    this.askedAtMs.push(this.clock.nowMs);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    await Promise.resolve();
    this.atOnce--;
    const reply = this.replies.shift() ?? issued(`token-${this.askedAtMs.length}`);
    if (reply instanceof Error) throw reply;
    return reply;
  }
}

function issued(text: string, lifetimeMs = 24 * HOUR_MS): RawAnswer {
  return { status: 200, text: JSON.stringify({ access_token: text, expires_in: lifetimeMs / 1e3 }) };
}

function refusedWith(code: string, status = 403): RawAnswer {
  return { status, text: JSON.stringify({ error_code: code, error_description: 'the-app-key is bad' }) };
}

function tempFile(t: TestContext, owner = OWNER): TokenFile {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-kis-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return new TokenFile(join(folder, 'token.json'), owner);
}

describe('the token manager', () => {
  it('asks once, however many ask it', async () => {
    const desk = new Desk();
    const tokens = await Promise.all(Array.from({ length: 20 }, () => desk.get()));
    assert.deepEqual(new Set(tokens), new Set(['token-1']));
    assert.deepEqual([desk.askedAtMs, desk.mostAtOnce], [[0], 1]);
  });

  it('replaces a refused token once for all who had it', async () => {
    const desk = new Desk();
    await desk.get();
    const tokens = await Promise.all(Array.from({ length: 20 }, () => desk.get(true)));
    assert.deepEqual(new Set(tokens), new Set(['token-2']));
    assert.deepEqual(desk.askedAtMs, [0, 60_000]);
  });

  it('never asks twice within the interval, whatever happens', async () => {
    const desk = new Desk();
    desk.replies = [issued('a'), { status: 500, text: '' }, refusedWith('EGW00201', 500), issued('b')];
    await desk.get();
    assert.equal(await desk.get(true), 'b');
    await desk.get(true);
    await desk.get(true);
    const gaps = desk.askedAtMs.slice(1).map((atMs, index) => atMs - (desk.askedAtMs[index] ?? 0));
    assert.deepEqual(gaps, [60_000, 60_000, 60_000, 60_000, 60_000]);
  });

  it('waits a second more than the interval when it asked too soon', async () => {
    const desk = new Desk();
    desk.replies = [refusedWith('EGW00133'), refusedWith('EGW00133', 200)];
    assert.equal(await desk.get(), 'token-3');
    assert.deepEqual(desk.askedAtMs, [0, 61_000, 122_000]);
  });

  it('counts the interval from the end of a request', async () => {
    const desk: Desk = new Desk({
      post: async () => {
        desk.askedAtMs.push(desk.clock.nowMs);
        desk.clock.nowMs += 5000;
        return issued('x');
      },
    });
    await desk.get();
    await desk.get(true);
    assert.deepEqual(desk.askedAtMs, [0, 65_000]);
  });

  it('tries again soon if nobody was there to hear it, and gives up in the end', async () => {
    const nobody = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const desk = new Desk();
    desk.replies = [nobody, nobody];
    assert.equal(await desk.get(), 'token-3');
    assert.deepEqual(desk.askedAtMs, [0, 1000, 2000]);

    const lost = new Desk();
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    lost.replies = [reset, reset, reset];
    await assert.rejects(lost.get(), {
      code: 'CREDENTIALS',
      message: 'KIS gave no access token: it did not answer.',
      cause: reset,
    });
    assert.deepEqual(lost.askedAtMs, [0, 60_000, 120_000]);
  });

  it('gives up at once when KIS refuses the keys, and repeats nothing that it was told', async () => {
    for (const [code, meaning] of [
      ['EGW00103', 'the app key is not valid'],
      ['EGW00105', 'the app secret is not valid'],
    ] as const) {
      for (const status of [403, 200]) {
        const desk = new Desk();
        desk.replies = [refusedWith(code, status)];
        await assert.rejects(desk.get(), {
          code: 'CREDENTIALS',
          upstreamCode: code,
          status,
          message: `KIS gave no access token: it answered ${code}, ${meaning}. Check "appKey", "appSecret" and "environment".`,
        });
        assert.deepEqual(desk.askedAtMs, [0]);
      }
    }
  });

  it('stops to wait when nobody needs the token any more', async () => {
    const desk = new Desk();
    const stop = new AbortController();
    const reason = new Error('closed');
    await desk.get();
    desk.clock.onSleep = () => stop.abort(reason);
    await assert.rejects(desk.get(true, stop.signal), reason);
    assert.deepEqual(desk.askedAtMs, [0]);
    // The next one takes up where this one stopped.
    desk.clock.onSleep = () => {};
    assert.equal(await desk.get(true), 'token-2');
  });

  it('wants to renew ten minutes before the end, or at nine tenths of a short life', async () => {
    const desk = new Desk();
    assert.equal(desk.manager.renewInMs, undefined);
    await desk.get();
    assert.equal(desk.manager.renewInMs, 24 * HOUR_MS - 600_000);
    const short = new Desk();
    short.replies = [issued('x', 60_000)];
    await short.get();
    assert.equal(short.manager.renewInMs, 54_000);
  });

  it('does not want to renew a token that is over already by a clock that must be wrong', async () => {
    const desk = new Desk();
    desk.replies = [
      { status: 200, text: JSON.stringify({ access_token: 'x', access_token_token_expired: '2001-01-01 00:00:00' }) },
    ];
    assert.equal(await desk.get(), 'x');
    assert.equal(desk.manager.renewInMs, undefined);
  });
});

describe('the token manager with a file', () => {
  it('needs no request while the token in it is good', async (t) => {
    const file = tempFile(t);
    const first = new Desk({ file });
    assert.equal(await first.get(), 'token-1');
    const second = new Desk({ file });
    second.clock.nowMs = 23 * HOUR_MS;
    assert.equal(await second.get(), 'token-1');
    assert.deepEqual(second.askedAtMs, []);
    const third = new Desk({ file });
    third.clock.nowMs = 23.9 * HOUR_MS;
    third.replies = [issued('fresh')];
    assert.equal(await third.get(), 'fresh');
    assert.equal((await file.read())?.text, 'fresh');
  });

  it('keeps the interval of the process before it', async (t) => {
    const file = tempFile(t);
    await new Desk({ file }).get();
    const second = new Desk({ file });
    second.clock.nowMs = 10_000;
    await second.get();
    assert.equal(await second.get(true), 'token-1');
    // The endpoint gives the same token again, for all that it knows of it.
    assert.deepEqual(second.askedAtMs, [60_000]);
  });

  it('takes a token that another process has got in the meantime', async (t) => {
    const file = tempFile(t);
    const desk = new Desk({ file });
    await desk.get();
    const nowMs = desk.clock.wallMs();
    await file.write({ text: 'theirs', issuedAtMs: nowMs, expiresAtMs: nowMs + HOUR_MS });
    assert.equal(await desk.get(true), 'theirs');
    assert.equal(desk.askedAtMs.length, 1);
  });

  it('looks there again when it asked too soon', async (t) => {
    const file = tempFile(t);
    const desk: Desk = new Desk({
      file,
      post: async () => {
        desk.askedAtMs.push(desk.clock.nowMs);
        const nowMs = desk.clock.wallMs();
        await file.write({ text: 'theirs', issuedAtMs: nowMs, expiresAtMs: nowMs + HOUR_MS });
        return refusedWith('EGW00133');
      },
    });
    assert.equal(await desk.get(), 'theirs');
    assert.deepEqual([desk.askedAtMs, desk.clock.sleeps], [[0], []]);
  });

  it('does without it if it cannot be written', async () => {
    const file = new TokenFile(join(tmpdir(), 'sluicegate-no-such-folder', 'token.json'), OWNER);
    const desk = new Desk({ file });
    assert.equal(await desk.get(), 'token-1');
    assert.deepEqual(desk.warnings, ['The access token could not be kept in "tokenFile" (ENOENT).']);
  });
});
