import assert from 'node:assert/strict';
import { test } from 'node:test';

import editor from './load.mjs';

const { Doc, added, changed, joined, levelsOf, newSpan, removed, repeats, split, cutNear } = editor;
const WORDS = 'Ada Byron met Grace Hopper in Bled and Bled again.';
const doc = (more = {}) => new Doc({
  id: 7, text: WORDS, revision: 0, status: 'open',
  spans: [[0, 9, 'person', 0.9, ['Law']], [30, 34, 'place', 0.41]],
  predicted: [[0, 9, 'person', 0.9, ['Law']], [30, 34, 'place', 0.41]],
  ...more,
});
const bare = (spans) => spans.map(({ start, end, label }) => [start, end, label]);

test('adding keeps the order and refuses what is there', () => {
  const { spans } = doc();
  const more = added(spans, { start: 14, end: 26 }, 'person');
  assert.deepEqual(bare(more), [[0, 9, 'person'], [14, 26, 'person'], [30, 34, 'place']]);
  assert.equal(added(more, { start: 14, end: 26 }, 'person'), null);
  assert.equal(added(spans, { start: 0, end: 3 }, 'person').length, 3);
  assert.equal(added(spans, { start: 0, end: 3 }, 'person', { apart: true }).length, 2);
});

test('a span that is moved or renamed keeps its identity and loses its number', () => {
  const { spans } = doc();
  const [first] = spans;
  const moved = changed(spans, first.id, { end: 3 });
  assert.equal(moved[0].id, first.id);
  assert.equal(moved[0].label, 'person');
  assert.equal(moved[0].score, null);
  assert.equal(changed(spans, first.id, { end: 9 }), null);
  assert.equal(changed(spans, first.id, { end: 0 }), null);
  assert.equal(changed(spans, first.id, { end: 34 }, { apart: true }), null);
  assert.equal(changed(spans, first.id, { label: 'ship' })[0].label, 'ship');
});

test('split and join are each other’s reverse, without spaces at the cut', () => {
  const one = doc();
  const [first] = one.spans;
  const unit = cutNear(first, one.text, null);
  const two = split(one.spans, first.id, unit, one.text);
  assert.deepEqual(bare(two).slice(0, 2), [[0, 3, 'person'], [4, 9, 'person']]);
  assert.deepEqual(bare(joined(two, two.slice(0, 2).map(({ id }) => id)))[0], [0, 9, 'person']);
  assert.equal(split(one.spans, one.spans[1].id, 30, one.text), null);
  assert.equal(cutNear(one.spans[1], one.text, null), null);
});

test('overlapping spans lie on lines of their own', () => {
  const spans = [newSpan(0, 20, 'a'), newSpan(0, 5, 'b'), newSpan(4, 9, 'c'), newSpan(6, 8, 'd')];
  assert.deepEqual([...levelsOf(spans).values()], [0, 1, 2, 1]);
});

test('the same words elsewhere are found at borders of words', () => {
  const one = doc({ text: 'Bled, Bleda and Bled', spans: [[0, 4, 'place']], predicted: [] });
  assert.deepEqual(repeats(one.spans, one.spans[0], 'place', one.text), [{ start: 16, end: 20 }]);
});

test('a thousand steps back and forth end where they began', () => {
  const one = doc();
  const before = bare(one.spans);
  for (let i = 0; i < 60; i += 1) {
    one.apply(added(one.spans, { start: i % 40, end: i % 40 + 1 + i }, `t${i}`), `step ${i}`);
  }
  const after = bare(one.spans);
  for (let round = 0; round < 8; round += 1) {
    for (let i = 59; i >= 0; i -= 1) assert.equal(one.undo(), `step ${i}`);
    assert.equal(one.undo(), null);
    assert.deepEqual(bare(one.spans), before);
    assert.equal(one.status, 'open');
    for (let i = 0; i < 60; i += 1) assert.equal(one.undo(true), `step ${i}`);
    assert.equal(one.undo(true), null);
    assert.deepEqual(bare(one.spans), after);
  }
});

test('a span of the model that is back has its number back', () => {
  const one = doc();
  const [first] = one.spans;
  one.apply(removed(one.spans, [first.id]), 'away');
  one.apply(added(one.spans, { start: 0, end: 9 }, 'person'), 'back');
  assert.equal(one.spans[0].score, 0.9);
  assert.deepEqual(one.spans[0].voters, ['Law']);
});

test('accepting says whether anything differs from what the model found', () => {
  const one = doc();
  one.accept('yes');
  assert.equal(one.status, 'accepted');
  one.undo();
  assert.equal(one.status, 'open');
  one.apply(removed(one.spans, [one.spans[0].id]), 'away');
  one.accept('yes');
  assert.equal(one.status, 'changed');
});

test('offsets go in and out as code points', () => {
  const one = doc({ text: '😀 Bled 🇸🇮 Bled', spans: [[2, 6, 'place'], [10, 14, 'place']], predicted: [] });
  assert.deepEqual(one.spans.map((span) => one.text.slice(span)), ['Bled', 'Bled']);
  assert.deepEqual(one.packed(), [[2, 6, 'place'], [10, 14, 'place']]);
});
