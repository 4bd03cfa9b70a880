import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { EngineEvents, EngineOptions, ErrorMatch, RecoveryAction, RecoveryRule } from '../../lib/index.ts';
import { assertAllOk, assertComplete, EventLog, makeEngine, QUICK_RETRY, requests } from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { freePort } from '../workers/http-fixtures.ts';
import type { Fate } from './fixtures/rules.ts';
import { ends, failure, fixture, openEngine, tally } from './support.ts';

const message = { en: 'Something is wrong.', ko: '문제가 있습니다.' };

function rule(when: ErrorMatch, actions: readonly RecoveryAction[], maxAttempts?: number): RecoveryRule {
  const rest = maxAttempts === undefined ? {} : { maxAttempts };
  return { type: 'OwnError', when, severity: 'low', actions, message, ...rest };
}

/** An engine with these rules, and a server whose answers to each item are these and then 200. */
async function open(t: TestContext, recovery: readonly RecoveryRule[], options: EngineOptions = {}) {
  const server = await HeldServer.start(t);
  const engine = makeEngine(t, { concurrency: 4, recovery, ...options });
  const answerWith = (statuses: Readonly<Record<string, readonly number[]>>, headers = {}) => {
    const answered: Record<string, number> = {};
    server.onRequest = (request) => {
      const status = statuses[request.item]?.[answered[request.item] ?? 0] ?? 200;
      answered[request.item] = (answered[request.item] ?? 0) + 1;
      request.answer(status, status === 200 ? {} : headers);
    };
  };
  return { server, engine, answerWith, events: new EventLog(engine) };
}

