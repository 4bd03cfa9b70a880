import assert from 'node:assert/strict';
import type { RecoveryRule } from '../../lib/types.ts';

/** Every rule has a name like that of a class, and tells people something in both languages, without blanks to fill in. */
export function assertReadable(rules: readonly RecoveryRule[]): void {
  for (const { type, message } of rules) {
    assert.match(type, /^[A-Z][A-Za-z]+$/);
    assert.deepEqual(Object.keys(message).sort(), ['en', 'ko'], type);
    for (const text of Object.values(message)) {
      assert.equal(text.trim(), text, type);
      assert.doesNotMatch(text, /[{}<>$%_[\]]|TODO|XXX|undefined/, type);
      assert.match(text, /\.$/, type);
    }
    assert.match(message.en, /^[A-Z][\x20-\x7e]+$/, type);
    assert.match(message.ko, /[가-힣]/, type);
    assert.doesNotMatch(message.ko, /[a-z]/, type);
    // Polite, or a mere heading that says what is being done.
    assert.match(message.ko, /(?:니다|요|중\.\.)\.$/, type);
  }
}
