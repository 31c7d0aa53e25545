"""The small editor in which the spans of a sentence are corrected, as a script of `action_html`.

The server gives the text as JSON in a data attribute and the DOM is built from text nodes, so texts
of people stay texts. JavaScript counts UTF-16 units and Python code points: offsets are converted
where a selection is read, and `points` is the text by code points everywhere else. A mention begins
and ends where a letter does for a reader: no emoji is cut in two, no accent loses its letter.
"""

from __future__ import annotations

from sam_ui.words import _

__all__ = ["EDITOR_JS", "editor_words"]


def editor_words() -> dict[str, str]:
    """What the script says, by the names that it uses; to be given to it as ``data-words``."""
    return {
        "select": _("Select words, or click a marked one."),
        "change": _("“{text}” is marked as {type}. Change it to:"),
        "as": _("Mark “{text}” as:"),
        "remove": _("Remove the mark"),
        "unmarked": _("“{text}” is not marked any more."),
        "marked": _("“{text}” is marked as {type}."),
        "label": _(
            "The sentence. Arrow keys choose words, with Shift several; a number marks them, Delete "
            "removes the mark, Enter saves."
        ),
        "save": _("Save this correction"),
        "cancel": _("Cancel"),
        "keys": _(
            "With the keyboard: arrow keys choose words, Shift adds more, a number marks them."
        ),
    }