describe('a rule of the user’s', { concurrency: 4 }, () => {
  it('tries again what would be final, also a POST that was not executed', async (t) => {
    const { server, engine, answerWith, events } = await open(t, [rule({ status: 409 }, ['wait', 'retry'])]);
    answerWith({ 1: [409], 2: [409, 409] });
    const result = await engine.run(requests(server, 4, { method: 'POST', body: {} }));
    assertAllOk(result, 4);
    assert.deepEqual(
      result.outcomes.map(({ attempts }) => attempts),
      [1, 2, 3, 1],
    );
    const waits = events.of('retry').map(({ index, delayMs, code }) => `${index} ${delayMs} ${code}`);
    assert.deepEqual(waits.sort(), ['1 20 HTTP_STATUS', '2 20 HTTP_STATUS', '2 40 HTTP_STATUS']);
  });

  it('tries again at once where it does not say "wait", but no sooner than the upstream wants', async (t) => {
    const { server, engine, answerWith, events } = await open(t, [rule({ status: 503 }, ['retry'])]);
    answerWith({ 0: [503, 503] });
    assertAllOk(await engine.run(requests(server, 1)), 1);
    answerWith({ 0: [500] }, { 'retry-after': '1' });
    assertAllOk(await engine.run(requests(server, 1)), 1);
    assert.deepEqual(
      events.of('retry').map(({ delayMs }) => delayMs),
      [0, 0, 1000],
    );
  });

  it('does not try again what would be', async (t) => {
    const { server, engine, answerWith, events } = await open(t, [
      rule({ status: { from: 502, to: 504 } }, ['fail-fast']),
    ]);
    answerWith({ 0: [502], 1: [503], 2: [504], 3: [501], 4: [505] });
    const result = await engine.run(requests(server, 6));
    assertComplete(result, 6);
    assert.deepEqual(ends(result.outcomes), ['HTTP_STATUS', 'HTTP_STATUS', 'HTTP_STATUS', 'ok', 'ok', 'ok']);
    assert.deepEqual(
      result.outcomes.map(({ attempts }) => attempts),
      [1, 1, 1, 2, 2, 1],
    );
    assert.equal(events.of('retry').length, 2);
  });

  it('does not try a timeout again, nor a lost connection, if it says so', async (t) => {
    const slow = await open(t, [rule({ code: 'TIMEOUT' }, ['fail-fast'])], { timeoutMs: 50 });
    const timedOut = await slow.engine.run(requests(slow.server, 1));
    assert.deepEqual([failure(timedOut.outcomes[0]).error.code, timedOut.outcomes[0]?.attempts], ['TIMEOUT', 1]);

    const { engine } = await open(t, [rule({ networkCode: 'ECONNREFUSED' }, ['fail-fast'])]);
    const { outcomes } = await engine.run([{ url: `http://127.0.0.1:${await freePort()}/` }]);
    const { error, attempts } = failure(outcomes[0]);
    assert.deepEqual([error.code, error.type, error.cause?.code, attempts], ['NETWORK', 'OwnError', 'ECONNREFUSED', 1]);
  });

  it('has its own number of attempts', async (t) => {
    const { server, engine, answerWith } = await open(
      t,
      [
        rule({ status: 500 }, ['wait', 'retry'], 5),
        rule({ status: 502 }, ['wait', 'retry'], 2),
        rule({ status: 404 }, ['retry'], 1),
      ],
      { retry: { ...QUICK_RETRY, initialMs: 1 } },
    );
    const always = (status: number) => Array.from({ length: 9 }, () => status);
    answerWith({ 0: always(500), 1: always(502), 2: always(501), 3: always(404), 4: always(500).slice(0, 4) });
    const { outcomes } = await engine.run(requests(server, 5));
    assert.deepEqual(
      outcomes.map(({ ok, attempts }) => `${ok} ${attempts}`),
      ['false 5', 'false 2', 'false 3', 'false 1', 'true 5'],
    );
  });

  it('has its own number of refusals, and says so of a code of the upstream', async (t) => {
    const recovery = [
      rule({ upstreamCode: 'BUSY' }, ['wait', 'retry'], 2),
      rule({ upstreamCode: 'BANNED' }, ['fail-fast']),
    ];
    const engine = openEngine<Fate>(t, fixture('rules'), { recovery, retry: { ...QUICK_RETRY, maxRefusals: 3 } });
    const refusals: EngineEvents['rateLimited'][] = [];
    engine.on('rateLimited', (event) => refusals.push(event));
    for (const [upstreamCode, expected, type] of [
      ['BUSY', 2, 'OwnError'],
      ['BANNED', 1, 'OwnError'],
      ['OTHER', 3, 'RateLimitError'],
    ] as const) {
      refusals.length = 0;
      const { outcomes } = await engine.run([{ says: { verdict: 'rate-limit', upstreamCode } }]);
      const { error, attempts } = failure(outcomes[0]);
      assert.deepEqual([error.code, error.upstreamCode, error.type, attempts], ['RATE_LIMITED', upstreamCode, type, 0]);
      assert.match(error.message, new RegExp(`refused ${expected} times`));
      assert.equal(refusals.length, expected);
    }
  });

  it('goes before those that follow it; one that names no end leaves the end as it is', async (t) => {
    const { server, engine, answerWith } = await open(t, [
      { ...rule({ status: 500 }, ['notify']), type: 'First' },
      { ...rule({ status: [500, 404] }, ['fail-fast']), type: 'Second' },
      { ...rule({}, ['wait', 'retry']), type: 'Last' },
    ]);
    const always = (status: number) => [status, status, status];
    answerWith({ 0: always(500), 1: always(404), 2: always(403) });
    const { outcomes } = await engine.run(requests(server, 3));
    assert.deepEqual(
      outcomes.map((outcome) => [failure(outcome).error.type, outcome.attempts]),
      [
        ['First', 3],
        ['Second', 1],
        ['Last', 3],
      ],
    );
  });

  it('knows a system error that a handler throws as it is, and one with a cause', async (t) => {
    const engine = openEngine<Fate>(t, fixture('rules'), {
      recovery: [rule({ networkCode: ['ECONNREFUSED', 'E_OWN'] }, ['fail-fast'])],
      retry: QUICK_RETRY,
    });
    const { outcomes } = await engine.run([
      { throws: { code: 'ECONNREFUSED' } },
      { throws: { cause: { name: 'Error', message: 'Deep.', code: 'ECONNREFUSED' } } },
      { throws: { code: 'E_OWN', cause: { message: 'Deeper.' } } },
      { throws: { code: 'ECONNRESET' } },
    ]);
    const seen = outcomes.map((outcome) => {
      const { code, type, cause } = failure(outcome).error;
      return [code, type, cause?.code, outcome.attempts];
    });
    assert.deepEqual(seen, [
      ['NETWORK', 'OwnError', 'ECONNREFUSED', 1],
      ['NETWORK', 'OwnError', 'ECONNREFUSED', 1],
      ['HANDLER', 'OwnError', 'E_OWN', 1],
      ['NETWORK', 'ConnectionError', 'ECONNRESET', 3],
    ]);
    assert.deepEqual(failure(outcomes[2]).error.cause, {
      name: 'Error',
      message: 'As it was said.',
      code: 'E_OWN',
      cause: { name: 'Error', message: 'Deeper.' },
    });
  });
});

describe('what people are told', { concurrency: 2 }, () => {
  for (const locale of ['en', 'ko'] as const) {
    it(`stands in every failure (${locale})`, async (t) => {
      const { server, engine, answerWith } = await open(
        t,
        [{ ...rule({ status: 418 }, ['fail-fast', 'notify']), severity: 'critical', type: 'TeapotError' }],
        { locale },
      );
      answerWith({ 0: [418], 1: [404] });
      const { outcomes } = await engine.run(requests(server, 2));
      const [own, ours] = outcomes.map((outcome) => {
        const { type, severity, actions, userMessage } = failure(outcome).error;
        return { type, severity, actions, userMessage };
      });
      assert.deepEqual(own, {
        type: 'TeapotError',
        severity: 'critical',
        actions: ['fail-fast', 'notify'],
        userMessage: message[locale],
      });
      assert.deepEqual(ours, {
        type: 'NoDataError',
        severity: 'low',
        actions: ['notify', 'fail-fast'],
        userMessage: { en: 'There is no such data.', ko: '요청한 데이터를 찾을 수 없습니다.' }[locale],
      });
    });
  }
});

