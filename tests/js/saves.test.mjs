import assert from 'node:assert/strict';
import { test } from 'node:test';

import editor from './load.mjs';

const setUp = () => {
  const [sent, states, timers] = [[], [], new Map()];
  let count = 0;
  const saves = new editor.Saves({
    send: (parcel) => sent.push(parcel), changed: (state) => states.push(state),
    later: (act) => { timers.set(++count, act); return count; }, drop: (id) => timers.delete(id),
  });
  const ring = () => { const [[id, act]] = timers; timers.delete(id); act(); };
  return { saves, sent, states, timers, ring };
};
const item = (sentence, action, spans = []) => ({ sentence, action, spans });

test('one parcel at a time, in order, with the revision of the last answer', () => {
  const { saves, sent, states, timers } = setUp();
  saves.push(item(1, 'edit'), 4);
  saves.push(item(1, 'undo'), 4);
  saves.push(item(2, 'accept'), 0);
  assert.equal(sent.length, 1);
  assert.equal(sent[0].items[0].revision, 4);
  assert.equal(saves.unsaved, true);
  assert.equal(saves.answer({ parcel: 1, saved: [[1, 5, 'changed']] }), true);
  assert.deepEqual(sent[1].items.map((i) => [i.sentence, i.action, i.revision]),
    [[1, 'undo', 5], [2, 'accept', 0]]);
  saves.answer({ parcel: 2, saved: [[1, 6, 'open'], [2, 1, 'accepted']] });
  assert.equal(saves.unsaved, false);
  assert.equal(states.at(-1), 'saved');
  assert.equal(timers.size, 0);
});

test('without an answer the last state of each sentence is sent again, until there is one', () => {
  const { saves, sent, states, ring } = setUp();
  saves.push(item(1, 'edit', [[0, 1, 'a']]), 0);
  saves.push(item(1, 'edit', [[0, 2, 'a']]), 0);
  saves.push(item(2, 'edit'), 0);
  ring();
  assert.equal(states.at(-1), 'again');
  assert.deepEqual(sent[1].items.map((i) => i.spans), [[[0, 2, 'a']]]);
  ring();
  assert.equal(sent.length, 3);
  // The first answer to any of the tries counts; later ones are nobody's.
  assert.equal(saves.answer({ parcel: 2, saved: [[1, 1, 'changed']] }), true);
  assert.equal(saves.answer({ parcel: 3, saved: [[1, 1, 'changed']] }), false);
  assert.deepEqual(sent[3].items.map((i) => i.sentence), [2]);
});

test('a server that cannot write just now is asked again', () => {
  const { saves, sent, states, ring } = setUp();
  saves.push(item(1, 'edit'), 0);
  saves.answer({ parcel: 1, again: true });
  assert.equal(states.at(-1), 'again');
  assert.equal(saves.unsaved, true);
  ring();
  assert.equal(sent.length, 2);
  saves.answer({ parcel: 2, saved: [[1, 1, 'changed']] });
  assert.equal(saves.unsaved, false);
});

test('a sentence in conflict waits, others go on; settled, it goes out over the other version', () => {
  const { saves, sent } = setUp();
  saves.push(item(1, 'edit'), 0);
  saves.answer({ parcel: 1, conflicts: [{ sentence: 1, revision: 3 }] });
  saves.push(item(1, 'edit'), 0);
  saves.push(item(2, 'edit'), 0);
  assert.deepEqual(sent.slice(1).map((p) => p.items[0].sentence), [2]);
  saves.answer({ parcel: 2, saved: [[2, 1, 'changed']] });
  saves.settle(1, 3);
  assert.equal(saves.unsaved, false);
  saves.push({ ...item(1, 'edit'), force: true }, 3);
  assert.deepEqual([sent.at(-1).items[0].revision, sent.at(-1).items[0].force], [3, true]);
});

test('what the server refuses is dropped and does not hold up the rest', () => {
  const { saves, sent } = setUp();
  saves.push(item(1, 'edit'), 0);
  saves.push(item(1, 'edit'), 0);
  saves.push(item(2, 'edit'), 0);
  saves.answer({ parcel: 1, failed: [{ sentence: 1, said: 'gone' }] });
  assert.deepEqual(sent[1].items.map((i) => i.sentence), [2]);
});
