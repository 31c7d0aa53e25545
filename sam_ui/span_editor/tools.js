// What stands around the sentence: types, buttons, messages, the list of spans, hints, a conflict.

const KEYS = [...'1234567890'];
const keyOf = (i) => (i < 10 ? KEYS[i] : i < 20 ? `⇧${KEYS[i - 10]}` : '');

class Tools {
  constructor(ed, host) {
    this.ed = ed;
    this.rows = new Map();
    const part = (name, className, role) => {
      const node = host.appendChild(make(name, className));
      if (role) node.setAttribute('role', role);
      return node;
    };
    const head = part('div', 'sam-ed-head');
    this.where = head.appendChild(make('span', 'sam-ed-where'));
    this.status = head.appendChild(make('span', 'sam-badge'));
    this.saving = head.appendChild(make('span', 'sam-ed-saving'));
    this.saving.setAttribute('role', 'status');
    this.before = part('p', 'sam-ed-context before');
    this.stage = part('div', 'sam-ed-stage');
    this.box = this.stage.appendChild(make('div', 'sam-ed-text'));
    this.after = part('p', 'sam-ed-context after');
    this.conflict = part('section', 'sam-ed-conflict');
    this.conflict.hidden = true;
    this.said = part('p', 'sam-ed-said', 'status');
    this.palette = part('div', 'sam-ed-palette', 'toolbar');
    this.bar = part('div', 'sam-ed-bar', 'toolbar');
    this.nav = part('div', 'sam-ed-nav');
    this.tip = this.stage.appendChild(make('div', 'sam-ed-tip'));
    this.tip.hidden = true;
    this.tip.setAttribute('role', 'tooltip');
    this.buttons = {};
    for (const node of [this.before, this.after, this.box]) node.dir = 'auto';
  }

  // Everything that depends on language, types and rights, not on the sentence.
  begin({ types, view_only: looking }) {
    const key = JSON.stringify([types, looking, this.ed.words]);
    if (key === this.begun) return;
    this.begun = key;
    const { ed } = this;
    const { say } = ed;
    this.box.tabIndex = 0;
    this.box.setAttribute('role', looking ? 'group' : 'application');
    this.box.setAttribute('aria-label', say(looking ? 'box_look' : 'box'));
    this.palette.setAttribute('aria-label', say('types'));
    this.bar.setAttribute('aria-label', say('tools'));
    this.palette.replaceChildren(...types.map(({ name, color, definition }, i) => {
      const chip = button('sam-ed-chip', '', () => ed.mark(name));
      chip.append(make('span', '', name));
      chip.dataset.label = name;
      chip.style.setProperty('--c', color);
      if (definition) chip.title = definition;
      if (keyOf(i)) chip.append(make('kbd', '', keyOf(i)));
      return chip;
    }));
    const tool = (name, key, act, className = 'sam-ed-tool') => {
      const node = button(className, '', act);
      node.append(make('span', '', say(name)));
      if (key) node.append(make('kbd', '', key));
      node.dataset.tool = name;
      this.buttons[name] = node;
      return node;
    };
    // A button that shows its key alone.
    const bare = (name, key, act) => {
      const node = tool(name, key, act);
      node.firstChild.className = 'sam-hear';
      node.title = say(name);
      return node;
    };
    this.bar.replaceChildren(
      tool('remove', 'Del', () => ed.remove()),
      bare('shorter', '[', () => ed.stretch('end', -1)),
      bare('longer', ']', () => ed.stretch('end', 1)),
      tool('split', '/', () => ed.split()),
      tool('join', 'J', () => ed.join()),
      tool('alike', 'A', () => ed.alike()),
    );
    const past = [tool('undo', '', () => ed.undo()), tool('redo', '', () => ed.undo(true))];
    past[0].title = 'Ctrl+Z';
    past[1].title = 'Ctrl+Shift+Z';
    const [previous, skip, next] = [
      tool('previous', 'P', () => ed.leaf(-1), 'sam-small'),
      tool('skip', 'S', () => ed.skip(), 'sam-small'),
      tool('next', 'N', () => ed.leaf(1), 'sam-small'),
    ];
    const gap = make('span', 'sam-ed-gap');
    this.nav.replaceChildren(previous, ...(looking ? [gap] : [skip, gap, ...past]), next);
    for (const node of [this.palette, this.bar, this.said]) node.hidden = looking;
  }

  // The sentence is another one.
  open() {
    const { say, doc } = this.ed;
    const { position, sentences, document: name, before, after, bulk } = doc.data;
    this.where.textContent = say('where', { position, sentences })
      + (name ? ` · ${name}` : '') + (bulk ? ` · ${say('bulk')}` : '');
    this.before.textContent = before ?? '';
    this.after.textContent = after ?? '';
    this.before.hidden = !before;
    this.after.hidden = !after;
    this.hint();
  }

  // After every action.
  refresh() {
    const { ed } = this;
    const { doc, choice, say } = ed;
    const span = ed.chosen();
    const on = (name, able) => {
      const node = this.buttons[name];
      if (node && node.disabled === able) node.disabled = !able;
    };
    on('remove', !!span);
    on('shorter', !!choice);
    on('longer', !!choice);
    on('split', !!ed.cut());
    on('join', ed.joinable().length > 1);
    on('alike', !!span);
    on('undo', doc.done.length > 0);
    on('redo', doc.undone.length > 0);
    on('previous', !!doc.data.previous);
    on('next', !!doc.data.next);
    for (const chip of this.palette.children) {
      const pressed = String(span?.label === chip.dataset.label);
      if (chip.getAttribute('aria-pressed') !== pressed) chip.setAttribute('aria-pressed', pressed);
    }
    this.palette.classList.toggle('idle', !choice);
    const kind = ed.data.view_only && doc.status === 'open' ? '' : doc.status;
    this.status.textContent = kind ? say(`is_${kind}`) : '';
    this.status.className = `sam-badge sam-ed-status ${kind}`;
    this.list();
  }

