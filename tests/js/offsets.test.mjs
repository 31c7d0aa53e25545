import assert from 'node:assert/strict';
import { test } from 'node:test';

import editor from './load.mjs';

const { Text } = editor;
const surface = (text, range) => range && text.slice(range);

test('code points and units are told apart', () => {
  const text = new Text('a😀b🇸🇮c');
  assert.equal(text.toUnit(2), 3);
  assert.equal(text.toPoint(3), 2);
  assert.equal(text.toPoint(2), 1); // inside of the emoji
  assert.equal(text.toUnit(6), text.length);
  assert.equal(text.toPoint(text.length), 6);
  assert.equal(new Text('plain').toPoint(3), 3);
});

test('a selection grows to whole words', () => {
  const text = new Text('Ada met Grace, in  Bled.');
  assert.equal(surface(text, text.snap(1, 6)), 'Ada met');
  assert.equal(surface(text, text.snap(3, 6)), 'met');
  assert.equal(surface(text, text.snap(17, 19)), null);
  assert.equal(surface(text, text.snap(0, text.length)), 'Ada met Grace, in  Bled.');
});

test('with Shift a selection keeps to letters and drops spaces', () => {
  const text = new Text('a\u0301b \t c\n');
  assert.equal(surface(text, text.letters(1, 2)), 'a\u0301');
  assert.equal(surface(text, text.letters(2, 6)), 'b');
  assert.equal(text.letters(3, 5), null);
  const family = new Text('x👨‍👩‍👧y');
  assert.equal(surface(family, family.letters(2, 4)), '👨‍👩‍👧');
});

test('languages without spaces have words, too', () => {
  const text = new Text('東京都に住む。');
  const word = text.snap(0, 1);
  assert.ok(word.end < text.length);
  assert.ok(text.words.length > 2);
  assert.equal(new Text('สวัสดีครับ').words.length > 1, true);
});

test('edges step by words and by letters, and stop at the ends', () => {
  const text = new Text('Ada met Grace');
  assert.equal(text.step('end', 3, 1), 7);
  assert.equal(text.step('end', 3, 1, true), 5);
  assert.equal(text.step('end', 13, 1), 13);
  assert.equal(text.step('start', 8, -1), 4);
  assert.equal(text.step('start', 0, -1), 0);
  assert.equal(text.step('start', 4, 1, true), 5);
});

test('a dragged edge takes the nearest border of a word', () => {
  const text = new Text('Ada met Grace');
  assert.equal(text.nearest('end', 6, false), 7);
  assert.equal(text.nearest('end', 4, false), 3);
  assert.equal(text.nearest('start', 7, false), 8);
  assert.equal(text.nearest('start', 6, true), 6);
});

test('letters that are read from the right are known', () => {
  const text = new Text('ab שלום');
  assert.equal(text.rtlAt(0), false);
  assert.equal(text.rtlAt(3), true);
});

test('an empty text and one of spaces have no words', () => {
  for (const words of ['', ' \t\n']) {
    const text = new Text(words);
    assert.equal(text.snap(0, words.length), null);
    assert.equal(text.letters(0, words.length), null);
    assert.equal(text.wordAt(0), null);
  }
});
