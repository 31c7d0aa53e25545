// Which sentence is in the editor, and what the server says of it.

class Places {
  constructor(host, shared, post) {
    Object.assign(this, { shared, post, words: {}, doc: null, choice: null, data: null });
    this.say = (key, values = {}) => (this.words[key] ?? key)
      .replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
    this.colors = new Map();
    this.tools = new Tools(this, host);
    this.view = new View(this.tools.box, this.colors);
    this.overlay = new Overlay(this.tools.stage, this.view);
    shared.saves ??= new Saves({ send: () => {}, changed: () => {} });
    this.saves = shared.saves;
    this.saves.send = (parcel) => this.send(parcel);
    this.saves.changed = (state) => this.tools.saved(state);
  }

  get able() {
    return !!this.doc && !this.data.view_only && !this.waiting;
  }

  // ---- what the server says ---------------------------------------------------------------------

  // data: a sentence with its surroundings, or {empty: true}. `nav` counts the changes of place that
  // the browser had asked for: answers to older ones come too late to be shown.
  receive(data) {
    if (!data) return;
    this.words = data.words ?? this.words;
    const element = this.tools.stage.closest('.sam-ed');
    if (data.empty) {
      element.hidden = true;
      this.doc = this.choice = null;
      return;
    }
    if (this.doc && data.session === this.shared.session && data.nav < this.shared.nav) return;
    if (!this.doc || data.session !== this.shared.session) this.shared.nav = data.nav ?? 0;
    this.shared.session = data.session;
    element.hidden = false;
    this.shared.ahead = data.ahead ?? [];
    this.show(data);
    if (data.said) this.tools.tell(data.said);
  }

  // answer to a parcel: {parcel, saved, conflicts, failed, again}
  answered(answer) {
    if (!answer || !this.saves.answer(answer)) return;
    for (const [id, revision, status] of answer.saved ?? []) {
      const doc = this.shared.docs.get(id);
      if (!doc) continue;
      doc.revision = revision;
      if (!this.saves.has(id) && doc.status !== status) doc.status = status;
    }
    for (const { sentence, ...conflict } of answer.conflicts ?? []) {
      const doc = this.shared.docs.get(sentence);
      if (!doc) continue;
      doc.conflict = { ...conflict, spans: doc.foreign(conflict.spans) };
      if (doc !== this.doc) this.open(doc);
    }
    const restored = (answer.saved ?? []).filter(([id]) => this.shared.restored?.delete(id));
    if (restored.length && this.doc) {
      this.post({ act: 'show', sentence: this.doc.id, nav: this.shared.nav });
    }
    const [failed] = answer.failed ?? [];
    if (this.doc) this.drawn(failed?.said);
  }

  // ---- which sentence -----------------------------------------------------------------------------

  show(data) {
    const { docs } = this.shared;
    let doc = docs.get(data.id);
    const known = Math.max(doc?.revision ?? -1, this.saves.revisions.get(data.id) ?? -1);
    const stamp = JSON.stringify([data.text, data.spans, data.predicted]);
    const mine = doc && (this.saves.has(data.id) || doc.conflict
      || (data.revision <= known && (doc.touched || doc.stamp === stamp)));
    if (!mine) {
      doc = new Doc(data);
      doc.stamp = stamp;
      docs.delete(data.id);
      docs.set(data.id, doc);
      if (docs.size > 200) docs.delete(docs.keys().next().value);
      if (this.saves.revisions.has(data.id)) this.saves.revisions.set(data.id, data.revision);
    } else {
      doc.update({ ...doc.data, ...data });
    }
    this.data = { ...this.data, ...data };
    this.colors.clear();
    for (const { name, color } of this.data.types) this.colors.set(name, color);
    this.open(doc);
  }

  open(doc) {
    const { doc: before, choice } = this;
    const other = doc !== before;
    // What the server sends of the same sentence takes nothing out of the person's hand.
    const again = other && before?.id === doc.id && before.text.text === doc.text.text;
    this.wait(false);
    this.doc = doc;
    this.tools.begin(this.data);
    if (other) {
      this.choice = null;
      this.view.begin(doc.text);
    }
    this.tools.open();
    this.drawn(other && !again ? '' : undefined);
    this.tools.saved(this.saves.state);
    if (again && choice) this.choose({ range: choice.range });
    else if (other && !again) {
      this.tools.tell(before ? this.say('opened', { position: doc.data.position }) : this.telling());
      if (before && this.free()) this.tools.box.focus({ preventScroll: true });
    }
    this.address();
  }

  // Nobody is using another control: the sentence may have the focus.
  free() {
    const node = document.activeElement;
    return !node || node === document.body || node.id === 'primary'
      || !!node.closest('.sam-ed, [data-sentence-go]');
  }

  // A refresh of the page finds the sentence again.
  address() {
    const here = new URL(location.href);
    if (here.searchParams.get('step') !== 'review' || !this.doc) return;
    here.searchParams.set('at', this.doc.id);
    history.replaceState(history.state, '', here);
  }

  wait(waiting) {
    this.waiting = waiting;
    this.tools.stage.setAttribute('aria-busy', String(waiting));
  }

  // To a sentence by its id: at once if it is known here, else when the server has sent it.
  go(id) {
    if (!id || id === this.doc?.id) return;
    this.shared.nav += 1;
    const known = this.shared.docs.get(id) ?? this.shared.ahead.find((data) => data.id === id);
    if (known instanceof Doc) this.open(known);
    else if (known) this.show(known);
    else this.wait(true);
    this.post({ act: 'show', sentence: id, nav: this.shared.nav });
  }

  leaf(by) {
    const id = by > 0 ? this.doc?.data.next : this.doc?.data.previous;
    if (id) this.go(id);
    else this.tools.tell(this.say(by > 0 ? 'last' : 'first'));
  }

  // To the next sentence that waits for somebody; without any the server says that all is done.
  onward(item) {
    const { docs, ahead } = this.shared;
    const left = this.doc;
    const open = ahead.findIndex(({ id }) => (
      id !== left.id && !docs.get(id)?.finished));
    this.shared.nav += 1;
    if (open >= 0) {
      const [data] = ahead.splice(0, open + 1).slice(-1);
      this.show({ ...data, previous: left.id });
    } else {
      this.after = left.id;
      this.wait(true);
    }
    this.saves.push(item, left.revision);
    this.after = null;
  }

  send({ parcel, items }) {
    this.post({
      act: 'save', parcel, items: JSON.stringify(items), nav: this.shared.nav,
      sentence: this.waiting ? '' : this.doc?.id ?? '', after: this.after ?? items.at(-1).sentence,
    });
  }
}
