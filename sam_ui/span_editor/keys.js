// The keyboard. Keys work wherever nobody is typing; on other controls only those that they do not
// use themselves.

const TYPING = 'input, textarea, select, [contenteditable=""], [contenteditable="true"], dialog';
const CONTROL = 'button, a, summary, [role=tab], [role=slider], [role=option], [role=listbox]';

class Keys {
  constructor(ed, listen) {
    this.ed = ed;
    listen(document, 'keydown', (event) => {
      if (this.#pressed(event)) event.preventDefault();
    });
  }

  // Whether the key was for the editor.
  #pressed(event) {
    const { ed } = this;
    const { target } = event;
    if (!ed.doc || event.defaultPrevented || event.isComposing) return false;
    if (!ed.tools.box.checkVisibility()) return false;
    if (target.closest(TYPING) || document.querySelector('dialog[open]')) return false;
    const inside = target === ed.tools.box || target === document.body;
    if (!inside && target.closest(CONTROL) && /^(Enter| |Arrow|Tab|Home|End)/.test(event.key)) {
      return false;
    }
    const command = (event.ctrlKey || event.metaKey) && !event.getModifierState('AltGraph');
    if (command) return this.#command(event);
    return this.#number(event) || this.#plain(event);
  }

  #command(event) {
    const key = event.key.toLowerCase();
    if (!this.ed.able || event.altKey) return false;
    if (key === 'z') this.ed.undo(event.shiftKey);
    else if (key === 'y') this.ed.undo(true);
    else return false;
    return true;
  }

  // 1–9 and 0 for the first ten types, with Shift for the next ten, wherever the digits are.
  #number(event) {
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1]
      ?? (/^\d$/.test(event.key) ? event.key : null);
    if (digit === null || event.altKey || !this.ed.able) return false;
    // On some keyboards Shift is needed to type a digit, or a digit's key types a bracket.
    if (/^[[\]{}/?|]$/.test(event.key)) return false;
    const shifted = event.shiftKey && event.key !== digit;
    const at = (Number(digit) + 9) % 10 + (shifted ? 10 : 0);
    const kind = this.ed.data.types[at];
    if (!kind) return false;
    this.ed.mark(kind.name);
    return true;
  }

  #plain(event) {
    const { ed } = this;
    const { key, altKey, shiftKey } = event;
    const graph = event.getModifierState('AltGraph');
    if (/^Arrow/.test(key)) return this.#arrow(event);
    if (altKey && !graph && !'[]{}'.includes(key)) return false;
    const fine = altKey && !graph;
    const acts = {
      n: () => ed.leaf(1), p: () => ed.leaf(-1), Escape: () => ed.choose(null),
    };
    const changes = {
      Enter: () => ed.accept(), s: () => ed.skip(), x: () => ed.remove(), X: () => ed.clear(),
      Delete: () => ed.remove(), Backspace: () => ed.remove(),
      '[': () => ed.stretch('end', -1, fine), ']': () => ed.stretch('end', 1, fine),
      '{': () => ed.stretch('start', -1, fine), '}': () => ed.stretch('start', 1, fine),
      '/': () => ed.split(), j: () => ed.join(), a: () => ed.alike(),
    };
    const name = key.length === 1 && !(key === 'X' && shiftKey) ? key.toLowerCase() : key;
    const act = acts[name] ?? (ed.able ? changes[name] : undefined);
    if (!act || (event.repeat && name === 'Enter')) return false;
    act();
    return true;
  }

  // Left and right go through the words, with Shift they add or drop one (with Alt as well: a letter);
  // up and down go from span to span.
  #arrow({ key, shiftKey, altKey }) {
    const { ed } = this;
    if (altKey && !shiftKey) return false;
    if (key === 'ArrowUp' || key === 'ArrowDown') return this.#spans(key === 'ArrowDown' ? 1 : -1);
    if (!ed.able) return false;
    const rtl = getComputedStyle(ed.tools.box).direction === 'rtl';
    const by = (key === 'ArrowRight') === rtl ? -1 : 1;
    const { text } = ed.doc;
    const range = ed.choice?.range;
    if (!range) {
      const at = text.wordAt(by > 0 ? 0 : text.length);
      if (at) ed.choose({ range: at });
    } else if (shiftKey) {
      this.#extend(range, by, altKey);
    } else {
      const unit = by > 0 ? text.step('start', range.end - 1, 1) : text.step('start', range.start, -1);
      const at = text.wordAt(unit);
      if (at) ed.choose({ range: at });
    }
    return true;
  }

  // The end that was moved last moves on: a selection shrinks by the way that it grew.
  #extend(range, by, fine) {
    const { ed } = this;
    const edge = ed.choice.edge ?? (by > 0 ? 'end' : 'start');
    const moved = { ...range, [edge]: ed.doc.text.step(edge, range[edge], by, fine) };
    if (moved.start < moved.end) ed.choose({ range: moved, edge });
    else ed.choose({ range, edge: undefined });
  }

  #spans(by) {
    const { ed } = this;
    const { spans } = ed.doc;
    if (!spans.length) return false;
    const here = ed.choice?.range.start;
    let at = spans.findIndex((span) => span.id === ed.choice?.id);
    if (at >= 0) at += by;
    else if (here === undefined) at = by > 0 ? 0 : spans.length - 1;
    else {
      const after = spans.findIndex((span) => span.start >= here);
      at = by > 0 ? after : (after < 0 ? spans.length : after) - 1;
    }
    const span = spans[Math.max(0, Math.min(spans.length - 1, at))];
    ed.chooseSpan(span.id);
    return true;
  }
}
