import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  type BatchResult,
  createEngine,
  type Engine,
  type EngineOptions,
  type HttpItem,
  type HttpValue,
  type RateLimit,
} from '../../lib/index.ts';
import { assertAllOk, requests } from '../support/engine-bench.ts';
import { TEST_CERT, TEST_KEY } from '../workers/http-fixtures.ts';
import { startHaproxy } from './haproxy.ts';
import { startNginx } from './nginx.ts';
import { type Arrival, findProgram, type Referee } from './referee.ts';

/**
 * Limiters that are not ours decide about the settings by server of docs/guarantees.md: 200 requests at 20 per second
 * through threads and sockets. Where they are not installed, the tests are skipped and say how to install them.
 */

const ITEMS = 200;
const GAP_MS = 50;
const LANES = 20;

interface Kind {
  readonly name: string;
  /** Why it cannot be asked; false if it can. */
  readonly skip: string | false;
  readonly start: () => Promise<Referee>;
}

function kind(name: string, program: string, debianPackage: string, start: (path: string) => Promise<Referee>): Kind {
  const path = findProgram(program);
  if (path !== undefined) return { name, skip: false, start: () => start(path) };
  const skip = `${program} is not installed: apt-get install --no-install-recommends ${debianPackage}`;
  return { name, skip, start: () => Promise.reject(new Error(skip)) };
}

const nginx = (burst: number) =>
  kind(`nginx, burst=${burst}`, 'nginx', 'nginx-light', (path) => startNginx(path, { burst }));
const tls = { key: TEST_KEY, cert: TEST_CERT };
const nginxTls = kind('nginx, burst=19, TLS', 'nginx', 'nginx-light', (path) => startNginx(path, { burst: 19, tls }));
const haproxy = kind('HAProxy', 'haproxy', 'haproxy', startHaproxy);

/** Some lanes are idle for longer than connections are kept otherwise. */
const KEEP = { keepAliveTimeoutMs: 60_000 } as const;
/** What a user sets whose upstream has a certificate of an authority of its own; here also for another name. */
const TRUST = { tls: { ca: TEST_CERT, servername: 'localhost' } } as const;

/** A referee and an engine. */
interface Court {
  readonly referee: Referee;
  readonly engine: Engine<HttpItem, HttpValue>;
}

async function open({ start }: Kind, options: EngineOptions): Promise<Court> {
  const referee = await start();
  const engine = createEngine<HttpItem, HttpValue>({
    threads: 2,
    concurrency: LANES,
    // What has left may arrive, and be counted, also after a refusal.
    onRateLimit: 'drain',
    retry: { initialMs: 1 },
    http: KEEP,
    ...options,
  });
  try {
    await engine.ready();
  } catch (error) {
    await close({ referee, engine });
    throw error;
  }
  return { referee, engine };
}

async function close({ referee, engine }: Court): Promise<void> {
  await engine.close({ mode: 'abort' });
  await referee.destroy();
}

interface Hearing {
  readonly result: BatchResult<HttpValue>;
  readonly arrivals: readonly Arrival[];
  /** By the referee's access log. */
  readonly refused: number;
  /** By the limiter's own table, if it has one. */
  readonly counted: number | undefined;
}

/** Send requests until all have passed or one was refused. Ends the engine and the referee. */
async function hear({ referee, engine }: Court): Promise<Hearing> {
  const enough = new AbortController();
  engine.on('resumed', () => enough.abort());
  const result = await engine.run(requests(referee, ITEMS), { signal: enough.signal });
  const counted = await referee.counted();
  await engine.close();
  const arrivals = await referee.stop();
  return { result, arrivals, refused: arrivals.filter(({ status }) => status === 429).length, counted };
}

/** The referee has let all of them pass, once each, over connections that were used again. */
function assertPassed(t: TestContext, { result, arrivals, refused, counted }: Hearing): void {
  const { summary } = result;
  const connections = new Set(arrivals.map(({ connection }) => connection)).size;
  const rate = summary.throughputPerSecond.toFixed(1);
  t.diagnostic(`${arrivals.length} requests, ${refused} refused, ${connections} connections, ${rate} per second`);
  assert.equal(refused, 0, 'refused, by the access log');
  assertAllOk(result, ITEMS);
  assert.deepEqual([summary.requestsSent, summary.refused, summary.rateLimitEvents], [ITEMS, 0, 0]);
  const arrived = arrivals.map(({ item }) => Number(item)).sort((a, b) => a - b);
  assert.deepEqual(arrived, [...Array(ITEMS).keys()]);
  if (counted !== undefined) assert.equal(counted, ITEMS, 'counted, by the limiter itself');
  assert.ok(connections <= LANES, `${connections} connections of ${LANES} lanes`);
}

interface Setting {
  readonly kind: Kind;
  readonly rate: RateLimit;
  readonly http?: EngineOptions['http'];
}

/** Settings that assume nothing of the network or the machine: a refusal is an error of ours, whatever happened. */
const EXACT: readonly Setting[] = [
  // A bucket of burst + 1 requests that fills at 20 per second holds as much as it gets in the windows of these limits.
  ...[0, 1, 19].map((burst) => ({ kind: nginx(burst), rate: { limit: burst + 1, windowMs: (burst + 1) * GAP_MS } })),
  { kind: nginxTls, rate: { limit: 20, windowMs: 1000 }, http: { ...KEEP, ...TRUST } },
  // The last window counts in full at its start, and one request more is counted at once: 19 and 1.
  { kind: haproxy, rate: { limit: 1, windowMs: 1000 / 19 } },
];

/**
 * Settings that space starts. Both referees forgive requests that arrive up to a gap later than they should, and no more.
 * Where a machine that stood still can have made one later than that, nothing follows from a refusal, and the run is
 * repeated.
 */
