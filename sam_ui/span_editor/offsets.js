// Offsets. Python counts code points, JavaScript UTF-16 units: the editor counts units everywhere,
// and `Text` converts at the border. A mention begins and ends where a letter does for a reader: no
// emoji is cut in two, no accent loses its letter, no space hangs on.

const SPACE = /^\s+$/u;
const RTL = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

const segmenters = {};

// [{start, end}] of a text; the pieces cover it without gaps.
const pieces = (text, granularity) => {
  const found = [];
  if (globalThis.Intl?.Segmenter) {
    segmenters[granularity] ??= new Intl.Segmenter(undefined, { granularity });
    for (const { segment, index } of segmenters[granularity].segment(text)) {
      found.push({ start: index, end: index + segment.length });
    }
    return found;
  }
  // Browsers of before 2024: a letter with its marks, or a run of letters.
  const pattern = granularity === 'word' ? /[\p{L}\p{N}\p{M}]+|\s+|[^]\p{M}*/gu : /[^]\p{M}*/gu;
  for (const { 0: segment, index } of text.matchAll(pattern)) {
    found.push({ start: index, end: index + segment.length });
  }
  return found;
};

// Index of the first of the ascending `values` that is not below `value`.
const lowest = (values, value) => {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
};

class Text {
  constructor(text) {
    this.text = text;
    this.length = text.length;
    // Unit at which each code point starts, one more for the end; null when the two are the same.
    this.units = null;
    if (/[\ud800-\udbff]/.test(text)) {
      this.units = [];
      let unit = 0;
      for (const point of text) {
        this.units.push(unit);
        unit += point.length;
      }
      this.units.push(unit);
    }
    const letters = pieces(text, 'grapheme').filter((l) => !SPACE.test(text.slice(l.start, l.end)));
    this.letterStarts = letters.map((l) => l.start);
    this.letterEnds = letters.map((l) => l.end);
    // A piece of the word kind may cut a letter as the reader sees it (keycaps, flags): widen it.
    this.words = [];
    for (const { start, end } of pieces(text, 'word')) {
      const range = this.letters(start, end);
      const last = this.words[this.words.length - 1];
      if (!range) continue;
      if (last && range.start < last.end) last.end = Math.max(last.end, range.end);
      else this.words.push(range);
    }
    this.wordStarts = this.words.map((w) => w.start);
    this.wordEnds = this.words.map((w) => w.end);
  }

  toUnit(point) {
    return this.units ? this.units[Math.min(point, this.units.length - 1)] : point;
  }

  // Inside of a pair of surrogates counts as before it.
  toPoint(unit) {
    if (!this.units) return unit;
    const at = lowest(this.units, unit);
    return this.units[at] === unit ? at : at - 1;
  }

  slice({ start, end }) {
    return this.text.slice(start, end);
  }

  // The range made to begin and end with whole letters that are no spaces; null without any.
  letters(start, end) {
    const first = this.#after(this.letterEnds, start);
    const last = lowest(this.letterStarts, end) - 1;
    if (first > last) return null;
    return { start: this.letterStarts[first], end: this.letterEnds[last] };
  }

  // The range widened to the words that it touches; null where it touches none.
  snap(start, end) {
    const first = this.#after(this.wordEnds, start);
    const last = lowest(this.wordStarts, end) - 1;
    if (first > last) return null;
    return { start: this.wordStarts[first], end: this.wordEnds[last] };
  }

  // The word at or next to a unit; null in a text without words.
  wordAt(unit) {
    if (!this.words.length) return null;
    const at = Math.min(lowest(this.wordEnds, unit), this.words.length - 1);
    const next = this.words[at + 1];
    return next && next.start === unit ? { ...next } : { ...this.words[at] };
  }

  // Where an edge goes that is moved by one: `edge` "start" or "end", `by` -1 or 1, `fine` by letters.
  step(edge, unit, by, fine) {
    const kind = fine ? 'letter' : 'word';
    const stops = this[kind + (edge === 'start' ? 'Starts' : 'Ends')];
    const at = by < 0 ? lowest(stops, unit) - 1 : this.#after(stops, unit);
    return stops[at] ?? unit;
  }

  // The allowed place of an edge that is nearest to a unit.
  nearest(edge, unit, fine) {
    const stops = this[(fine ? 'letter' : 'word') + (edge === 'start' ? 'Starts' : 'Ends')];
    if (!stops.length) return unit;
    const at = lowest(stops, unit);
    const [before, after] = [stops[at - 1], stops[at]];
    if (before === undefined) return after;
    if (after === undefined) return before;
    return unit - before <= after - unit ? before : after;
  }

  rtlAt(unit) {
    const at = lowest(this.letterEnds, unit + 1);
    return RTL.test(this.text.slice(this.letterStarts[at], this.letterEnds[at]));
  }

  // Index of the first of the ascending `values` that is above `value`.
  #after(values, value) {
    return lowest(values, value + 1);
  }
}
