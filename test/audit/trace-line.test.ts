import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseTraceLine, TraceLineError } from '../../lib/audit/trace-line.ts';

const NAMES = { batch: 1, item: 2, attempt: 1, thread: 3, verdict: 'ok' };
const parse = (fields: object) => parseTraceLine(JSON.stringify({ ...NAMES, ...fields }));

describe('parseTraceLine', () => {
  it('reads each way in which a request can begin and end', () => {
    for (const [from, isSendingKnown] of [
      ['sentNs', true],
      ['startedNs', false],
    ] as const) {
      for (const [end, isAnswered] of [
        ['answeredNs', true],
        ['abandonedNs', false],
      ] as const) {
        assert.deepEqual(parse({ [from]: '5', [end]: '7' }), {
          kind: 'attempt',
          isFirst: true,
          times: { fromNs: 5n, isSendingKnown, endNs: 7n, isAnswered },
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
    ['{"sentNs":"1","startedNs":"1","answeredNs":"2"}', /"sentNs" and "startedNs"/],
    ['{"sentNs":"1","answeredNs":"2","abandonedNs":"2"}', /"answeredNs" and "abandonedNs"/],
    ['{"sentNs":"2","answeredNs":"1"}', /ends before it starts/],
    ['{"sentNs":1,"answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"-1","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"0x1","answeredNs":"2"}', /"sentNs" is not a string/],
    ['{"sentNs":"1","abandonedNs":"1.5"}', /"abandonedNs" is not a string/],
    ['{"sentNs":"1","answeredNs":"1000000000000000000"}', /"answeredNs" is not a string of up to 18/],
    ['{"sentNs":"1","answeredNs":null}', /"answeredNs" is not a string/],
    ['{"trace":"start","version":2}', /not of version 1/],
    ['{"trace":"start"}', /not of version 1/],
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