const SPACED: readonly Setting[] = [
  { kind: nginx(1), rate: { limit: 20, windowMs: 1000, spacing: 'even' } },
  { kind: haproxy, rate: { limit: 19, windowMs: 1000, spacing: 'even' } },
];
/** No further try after so long. */
const SPACED_TRIES_MS = (ITEMS * GAP_MS) / 2;

const nameOf = ({ rate: { limit, windowMs, spacing } }: Setting): string =>
  `${limit} per ${Number(windowMs.toFixed(1))} ms${spacing === undefined ? '' : ', evenly spaced'}`;

/** An engine whose threads measure how late their timers are; connections are there and code is loaded. */
class SpacedCourt implements Court {
  readonly referee: Referee;
  readonly engine: Engine<HttpItem, HttpValue>;
  readonly #longestBeatUs: Int32Array;

  private constructor({ referee, engine }: Court, longestBeatUs: Int32Array) {
    this.referee = referee;
    this.engine = engine;
    this.#longestBeatUs = longestBeatUs;
  }

  static async open({ kind, rate }: Setting): Promise<SpacedCourt> {
    const handlerData = new Int32Array(new SharedArrayBuffer(4));
    const handler = new URL('./fixtures/http-with-pulse.js', import.meta.url);
    const court = new SpacedCourt(await open(kind, { rate, handler, handlerData }), handlerData);
    try {
      // Otherwise handshakes, and code that is still to be loaded, would bunch the first starts.
      assertAllOk(await court.engine.run(Array.from({ length: 6 }, () => ({ url: court.referee.warmUrl }))), 6);
    } catch (error) {
      await close(court);
      throw error;
    }
    Atomics.store(handlerData, 0, 0);
    return court;
  }

  /**
   * The latest that a request can have arrived after it was due: its thread was late for it by at most the longest time
   * between two beats and the grain of timers, and from there to the answer it took at most `durationMs`. Neither has to
   * do with when starts are due: engines that do not space them find no excuse here.
   */
  latenessMs({ result }: Hearing): number {
    return Atomics.load(this.#longestBeatUs, 0) / 1e3 + 2 + result.summary.durationMs.max;
  }
}

describe('a referee refuses', { concurrency: 4 }, () => {
  const BROKEN: readonly (Setting & { readonly why: string })[] = [
    { why: 'half as many again as it allows', kind: nginx(19), rate: { limit: 30, windowMs: 1000 } },
    { why: 'what is not spaced', kind: nginx(1), rate: { limit: 20, windowMs: 1000 } },
    { why: 'what is not spaced', kind: haproxy, rate: { limit: 19, windowMs: 1000 } },
  ];
  for (const { why, kind, rate } of BROKEN) {
    it(`${why}: ${kind.name}`, { skip: kind.skip }, async (t) => {
      const court = await open(kind, { rate });
      t.after(() => close(court));
      const { refused, result } = await hear(court);
      assert.ok(refused > 0, 'refused, by the access log');
      // Refusals of what was being cancelled meanwhile are heard by nobody.
      assert.ok(
        result.summary.refused > 0 && result.summary.refused <= refused,
        `${result.summary.refused} of ${refused}`,
      );
    });
  }

  it(`no request, but a handshake without trust: ${nginxTls.name}`, { skip: nginxTls.skip }, async (t) => {
    const court = await open(nginxTls, { retry: { maxAttempts: 1 } });
    t.after(() => close(court));
    const { outcomes } = await court.engine.run(requests(court.referee, 1));
    assert.deepEqual(
      outcomes.map((outcome) => outcome.ok || [outcome.error.code, outcome.error.possiblyExecuted]),
      [['NETWORK', false]],
    );
    assert.deepEqual(await court.referee.stop(), []);
  });
});

describe(`a referee lets ${ITEMS} requests pass`, { concurrency: EXACT.length + SPACED.length }, () => {
  const courts = new Map<Setting, Court>();
  const spacedCourts = new Map<Setting, SpacedCourt>();
  // Before anything counts: threads that start up would make others late.
  before(async () => {
    for (const setting of EXACT) {
      const { kind, rate, http = KEEP } = setting;
      if (kind.skip === false) courts.set(setting, await open(kind, { rate, http }));
    }
    for (const setting of SPACED) {
      if (setting.kind.skip === false) spacedCourts.set(setting, await SpacedCourt.open(setting));
    }
  });
  after(() => Promise.all([...courts.values(), ...spacedCourts.values()].map(close)));

  for (const setting of EXACT) {
    it(`${setting.kind.name}: ${nameOf(setting)}`, { skip: setting.kind.skip }, async (t) => {
      const court = courts.get(setting);
      assert.ok(court);
      assertPassed(t, await hear(court));
    });
  }

  for (const setting of SPACED) {
    it(`${setting.kind.name}: ${nameOf(setting)}`, { skip: setting.kind.skip }, async (t) => {
      const giveUpAt = performance.now() + SPACED_TRIES_MS;
      let court = spacedCourts.get(setting);
      do {
        court ??= await SpacedCourt.open(setting);
        const opened = court;
        t.after(() => close(opened));
        const hearing = await hear(court);
        const latenessMs = Math.ceil(court.latenessMs(hearing));
        if (hearing.refused === 0 || latenessMs < GAP_MS) {
          assertPassed(t, hearing);
          return;
        }
        t.diagnostic(`Refused after ${hearing.arrivals.length} requests: some were up to ${latenessMs} ms late.`);
        court = undefined;
      } while (performance.now() < giveUpAt);
      t.skip('This machine is too busy to tell: it stands still for longer than the referee forgives.');
    });
  }
});