  tell(text) {
    this.said.textContent = text;
  }

  saved(state) {
    this.saving.textContent = this.ed.data?.view_only ? '' : this.ed.say(`save_${state}`);
    this.saving.className = `sam-ed-saving ${state}`;
  }

  // "found by Astronomy, Law", of many the first ones.
  votes({ voters }, shown = voters.length) {
    const { say } = this.ed;
    const names = voters.slice(0, shown).join(', ');
    const more = voters.length - shown;
    return more > 0 ? say('voters_more', { names, n: more }) : say('voters', { names });
  }

  // "place · 41 % sure · found by Astronomy, Law"
  about(span, shown) {
    const { say, doc } = this.ed;
    const parts = [span.label];
    if (span.score !== null) parts.push(say('sure', { percent: percent(span.score) }));
    else parts.push(say(doc.status === 'open' ? 'no_number' : 'by_hand'));
    if (span.voters.length) parts.push(this.votes(span, shown));
    return parts.join(' · ');
  }

  // What is known of some spans, beside a rectangle of the window; nothing hides it.
  hint(spans = [], rect = null) {
    this.tip.hidden = !spans.length;
    if (!spans.length) return;
    this.tip.replaceChildren(...spans.map((span) => {
      const line = make('p', '', this.about(span));
      line.style.setProperty('--c', this.ed.view.color(span.label));
      return line;
    }));
    const home = this.stage.getBoundingClientRect();
    const left = Math.min(rect.left - home.left, home.width - this.tip.offsetWidth);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${rect.bottom - home.top + 6}px`;
  }

  // ---- the list of spans: its place may be anywhere on the page --------------------------------

  list() {
    const place = document.querySelector('[data-span-list]');
    if (!place) return; // it is not on the page, or not yet
    const { doc, choice } = this.ed;
    if (this.place !== place) {
      this.place = place;
      this.rows.clear();
      place.replaceChildren();
    }
    if (this.listed !== doc.spans) {
      this.listed = doc.spans;
      const stay = new Set(doc.spans);
      for (const [span, row] of this.rows) if (!stay.has(span)) row.remove();
      let before = place.firstChild;
      this.rows = new Map(doc.spans.map((span) => {
        const row = this.rows.get(span) ?? this.#row(span);
        if (row === before) before = before.nextSibling;
        else place.insertBefore(row, before);
        return [span, row];
      }));
      place.classList.toggle('none', !doc.spans.length);
      place.dataset.none = this.ed.say('none');
    }
    const row = choice?.id ? this.rows.get(doc.span(choice.id)) : null;
    if (this.current === row) return;
    this.current?.removeAttribute('aria-current');
    row?.setAttribute('aria-current', 'true');
    this.current = row;
    if (row) place.scrollTop = Math.max(
      Math.min(place.scrollTop, row.offsetTop),
      row.offsetTop + row.offsetHeight - place.clientHeight,
    );
  }

  #row(span) {
    const { ed } = this;
    const row = make('li', 'sam-ed-row');
    row.style.setProperty('--c', ed.view.color(span.label));
    const open = row.appendChild(button('sam-ed-row-open', '', () => ed.chooseSpan(span.id)));
    const words = open.appendChild(make('bdi', 'sam-ed-row-text', ed.doc.text.slice(span)));
    words.dir = 'auto';
    const score = span.score === null ? '' : percent(span.score);
    open.append(make('span', 'sam-ed-row-sure', score));
    open.append(make('span', 'sam-ed-row-type', this.about({ ...span, score: null, voters: [] })
      .split(' · ').slice(0, span.score === null ? 2 : 1).join(' · ')));
    if (span.voters.length) {
      open.append(make('span', 'sam-ed-row-votes', this.votes(span, 2)));
      open.lastChild.title = this.votes(span);
    }
    if (!ed.data.view_only) {
      const remove = row.appendChild(button('sam-x', '×', () => ed.remove(span.id)));
      remove.setAttribute('aria-label', ed.say('remove_it', { words: ed.doc.text.slice(span) }));
    }
    return row;
  }

  // ---- two people, one sentence ------------------------------------------------------------------

  clash(conflict) {
    this.conflict.hidden = !conflict;
    for (const node of [this.palette, this.bar]) {
      node.hidden = !!conflict || this.ed.data.view_only;
    }
    if (!conflict) {
      this.conflict.replaceChildren();
      return;
    }
    const { ed } = this;
    const { say } = ed;
    const side = (title, spans, text, act) => {
      const part = make('div', 'sam-ed-side');
      part.append(make('h3', '', title));
      const words = part.appendChild(make('p', 'sam-ed-text small'));
      words.dir = 'auto';
      const view = new View(words, ed.view.colors);
      view.begin(ed.doc.text);
      view.draw(spans);
      part.append(button('sam-small', text, act));
      return part;
    };
    const who = conflict.who || say('somebody');
    const sides = make('div', 'sam-ed-sides');
    sides.append(
      side(say('mine'), ed.doc.spans, say('keep_mine'), () => ed.settle(true)),
      side(say('theirs', { who }), conflict.spans, say('take_theirs'), () => ed.settle(false)),
    );
    this.conflict.setAttribute('role', 'alert');
    this.conflict.replaceChildren(
      make('p', '', say('clash', { who })), sides, make('p', 'sam-note', say('clash_note')),
    );
  }
}