describe('notify', { concurrency: 2 }, () => {
  it('tells of items that fail for good with a rule that wants it, once each', async (t) => {
    const { server, engine, answerWith } = await open(t, [
      rule({ status: 500 }, ['wait', 'retry', 'notify']),
      rule({ status: 404 }, ['fail-fast']),
    ]);
    const told: EngineEvents['notify'][] = [];
    engine.on('notify', (event) => told.push(event));
    answerWith({ 0: [500, 500, 500], 1: [500, 500], 2: [404], 3: [401] });
    const { outcomes } = await engine.run(requests(server, 5));
    assert.deepEqual(ends(outcomes), ['HTTP_STATUS', 'ok', 'HTTP_STATUS', 'HTTP_STATUS', 'ok']);
    assert.deepEqual(
      told.sort((a, b) => a.index - b.index),
      [0, 3].map((index) => ({ batch: 1, index, error: failure(outcomes[index]).error })),
    );
  });
});

describe('trip-circuit', { concurrency: 2 }, () => {
  const circuit = { failureThreshold: 3, openMs: 60_000, whenOpen: 'fail' } as const;

  it('makes a failure count that would not', async (t) => {
    const { server, engine, answerWith } = await open(t, [rule({ status: 404 }, ['fail-fast', 'trip-circuit'])], {
      circuit,
      threads: 1,
      concurrency: 1,
    });
    answerWith({ 0: [404], 1: [404], 2: [404] });
    const { outcomes } = await engine.run(requests(server, 6));
    assert.deepEqual(tally(ends(outcomes)), { HTTP_STATUS: 3, CIRCUIT_OPEN: 3 });
    assert.deepEqual([engine.stats().circuit, server.arrived.length], ['open', 3]);
  });

  it('and a rule without it makes one not count that would', async (t) => {
    const { server, engine, answerWith } = await open(t, [rule({ status: 500 }, ['fail-fast'])], {
      circuit,
      threads: 1,
      concurrency: 1,
    });
    answerWith({ 0: [500], 1: [500], 2: [500], 3: [500] });
    const { outcomes } = await engine.run(requests(server, 6));
    assert.deepEqual(tally(ends(outcomes)), { HTTP_STATUS: 4, ok: 2 });
    assert.deepEqual([engine.stats().circuit, server.arrived.length], ['closed', 6]);
  });
});

describe('what may have been executed and must not be executed twice', { concurrency: 3 }, () => {
  const everything = rule({}, ['retry'], 9);

  it('is never sent again, whatever a rule says', async (t) => {
    const { server, engine } = await open(t, [everything]);
    server.onRequest = (request) => {
      if (request.item === '0') request.answer(500);
      else if (request.item === '1') request.answer(302);
      else request.reset();
    };
    const { outcomes, summary } = await engine.run(requests(server, 3, { method: 'POST', body: {} }));
    assert.deepEqual(ends(outcomes), ['HTTP_STATUS', 'ok', 'IN_DOUBT']);
    assert.ok([0, 2].every((index) => failure(outcomes[index]).error.possiblyExecuted));
    assert.deepEqual(tally(server.arrived), { 0: 1, 1: 1, 2: 1 });
    assert.equal(summary.retried, 0);
  });

  it('is never sent again after a timeout', async (t) => {
    const { server, engine } = await open(t, [everything], { timeoutMs: 500 });
    const running = engine.run(requests(server, 1, { method: 'POST', body: {} }));
    await server.waitFor(1);
    const { error } = failure((await running).outcomes[0]);
    assert.deepEqual([error.code, error.possiblyExecuted], ['IN_DOUBT', true]);
    assert.equal(server.arrived.length, 1);
  });

  it('not even by a handler that fails on its own, or ends its thread', async (t) => {
    for (const actions of [['retry'], ['refresh-credentials', 'retry']] as const) {
      const engine = openEngine<Fate>(t, fixture('rules'), {
        recovery: [rule({}, actions, 9)],
        threads: 1,
        concurrency: 1,
        credentials: 'old',
        onRefreshCredentials: () => 'new',
      });
      const { outcomes, summary } = await engine.run(
        [{ throws: {} }, { throws: { code: 'ECONNRESET' } }, { dies: true }],
        { idempotent: false },
      );
      const codes = ends(outcomes);
      assert.deepEqual([codes[0], codes[2]], ['HANDLER', 'IN_DOUBT']);
      assert.ok(outcomes.every((outcome) => failure(outcome).error.possiblyExecuted && outcome.attempts === 1));
      assert.equal(summary.requestsSent, 3);
      await engine.close();
    }
  });
});
