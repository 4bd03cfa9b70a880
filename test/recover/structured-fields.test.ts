import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { parseMembers } from '../../lib/recover/structured-fields.ts';

/** Each member as [name, value, parameters]. */
function parsed(text: string) {
  return parseMembers(text)?.map(({ name, value, params }) => [name, value, Object.fromEntries(params)]);
}

describe('parseMembers', () => {
  it('reads a list with parameters', () => {
    assert.deepEqual(parsed('"default";r=50;t=30'), [['"default"', undefined, { r: '50', t: '30' }]]);
    assert.deepEqual(parsed('"a"; q=100; w=60; pk=:cHsdsRa894==:,\t"b" , c;x;y=?0;z=@-5'), [
      ['"a"', undefined, { q: '100', w: '60', pk: ':cHsdsRa894==:' }],
      ['"b"', undefined, {}],
      ['c', undefined, { x: '?1', y: '?0', z: '@-5' }],
    ]);
    assert.deepEqual(parsed('100;w=60;comment="a \\"b\\", \\\\ c"'), [
      ['100', undefined, { w: '60', comment: '"a \\"b\\", \\\\ c"' }],
    ]);
  });

  it('reads a dictionary', () => {
    assert.deepEqual(parsed('limit=100, remaining=0, reset=50.5'), [
      ['limit', '100', {}],
      ['remaining', '0', {}],
      ['reset', '50.5', {}],
    ]);
  });

  it('gives back nothing of a field that is malformed anywhere', () => {
    for (const text of [
      '',
      ' ',
      ',',
      '"a",',
      '"a",,"b"',
      '"a"x',
      '"a',
      '"a\\x"',
      '"a" ;r=1',
      '"a";',
      '"a";R=1',
      '"a";r=',
      '"a";r=-',
      '"a";r=1;t=--1',
      'a=',
      'a=;b',
      '(a b)',
      ':a',
      '1234567890123456',
      '1.2345',
      '"ü"',
      '"a";r=0 "b"',
    ]) {
      assert.equal(parseMembers(text), undefined, text);
    }
  });

  it('holds names that objects have to heart as little as any', () => {
    const [member] = parseMembers('__proto__') ?? [];
    assert.equal(member, undefined);
    assert.equal(parseMembers('constructor;constructor=1;toString')?.length, undefined);
    assert.deepEqual([...(parseMembers('a;__proto__=1;constructor=2')?.[0]?.params ?? [])], []);
    assert.deepEqual([...(parseMembers('constructor;constructor=2')?.[0]?.params ?? [])], [['constructor', '2']]);
  });

  it('reads every field that can be written', () => {
    const string = fc.string({ unit: fc.constantFrom(...' !"\\,;=abcXYZ') });
    const quoted = string.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`);
    const bare = fc.oneof(
      quoted,
      fc.nat().map(String),
      fc.constantFrom('?1', 'tok/en:*', ':aGk=:', '1.5', '-3', '@0', '%"a"'),
    );
    const key = fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,5}$/);
    const member = fc.tuple(bare, fc.array(fc.tuple(key, bare), { maxLength: 4 }));
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 5 }), (members) => {
        const text = members.map(([name, params]) => name + params.map(([k, v]) => `;${k}=${v}`).join('')).join(', ');
        const expected = members.map(([name, params]) => [name, undefined, Object.fromEntries(params)]);
        assert.deepEqual(parsed(text), expected);
      }),
    );
  });

  it('takes any text, and reads nothing that is too long', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'"\\;=, ()ab01:?@%') }), (text) => void parseMembers(text)),
    );
    assert.equal(parseMembers(`"${'a'.repeat(1_000_000)}"`), undefined);
    assert.equal(parseMembers('a;b,'.repeat(2_047).concat('a'))?.length, 2_048);
  });
});
