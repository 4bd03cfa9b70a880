import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  parseTraceLine,
  type TraceLine,
  TraceLineError,
  type TraceVerdict,
  traceLine,
} from '../../lib/audit/trace-line.ts';
import type { TracedRequest } from '../../lib/shared/trace-cells.ts';

const NAMES = { batch: 1, item: 2, attempt: 1, thread: 3, verdict: 'ok' };
const parse = (fields: object) => parseTraceLine(JSON.stringify({ ...NAMES, ...fields }));

describe('traceLine', () => {
  const who = { batch: 1, item: 2, attempt: 3, thread: 4 };
  const times = { position: 5, request: 0, fromNs: 6n, sentNs: undefined, endNs: undefined, isAnswered: false };
  const cases: readonly (readonly [traced: TracedRequest | undefined, fields: Partial<TraceLine>])[] = [
    [undefined, {}],
    [
      { ...times, endNs: 7n },
      { startedNs: '6', abandonedNs: '7' },
    ],
    [
      { ...times, request: 8, sentNs: 9_007_199_254_740_993n, endNs: 2n ** 62n, isAnswered: true },
      { request: 8, startedNs: '6', sentNs: '9007199254740993', answeredNs: '4611686018427387904' },
    ],
  ];
  for (const [traced, fields] of cases) {
    it(`writes the fields of TraceLine: ${Object.keys(fields).join(', ') || 'no times'}`, () => {
      const text = traceLine({ ...who, verdict: 'lost', traced });
      assert.deepEqual(JSON.parse(text), { ...who, ...fields, verdict: 'lost' });
    });
  }

  it('writes nothing that cannot be read', () => {
    const verdicts: TraceVerdict[] = ['fatal', 'retry', 'cancelled', 'aborted', 'not-started', 'lost'];
    for (const verdict of verdicts) {
      assert.equal(parseTraceLine(traceLine({ ...who, verdict, traced: undefined })).kind, 'attempt');
    }
  });
});

describe('parseTraceLine', () => {
  it('reads each way in which a request can begin and end', () => {
    for (const [begin, fromNs, sentNs] of [
      [{ startedNs: '5' }, 5n, undefined],
      [{ startedNs: '5', sentNs: '6' }, 5n, 6n],
      [{ sentNs: '6' }, 6n, 6n],
    ] as const) {
      for (const [end, isAnswered] of [
        ['answeredNs', true],
        ['abandonedNs', false],
      ] as const) {
        assert.deepEqual(parse({ ...begin, [end]: '7' }), {
          kind: 'attempt',
          isFirst: true,
          times: { fromNs, sentNs, endNs: 7n, isAnswered },
        });
      }
    }
  });

  it('reads times exactly that no Number can hold', () => {
    const entry = parse({ sentNs: '9007199254740993', answeredNs: '999999999999999999' });
    assert.ok(entry.kind === 'attempt');
    assert.equal(entry.times?.fromNs, 9_007_199_254_740_993n);
    assert.equal(entry.times?.endNs, 999_999_999_999_999_999n);
  });

  it('knows attempts that sent nothing, and further requests of an attempt', () => {
    assert.deepEqual(parse({ verdict: 'not-started' }), { kind: 'attempt', isFirst: true, times: undefined });
    const further = parse({ request: 1, sentNs: '1', answeredNs: '1' });
    assert.ok(further.kind === 'attempt');
    assert.equal(further.isFirst, false);
  });

  it('needs only the times, and ignores what it does not know', () => {
    assert.equal(parseTraceLine('{"sentNs":"1","answeredNs":"2","color":"red"}').kind, 'attempt');
  });

  it('reads the first and the last line', () => {
    assert.deepEqual(parseTraceLine('{"trace":"start","version":1}'), { kind: 'start' });
    assert.deepEqual(parseTraceLine('{"trace":"end","lines":4}'), { kind: 'end', lines: 4 });
  });

  const malformed: readonly (readonly [text: string, message: RegExp])[] = [
    ['{"sentNs":"1"', /not JSON/],
    ['', /not JSON/],
    ['null', /not a JSON object/],
    ['[]', /not a JSON object/],
    ['"sentNs"', /not a JSON object/],
    ['{"sentNs":"1"}', /neither "answeredNs" nor "abandonedNs"/],
    ['{"answeredNs":"1"}', /neither "sentNs" nor "startedNs"/],
    ['{"startedNs":"2","sentNs":"1","answeredNs":"3"}', /sent before it starts/],
    ['{"startedNs":"1","sentNs":"3","answeredNs":"2"}', /ends before it starts/],
    ['{"sentNs":"1","answeredNs":"2","abandonedNs":"2"}', /"answeredNs" and "abandonedNs"/],
    ['{"sentNs":"2","answeredNs":"1"}', /ends before it starts/],
    ['{"sentNs":1,"answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"1","answeredNs":1e400}', /"answeredNs" is not a string/],
    ['{"sentNs":["1"],"answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"1\\n","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"1","answeredNs":"٢"}', /"answeredNs" is not a string/],
    ['{}', /no times, and no "verdict"/],
    ['{"sent":"1","answered":"2"}', /no times, and no "verdict"/],
    ['{"verdict":"ok"}', /no times, and no "verdict"/],
    ['{"verdict":"refused"}', /no times, and no "verdict"/],
    ['{"verdict":"toString"}', /no times, and no "verdict"/],
    ['{"__proto__":{"sentNs":"1","answeredNs":"2"}}', /no times, and no "verdict"/],
    ['{"__proto__":{"verdict":"lost"}}', /no times, and no "verdict"/],
    ['{"sentNs":"-1","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"0x1","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"1","abandonedNs":"1.5"}', /"abandonedNs" is not a string/],
    ['{"sentNs":"1","answeredNs":"1000000000000000000"}', /"answeredNs" is not a string of up to 18/],
    ['{"sentNs":"1","answeredNs":null}', /"answeredNs" is not a string/],
    ['{"trace":"start","version":2}', /not of version 1/],
    ['{"trace":"start"}', /not of version 1/],
    ['{"trace":null,"verdict":"lost"}', /neither a start nor an end/],
    ['{"trace":"end","lines":"4"}', /neither a start nor an end/],
    ['{"trace":"end"}', /neither a start nor an end/],
    ['{"trace":"middle"}', /neither a start nor an end/],
  ];
  for (const [text, message] of malformed) {
    it(`refuses ${text === '' ? 'an empty line' : text}`, () => {
      assert.throws(
        () => parseTraceLine(text),
        (error) => error instanceof TraceLineError && message.test(error.message),
      );
    });
  }
});
