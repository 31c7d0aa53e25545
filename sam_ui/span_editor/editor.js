// The editor: what can be done to a sentence, by whatever means.

class Editor extends Places {
  item(action, more = {}) {
    const { doc } = this;
    return { sentence: doc.id, spans: doc.packed(), action, ...more };
  }

  drawn(said) {
    const { doc } = this;
    this.view.draw(doc.spans);
    this.placed();
    this.tools.clash(doc.conflict);
    this.tools.refresh();
    if (said !== undefined) this.tools.tell(said);
  }

  // The text is laid out anew.
  moved() {
    this.placed();
  }

  placed() {
    this.overlay.show('chosen', this.choice?.range);
    this.overlay.grip(this.able ? this.choice?.range : null);
  }

  // Does a change and keeps it; `keep` gives what is chosen afterwards.
  act(spans, said, keep, action = 'edit') {
    if (!this.able || this.doc.conflict || !this.doc.apply(spans, said)) return false;
    this.choice = keep?.() ?? null;
    this.drawn(said);
    this.saves.push(this.item(action), this.doc.revision);
    return true;
  }

  chosen() {
    return this.choice?.id ? this.doc.span(this.choice.id) : null;
  }

  spansOf(node) {
    const ids = (node.closest('mark')?.dataset.spans ?? '').split(' ').map(Number);
    return this.doc.spans.filter((span) => ids.includes(span.id))
      .sort((a, b) => (a.end - a.start) - (b.end - b.start));
  }

  // choice: {range, id?, caret?}; a range that is a span already chooses the span.
  choose(choice, said) {
    if (choice && !choice.id) {
      const span = this.doc.at(choice.range);
      if (span) choice = { ...choice, id: span.id };
    }
    this.choice = choice;
    this.placed();
    this.tools.refresh();
    this.tools.tell(said ?? this.telling());
    if (choice) this.view.stretchAt(choice.range.start)?.node.scrollIntoView({ block: 'nearest' });
  }

  telling() {
    if (!this.choice) return this.able ? this.say('how') : '';
    const words = this.doc.text.slice(this.choice.range);
    const span = this.chosen();
    return span ? this.say('chosen', { words, about: this.tools.about(span, 2) })
      : this.say('selected', { words });
  }

  chooseSpan(id, caret = null) {
    const span = this.doc.span(id);
    if (span) this.choose({ range: { start: span.start, end: span.end }, id, caret });
  }

  // A type was named: of what is chosen.
  mark(label) {
    const { choice, doc } = this;
    if (!this.able) return;
    if (!choice) {
      this.tools.tell(this.say('choose_first'));
      return;
    }
    const words = doc.text.slice(choice.range);
    const span = this.chosen();
    const said = this.say('marked', { words, label });
    const apart = !this.data.overlaps;
    const spans = span ? changed(doc.spans, span.id, { label }, { apart })
      : added(doc.spans, choice.range, label, { apart });
    if (!this.act(spans, said, () => this.spanAt(choice.range, label))) {
      this.tools.tell(this.say('already', { words, label }));
    }
    this.tools.box.focus({ preventScroll: true });
  }

  spanAt(range, label) {
    const span = this.doc.spans.find((s) => sameRange(s, range) && s.label === label);
    return span && { range: { start: span.start, end: span.end }, id: span.id };
  }

  remove(id = this.choice?.id) {
    const span = id && this.doc.span(id);
    if (!span) return;
    const said = this.say('removed', { words: this.doc.text.slice(span), label: span.label });
    const next = this.doc.spans[this.doc.spans.indexOf(span) + 1];
    this.act(removed(this.doc.spans, [id]), said,
      () => next && { range: { start: next.start, end: next.end }, id: next.id });
  }

  // All that the model has found is wrong.
  clear() {
    const { spans } = this.doc;
    this.act(removed(spans, spans.map(({ id }) => id)), this.say('cleared', { n: spans.length }));
  }

  // The range of what is chosen becomes another one: of a span with its type, else of the selection.
  resize(range) {
    const span = this.chosen();
    if (!span) {
      this.choose({ range });
      return;
    }
    const said = this.say('resized', { words: this.doc.text.slice(range), label: span.label });
    const spans = changed(this.doc.spans, span.id, range, { apart: !this.data.overlaps });
    if (!this.act(spans, said, () => ({ range, id: span.id }))) this.tools.tell(this.say('no_room'));
  }

