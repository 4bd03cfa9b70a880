import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveOptions } from '../../lib/resolve-options.ts';
import { settingsOf } from '../../lib/statistics/settings.ts';

const SECRET = 'S3CR3T';

test('settings are the options as they were resolved', () => {
  const options = resolveOptions({ threads: 2, rate: { limit: 20, windowMs: 1000 } }, process.cwd());
  const settings = settingsOf(options);
  assert.equal(settings.handler, 'http');
  assert.equal(settings.threads, 2);
  assert.equal(settings.concurrency, options.concurrency);
  assert.deepEqual(settings.retry, options.retry);
  assert.deepEqual(settings.circuit, options.circuit);
  // JSON would make null of it.
  assert.deepEqual(settings.rate, [{ ...options.rate[0], arrivalWithinMs: 'Infinity' }]);
  assert.deepEqual(JSON.parse(JSON.stringify(settings)), settings);
});

test('settings hold nothing that may be secret', () => {
  const options = resolveOptions(
    {
      handler: new URL(`../engine/fixtures/echo.js?key=${SECRET}#${SECRET}`, import.meta.url),
      handlerData: { key: SECRET },
      credentials: { headers: { authorization: SECRET } },
      onRefreshCredentials: () => SECRET,
      http: {
        baseUrl: `https://user:${SECRET}@api.example.com/`,
        headers: { authorization: SECRET },
        proxy: `http://user:${SECRET}@proxy.example.com:8080`,
        tls: { key: SECRET, cert: SECRET, passphrase: SECRET },
        dispatcher: `data:text/javascript,${SECRET}`,
        connections: 3,
      },
      recovery: [
        {
          type: 'Own',
          when: { upstreamCode: SECRET },
          severity: 'low',
          actions: [],
          message: { ko: SECRET, en: SECRET },
        },
      ],
    },
    process.cwd(),
  );
  const settings = settingsOf(options);
  assert.deepEqual(settings.http, { connections: 3 });
  assert.deepEqual(settings.recovery, ['Own']);
  assert.ok(String(settings.handler).endsWith('/fixtures/echo.js'));
  assert.doesNotMatch(JSON.stringify(settings), new RegExp(SECRET));
  const inline = resolveOptions({ handler: `data:text/javascript,${SECRET}` }, process.cwd());
  assert.equal(settingsOf(inline).handler, 'data:');
});
