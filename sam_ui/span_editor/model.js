// What is marked in one sentence, and every step back and forth. Pure: no DOM, nothing is sent.
// Spans are {id, start, end, label, score, voters}: units of the text, half-open; they are never
// changed, only replaced, so that a state of the past is a list.

const KEPT = 500; // steps that can be taken back

let spanCount = 0;
const newSpan = (start, end, label, score = null, voters = []) => (
  { id: ++spanCount, start, end, label, score, voters });
const overlap = (a, b) => a.start < b.end && b.start < a.end;
const sameRange = (a, b) => a.start === b.start && a.end === b.end;
const sameSpan = (a, b) => sameRange(a, b) && a.label === b.label;
const inOrder = (spans) => [...spans].sort((a, b) => a.start - b.start || b.end - a.end
  || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0));
const alike = (a, b) => a.length === b.length && a.every((span, i) => sameSpan(span, b[i]));

// For each span the lowest line that is free all along it: 0 is the text itself.
const levelsOf = (spans) => {
  const ends = [];
  return new Map(inOrder(spans).map((span) => {
    let level = ends.findIndex((end) => end <= span.start);
    if (level < 0) level = ends.length;
    ends[level] = span.end;
    return [span.id, level];
  }));
};

// ---- changes: each gives the new list, or null when nothing would change --------------------

const added = (spans, range, label, { apart = false } = {}) => {
  if (spans.some((span) => sameRange(span, range) && span.label === label)) return null;
  const rest = apart ? spans.filter((span) => !overlap(span, range)) : spans;
  return inOrder([...rest, newSpan(range.start, range.end, label)]);
};
const removed = (spans, ids) => {
  const rest = spans.filter((span) => !ids.includes(span.id));
  return rest.length < spans.length ? rest : null;
};
const changed = (spans, id, change, { apart = false } = {}) => {
  const old = spans.find((span) => span.id === id);
  if (!old) return null;
  const made = { ...old, ...change, score: null, voters: [] };
  if (made.start >= made.end || sameSpan(made, old)) return null;
  const rest = spans.filter((span) => span.id !== id);
  if (rest.some((span) => sameSpan(span, made))) return null;
  if (apart && rest.some((span) => overlap(span, made))) return null;
  return inOrder([...rest, made]);
};
// Two spans of the same type in place of one, without the spaces between them.
const split = (spans, id, unit, text) => {
  const old = spans.find((span) => span.id === id);
  const left = old && text.letters(old.start, unit);
  const right = old && text.letters(unit, old.end);
  if (!left || !right || left.end > right.start) return null;
  const rest = spans.filter((span) => span.id !== id);
  return inOrder([...rest, ...[left, right].map((r) => newSpan(r.start, r.end, old.label))]);
};
// One span from the first to the last of several, of the first one's type.
const joined = (spans, ids) => {
  const parts = inOrder(spans.filter((span) => ids.includes(span.id)));
  if (parts.length < 2) return null;
  const made = newSpan(parts[0].start, Math.max(...parts.map((p) => p.end)), parts[0].label);
  // Whatever of this type lies inside is part of it now.
  const rest = spans.filter((span) => !ids.includes(span.id)
    && !(span.label === made.label && span.start >= made.start && span.end <= made.end));
  return inOrder([...rest, made]);
};
// The word borders at which a span can be split; the middle one is offered when none is meant.
const cuts = (span, text) => text.wordStarts.filter((at) => at > span.start && at < span.end);
const cutNear = (span, text, unit) => {
  const places = cuts(span, text);
  if (unit === null || unit === undefined) return places[places.length >> 1] ?? null;
  return places.reduce((best, at) => (
    best === null || Math.abs(at - unit) < Math.abs(best - unit) ? at : best), null);
};
// Where else in the text the same words stand, at borders of words and not marked like this yet.
const repeats = (spans, range, label, text) => {
  const wanted = text.slice(range);
  const found = [];
  for (let at = text.text.indexOf(wanted); at >= 0; at = text.text.indexOf(wanted, at + 1)) {
    const here = { start: at, end: at + wanted.length };
    const snapped = text.snap(here.start, here.end);
    if (snapped && sameRange(snapped, here) && !sameRange(here, range)
      && !spans.some((span) => sameSpan(span, { ...here, label }))) found.push(here);
  }
  return found;
};

// ---- a sentence with its past -----------------------------------------------------------------

class Doc {
  constructor(data) {
    this.id = data.id;
    this.text = new Text(data.text);
    this.predicted = inOrder((data.predicted ?? []).map((each) => this.#read(each)));
    this.spans = inOrder((data.spans ?? []).map((each) => this.#read(each)));
    this.status = data.status ?? 'open';
    this.revision = data.revision ?? 0;
    this.undone = [];
    this.done = [];
    this.conflict = null;
    this.update(data);
  }

  // What does not touch the work of the person: neighbours, what is said about the sentence.
  update(data) {
    this.data = data;
  }

  #read([start, end, label, score = null, voters = []]) {
    return newSpan(this.text.toUnit(start), this.text.toUnit(end), label, score, voters);
  }

  get touched() {
    return this.done.length > 0 || this.undone.length > 0;
  }

  span(id) {
    return this.spans.find((span) => span.id === id) ?? null;
  }

  at(range) {
    return this.spans.find((span) => sameRange(span, range)) ?? null;
  }

  // [start, end, type] in code points, as Python wants them.
  packed(spans = this.spans) {
    const { text } = this;
    return spans.map((s) => [text.toPoint(s.start), text.toPoint(s.end), s.label]);
  }

  #state() {
    return { spans: this.spans, status: this.status };
  }

  // Sure of what the model was sure of, wherever the same span is back.
  #scored(spans) {
    return spans.map((span) => {
      if (span.score !== null) return span;
      const known = this.predicted.find((p) => sameSpan(p, span));
      return known ? { ...span, score: known.score, voters: known.voters } : span;
    });
  }

  apply(spans, said, status = 'changed') {
    if (!spans) return false;
    this.done.push({ ...this.#state(), said });
    if (this.done.length > KEPT) this.done.shift();
    this.undone = [];
    this.spans = this.#scored(spans);
    this.status = status;
    return true;
  }

  // Accepted as it stands: "accepted" when nothing differs from what the model found.
  accept(said) {
    const status = alike(this.spans, this.predicted) ? 'accepted' : 'changed';
    return this.apply(this.spans, said, status);
  }

  skip(said) {
    return this.apply(this.spans, said, 'skipped');
  }

  // What was taken back, null when there is nothing; `again` the other way.
  undo(again = false) {
    const [from, to] = again ? [this.undone, this.done] : [this.done, this.undone];
    const state = from.pop();
    if (!state) return null;
    to.push({ ...this.#state(), said: state.said });
    this.spans = state.spans;
    this.status = state.status;
    return state.said;
  }

  // Spans of somebody else's version, from code points.
  foreign(packed) {
    return inOrder(packed.map((each) => this.#read(each)));
  }
}
