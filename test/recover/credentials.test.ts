import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { afterEach, describe, it, mock } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { EngineClosedError } from '../../lib/errors.ts';
import { Credentials, type RefreshRequest } from '../../lib/recover/credentials.ts';

const TIMEOUT_MS = 60_000;

function open(refresh?: (request: RefreshRequest) => unknown, initial: unknown = 'old') {
  const settled: [string, boolean][] = [];
  const onSettled = (reason: string, ok: boolean) => settled.push([reason, ok]);
  return { settled, credentials: new Credentials({ initial, refresh, timeoutMs: TIMEOUT_MS, onSettled }) };
}

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

afterEach(() => mock.timers.reset());

describe('Credentials', () => {
  it('are missing where there are none and somebody can get them', () => {
    const hook = () => 'new';
    for (const [refresh, initial, areMissing] of [
      [hook, 'old', false],
      [hook, null, false],
      [hook, undefined, true],
      [undefined, 'old', false],
      [undefined, undefined, false],
    ] as const) {
      const credentials = new Credentials({ initial, refresh, timeoutMs: TIMEOUT_MS, onSettled: () => {} });
      assert.equal(credentials.areMissing, areMissing);
      assert.equal(credentials.canRefresh, refresh !== undefined);
      assert.equal(credentials.current, initial);
    }
  });

  it('are what the hook returned last, cloned', async () => {
    const fresh = { token: 'new' };
    const requests: RefreshRequest[] = [];
    const { credentials, settled } = open((request) => {
      requests.push(request);
      return fresh;
    });
    const before = timers();
    await credentials.refresh('refused');
    assert.deepEqual([credentials.current, credentials.refreshes, settled], [fresh, 1, [['refused', true]]]);
    assert.notEqual(credentials.current, fresh);
    await credentials.refresh('requested');
    assert.equal(credentials.refreshes, 2);
    assert.deepEqual(
      requests.map(({ reason, signal }) => [reason, signal.aborted]),
      [
        ['refused', false],
        ['requested', false],
      ],
    );
    assert.equal(timers(), before, 'no timer is left');
  });

  it('are asked for one at a time', async () => {
    const steps: string[] = [];
    const { credentials } = open(async ({ reason }) => {
      steps.push(`ask ${reason}`);
      await nextTurn();
      steps.push(`give ${reason}`);
      return reason;
    });
    await Promise.all([credentials.refresh('initial'), credentials.refresh('refused')]);
    assert.deepEqual(steps, ['ask initial', 'give initial', 'ask refused', 'give refused']);
    assert.equal(credentials.current, 'refused');
  });

  it('stay what they were when the hook fails, however it does', async () => {
    const why = new Error('No.');
    const throwing = () => {
      throw why;
    };
    for (const hook of [throwing, async () => throwing()]) {
      const { credentials, settled } = open(hook);
      const before = timers();
      await assert.rejects(credentials.refresh('refused'), (error) => error === why);
      assert.deepEqual([credentials.current, credentials.refreshes, settled], ['old', 0, [['refused', false]]]);
      assert.equal(timers(), before);
    }
    const secret = () => 'secret 4711';
    for (const value of [undefined, secret]) {
      const { credentials, settled } = open(() => value);
      await assert.rejects(credentials.refresh('initial'), (error: unknown) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, value === undefined ? /returned nothing/ : /cannot be cloned/);
        assert.doesNotMatch(error.message, /4711/);
        return true;
      });
      assert.deepEqual([credentials.current, settled], ['old', [['initial', false]]]);
    }
    await assert.rejects(open().credentials.refresh('initial'), TypeError);
  });

  it('are waited for only so long, whether the hook heeds its signal or not', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    let signal: AbortSignal | undefined;
    let give: ((fresh: unknown) => void) | undefined;
    const { credentials, settled } = open((request) => {
      signal = request.signal;
      return new Promise((resolve) => (give = resolve));
    });
    const asked = credentials.refresh('refused');
    const outcome = asked.catch((error: unknown) => error);
    await nextTurn();
    mock.timers.tick(TIMEOUT_MS - 1);
    await nextTurn();
    assert.deepEqual([settled, signal?.aborted], [[], false]);
    mock.timers.tick(1);
    const error = await outcome;
    assert.ok(error instanceof Error && /longer than 60000 ms/.test(error.message));
    assert.equal(signal?.reason, error);
    give?.('late');
    await nextTurn();
    assert.deepEqual([credentials.current, settled], ['old', [['refused', false]]]);
  });

  it('are waited for no more when the engine is closed, before or meanwhile', async () => {
    let signal: AbortSignal | undefined;
    const hook = (request: RefreshRequest) => {
      signal = request.signal;
      return new Promise(() => {});
    };
    const meanwhile = open(hook);
    const asked = assert.rejects(meanwhile.credentials.refresh('refused'), EngineClosedError);
    await nextTurn();
    assert.equal(signal?.aborted, false);
    meanwhile.credentials.close();
    await asked;
    assert.ok(signal?.reason instanceof EngineClosedError);
    const before = open(hook);
    before.credentials.close();
    await assert.rejects(before.credentials.refresh('refused'), EngineClosedError);
    assert.ok(signal.aborted);
    assert.deepEqual(before.settled, [['refused', false]]);
  });

  it('listen to the engine only while they are asked for', async () => {
    const signals: RefreshRequest[] = [];
    const { credentials } = open((request) => {
      signals.push(request);
      return 'new';
    });
    await credentials.refresh('refused');
    credentials.close();
    assert.equal(signals[0]?.signal.aborted, false);
  });

  it('know if they are asked for from inside the hook, while that is at work', async () => {
    const seen: [who: string, isInside: boolean][] = [];
    const note = (who: string) => seen.push([who, credentials.isInsideHook]);
    let asFirst: (() => void) | undefined;
    const { credentials } = open(async ({ reason }) => {
      // Code of the first hook that is still at work when the second one is asked.
      if (reason === 'initial') asFirst = AsyncResource.bind(() => note('leftover'));
      else asFirst?.();
      note(reason);
      await nextTurn();
      note(reason);
      return 'new';
    });
    note('before');
    const asked = credentials.refresh('initial');
    note('meanwhile');
    await asked;
    asFirst?.();
    await credentials.refresh('refused');
    note('after');
    assert.deepEqual(seen.sort(), [
      ['after', false],
      ['before', false],
      ['initial', true],
      ['initial', true],
      ['leftover', false],
      ['leftover', false],
      ['meanwhile', false],
      ['refused', true],
      ['refused', true],
    ]);
  });
});
