import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { itemsUpTo, Stage } from './played-threads.ts';

describe('work slots', () => {
  it('that dying threads hold are waited for, and nothing is lost meanwhile', () => {
    // 16 slots; a fifth thread comes while the other four still hold all of them.
    const stage = new Stage([4, 4, 4, 4, 8]);
    const successor = stage.thread(4);
    successor.state = 'starting';
    const played = stage.run(itemsUpTo(24));
    assert.equal(stage.given.length, 16);
    const dying = stage.threads.slice(0, 4);
    for (const thread of dying) thread.state = 'dying';
    successor.state = 'ready';
    stage.dispatcher.pump();
    assert.equal(stage.given.length, 16, 'there is no room');

    stage.lose(stage.thread(0));
    assert.equal(stage.given.length, 20, 'there is again, as soon as one is gone');
    for (const thread of dying.slice(1)) stage.lose(thread);
    for (let number = 16; number < stage.given.length; number++) stage.finish(number);
    assert.deepEqual(
      played.results,
      itemsUpTo(24).map((_, index) => [index, 'ok']),
    );
  });
});