  // An edge by one word, or by one letter.
  stretch(edge, by, fine = false) {
    if (!this.choice || !this.able) return;
    const { range } = this.choice;
    const moved = { ...range, [edge]: this.doc.text.step(edge, range[edge], by, fine) };
    if (moved.start < moved.end) this.resize(moved);
    else this.tools.tell(this.say('no_room'));
  }

  // Where the chosen span would be cut: at the place that was clicked, before the chosen words in it,
  // else in the middle.
  cut() {
    const { choice, doc } = this;
    if (!choice) return null;
    const within = this.chosen() ?? doc.spans.find((span) => (
      span.start <= choice.range.start && choice.range.end <= span.end));
    if (!within) return null;
    const inside = choice.id ? choice.caret
      : choice.range.start > within.start ? choice.range.start : choice.range.end;
    const unit = cutNear(within, doc.text, inside);
    return unit === null ? null : { span: within, unit };
  }

  split() {
    const cut = this.cut();
    if (!cut) return;
    const { span, unit } = cut;
    const said = this.say('split_at', { words: this.doc.text.slice({ start: span.start, end: unit }).trim() });
    this.act(split(this.doc.spans, span.id, unit, this.doc.text), said);
  }

  // What joining would make one: all spans that the selection touches, or the chosen and the next.
  joinable() {
    const { choice, doc } = this;
    if (!choice) return [];
    const span = this.chosen();
    if (!span) return doc.spans.filter((each) => overlap(each, choice.range)).map(({ id }) => id);
    const next = doc.spans.find((each) => each.start >= span.end);
    return next ? [span.id, next.id] : [];
  }

  join() {
    const ids = this.joinable();
    const spans = joined(this.doc.spans, ids);
    if (!spans) return;
    const made = spans.find((span) => !this.doc.spans.includes(span));
    const words = this.doc.text.slice(made);
    this.act(spans, this.say('joined', { words, label: made.label }),
      () => this.spanAt(made, made.label));
  }

  undo(again = false) {
    const { doc } = this;
    if (!this.able || doc.conflict) return;
    const said = doc.undo(again);
    if (said === null) {
      this.tools.tell(this.say(again ? 'nothing_again' : 'nothing_back'));
      return;
    }
    doc.finished = false;
    if (this.choice?.id && !doc.span(this.choice.id)) this.choice = null;
    this.drawn(this.say(again ? 'again' : 'back', { what: said }));
    const action = doc.status === 'open' ? 'reopen' : doc.status === 'skipped' ? 'skip'
      : again ? 'redo' : 'undo';
    this.saves.push(this.item(action), doc.revision);
  }

  accept() {
    if (!this.able || this.doc.conflict) return;
    this.doc.accept(this.say('accepted'));
    this.doc.finished = true;
    this.onward(this.item('accept'));
  }

  skip() {
    if (!this.able || this.doc.conflict) return;
    this.doc.skip(this.say('skipped'));
    this.doc.finished = true;
    this.onward(this.item('skip'));
  }

  // The same words everywhere else: the server shows which, `spread` marks those that are wanted.
  alike() {
    const span = this.chosen();
    if (!span || !this.able) return;
    const here = repeats(this.doc.spans, span, span.label, this.doc.text);
    this.overlay.show('flash', ...here);
    this.post({
      act: 'alike', sentence: this.doc.id, surface: this.doc.text.slice(span), label: span.label,
      here: here.length, nav: this.shared.nav,
    });
  }

  spread(label, surface, mentions) {
    const { doc } = this;
    this.overlay.show('flash');
    const like = doc.spans.find((span) => span.label === label && doc.text.slice(span) === surface);
    let { spans } = doc;
    for (const range of like ? repeats(spans, like, label, doc.text) : []) {
      spans = added(spans, range, label, { apart: true }) ?? spans;
    }
    if (spans !== doc.spans) this.act(spans, this.say('spread', { words: surface, label }), null, 'apply_all');
    this.post({
      act: 'spread', label, mentions: JSON.stringify(mentions), sentence: doc.id,
      nav: this.shared.nav,
    });
  }

  // Two people: `mine` goes over the other version, else that one is taken.
  settle(mine) {
    const { doc } = this;
    const { spans, revision, status } = doc.conflict;
    doc.conflict = null;
    this.saves.settle(doc.id, revision);
    doc.revision = revision;
    if (mine) {
      this.saves.push(this.item('edit', { force: true }), revision);
    } else {
      doc.apply(spans, this.say('took'), status ?? 'changed');
    }
    this.choice = null;
    this.drawn(this.say(mine ? 'kept' : 'took'));
  }
}