EDITOR_JS = r"""
let edit = null;
let saved = null;
const make = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const kinds = () => JSON.parse(element.querySelector('[data-types]')?.dataset.types || '[]');
const say = (key, values = {}) => {
  const texts = JSON.parse(element.querySelector('[data-words]')?.dataset.words || '{}');
  return (texts[key] || '').replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
};
const graphemes = (points) => {
  if (!Intl.Segmenter) return points.map((text, i) => ({text, start: i, end: i + 1}));
  let at = 0;
  return [...new Intl.Segmenter().segment(points.join(''))].map(({segment}) => {
    const start = at;
    at += Array.from(segment).length;
    return {text: segment, start, end: at};
  });
};
const words = (letters) => {
  const found = [];
  let open = null;
  for (const {text, start, end} of letters) {
    const inside = /^[\p{L}\p{N}]/u.test(text);
    if (inside && open) open.end = end;
    else if (text.trim()) found.push(open = {start, end});
    if (!inside) open = null;
  }
  return found;
};
const surface = ({start, end}) => edit.points.slice(start, end).join('');
const touches = (span, range) => range && span.start < range.end && range.start < span.end;

// A range of code points made to begin and end with whole characters that are no spaces.
const snapped = (start, end) => {
  const letters = edit.letters.filter((l) => l.start < end && start < l.end);
  while (letters.length && !letters[0].text.trim()) letters.shift();
  while (letters.length && !letters[letters.length - 1].text.trim()) letters.pop();
  if (!letters.length) return null;
  return {start: letters[0].start, end: letters[letters.length - 1].end};
};
const pointsBefore = (node, at, up) => {
  const range = document.createRange();
  range.selectNodeContents(edit.box);
  range.setEnd(node, at);
  const text = range.toString();
  return Array.from(text).length - (!up && /[\ud800-\udbff]$/.test(text) ? 1 : 0);
};
const selected = () => {
  const selection = document.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!range.intersectsNode(edit.box)) return null;
  const inside = (node) => edit.box.contains(node);
  return snapped(
    inside(range.startContainer) ? pointsBefore(range.startContainer, range.startOffset) : 0,
    inside(range.endContainer) ? pointsBefore(range.endContainer, range.endOffset, true)
      : edit.points.length,
  );
};

const drawText = () => {
  const {box, points, spans, chosen} = edit;
  const colors = new Map(kinds());
  const borders = new Set([0, points.length]);
  for (const range of [...spans, chosen ?? {start: 0, end: 0}]) {
    borders.add(range.start).add(range.end);
  }
  const sorted = [...borders].sort((a, b) => a - b);
  box.replaceChildren(...sorted.slice(0, -1).map((start, i) => {
    const end = sorted[i + 1];
    const span = spans.find((s) => touches(s, {start, end}));
    const node = make(span ? 'mark' : 'span', span ? 'sam-span' : '', surface({start, end}));
    if (chosen && touches(chosen, {start, end})) node.classList.add('chosen');
    if (span) {
      node.dataset.from = span.start;
      node.title = span.label;
      node.style.setProperty('--c', colors.get(span.label) || '#d5dae1');
      if (end === span.end) node.dataset.label = span.label;
    }
    return node;
  }));
};
const drawTools = (said) => {
  const {chosen, spans} = edit;
  const hit = spans.filter((span) => touches(span, chosen));
  const exact = hit.length === 1 && hit[0].start === chosen.start && hit[0].end === chosen.end;
  if (!said && !chosen) said = say('select');
  edit.said.textContent = said || (exact
    ? say('change', {text: surface(chosen), type: hit[0].label})
    : say('as', {text: surface(chosen)}));
  edit.chips.replaceChildren(...kinds().map(([name, color], i) => {
    const chip = make('button', 'sam-chip', name);
    chip.type = 'button';
    chip.style.setProperty('--c', color);
    chip.disabled = !chosen;
    chip.setAttribute('aria-pressed', String(exact && hit[0].label === name));
    if (i < 9) chip.append(make('kbd', '', String(i + 1)));
    chip.addEventListener('click', () => mark(name));
    return chip;
  }));
  if (hit.length) {
    const remove = make('button', 'sam-small', say('remove'));
    remove.type = 'button';
    remove.addEventListener('click', () => mark(null));
    edit.chips.append(remove);
  }
};
const choose = (range, redraw = true) => {
  edit.chosen = range;
  if (redraw) drawText();
  drawTools();
};
const mark = (label) => {
  const range = edit.chosen;
  if (!range || (label === null && !edit.spans.some((span) => touches(span, range)))) return;
  edit.spans = edit.spans.filter((span) => !touches(span, range));
  if (label !== null) edit.spans.push({...range, label});
  edit.spans.sort((a, b) => a.start - b.start);
  edit.chosen = null;
  document.getSelection().removeAllRanges();
  drawText();
  drawTools(label === null ? say('unmarked', {text: surface(range)})
    : say('marked', {text: surface(range), type: label}));
  edit.box.focus();
};
const close = () => {
  const {host, editor, opener} = edit;
  edit = null;
  editor.remove();
  opener.hidden = false;
  if (host.isConnected) opener.focus();
};
const save = () => {
  const spans = edit.spans.map((span) => [span.start, span.end, span.label]);
  saved = {data: edit.host.dataset.edit, spans: edit.spans};
  trigger('act', {act: 'correct', sentence: String(edit.sentence), spans: JSON.stringify(spans)});
  close();
};
const step = (event) => {
  const {tokens} = edit;
  if (!tokens.length) return;
  let [from, to] = edit.cursor ?? [-1, -1];
  const forward = event.key === 'ArrowRight';
  if (event.shiftKey && from >= 0) {
    if (forward) to = Math.min(to + 1, tokens.length - 1);
    else if (to > from) to -= 1;
    else from = Math.max(0, from - 1);
  } else {
    from = to = forward ? Math.min(to + 1, tokens.length - 1)
      : Math.max(0, (from < 0 ? tokens.length : from) - 1);
  }
  edit.cursor = [from, to];
  choose({start: tokens[from].start, end: tokens[to].end});
};
const typed = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const number = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
  if (event.key === 'Escape') close();
  else if (event.target !== edit.box) return;
  else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') step(event);
  else if (event.key === 'Enter') save();
  else if (event.key === 'Delete' || event.key === 'Backspace') mark(null);
  else if (number && number <= kinds().length) mark(kinds()[number - 1][0]);
  else return;
  event.preventDefault();
};
const begin = (host, spans) => {
  if (edit) {
    saved = {data: edit.host.dataset.edit, spans: edit.spans};
    close();
  }
  const data = JSON.parse(host.dataset.edit);
  const points = Array.from(data.text);
  const letters = graphemes(points);
  const known = data.spans.map(([start, end, label]) => ({start, end, label}));
  const names = new Set(kinds().map(([name]) => name));
  edit = {
    host, points, letters, tokens: words(letters), sentence: data.sentence, chosen: null,
    spans: spans ?? (saved?.data === host.dataset.edit ? saved.spans : known)
      .filter((span) => names.has(span.label)),
    opener: host.querySelector('[data-open]'), editor: make('div', 'sam-editor'),
    box: make('p', 'sam-edit-text'), said: make('p', 'sam-edit-said'),
    chips: make('div', 'sam-edit-chips'),
  };
  const {box, said, chips, editor} = edit;
  box.tabIndex = 0;
  box.dir = 'auto';
  box.setAttribute('role', 'group');
  box.setAttribute('aria-label', say('label'));
  said.setAttribute('role', 'status');
  const buttons = make('div', 'sam-edit-buttons');
  const keep = make('button', 'sam-small sam-strong', say('save'));
  const cancel = make('button', 'sam-small', say('cancel'));
  keep.type = cancel.type = 'button';
  keep.addEventListener('click', save);
  cancel.addEventListener('click', () => { saved = null; close(); });
  buttons.append(keep, cancel, make('p', 'sam-note', say('keys')));
  editor.append(box, said, chips, buttons);
  editor.addEventListener('keydown', typed);
  edit.opener.hidden = true;
  host.append(editor);
  drawText();
  drawTools();
};
element.addEventListener('click', (event) => {
  const opener = event.target.closest('[data-open]');
  if (opener) {
    begin(opener.closest('[data-edit]'));
    edit.box.focus({preventScroll: true});
    return;
  }
  const node = edit && edit.box.contains(event.target) && event.target.closest('[data-from]');
  if (node && document.getSelection().isCollapsed) {
    choose({...edit.spans.find((span) => span.start === Number(node.dataset.from))});
  }
});
document.addEventListener('mouseup', (event) => {
  if (!edit) return;
  const range = selected();
  if (range) choose(range);
  else if (edit.chosen && edit.box.contains(event.target)
    && !event.target.closest('[data-from]')) choose(null);
});
// A finger selects without a mouse button; redrawing the text would take its handles away.
document.addEventListener('selectionchange', () => {
  if (!edit || !matchMedia('(pointer: coarse)').matches) return;
  const range = selected();
  if (range) choose(range, false);
});
watch('value', () => {
  if (!edit) return;
  const {host, spans} = edit;
  const again = [...element.querySelectorAll('[data-edit]')]
    .find((node) => node.dataset.edit === host.dataset.edit);
  if (again === host) return;
  edit = null;
  if (again) begin(again, spans);
});
"""
