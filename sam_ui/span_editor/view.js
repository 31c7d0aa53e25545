// The sentence as DOM. Texts are text nodes; labels are attributes drawn by the style sheet, so that
// a position in the DOM is a position in the text. Only what has changed is touched.

const make = (name, className = '', text = undefined) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const button = (className, text, act) => {
  const node = make('button', className, text);
  node.type = 'button';
  node.addEventListener('click', act);
  return node;
};
const percent = (share) => `${Math.round(100 * share)} %`;
const DOUBTFUL = 0.5;

// Where a long text is broken into parts that are laid out apart, so that a change moves one of them
// only: after a line break, else after a sentence or at least a word. Short texts have one part.
const LONG = 2500;
const PART = 700;
const partsOf = (text) => {
  const found = [0];
  if (text.length > LONG) {
    const after = (pattern, from, to) => {
      const at = text.slice(from, to).search(pattern);
      return at < 0 ? null : from + at + 1;
    };
    for (let at = 0; at + LONG / 2 < text.length; at = found[found.length - 1]) {
      const [low, high] = [at + PART, Math.min(text.length, at + LONG / 2)];
      const next = after(/\n/, low, high) ?? after(/[.!?。！？]\s/, low, high)
        ?? after(/\s(?=\S)/, low, high) ?? text.length;
      if (next >= text.length) break;
      found.push(next);
    }
  }
  return [...found, text.length];
};

// Stretches of text between borders of spans and of parts, with the spans on each.
const stretches = (spans, parts) => {
  const levels = levelsOf(spans);
  const borders = new Set(parts);
  for (const { start, end } of spans) borders.add(start).add(end);
  const sorted = [...borders].sort((a, b) => a - b);
  const ordered = inOrder(spans);
  const found = [];
  let next = 0;
  let open = [];
  for (let i = 0; i + 1 < sorted.length; i += 1) {
    const [start, end] = [sorted[i], sorted[i + 1]];
    open = open.filter((span) => span.end > start);
    while (next < ordered.length && ordered[next].start === start) open.push(ordered[next++]);
    const here = open.map((span) => ({
      span, level: levels.get(span.id), first: span.start === start, last: span.end === end,
    })).sort((a, b) => a.level - b.level);
    const key = here.map(({ span, level, first, last }) => (
      [span.id, span.label, span.score, level, first, last].join())).join(' ');
    found.push({ start, end, here, key });
  }
  return found;
};

class View {
  // colors: type -> #rrggbb
  constructor(box, colors) {
    this.box = box;
    this.colors = colors;
    this.text = null;
    this.parts = [];
    this.starts = new WeakMap();
  }

  color(label) {
    return this.colors.get(label) || '#d5dae1';
  }

  // Draws another text from the beginning.
  begin(text) {
    this.text = text;
    this.borders = partsOf(text.text);
    this.parts = this.borders.slice(0, -1).map((start, i) => ({
      start, end: this.borders[i + 1], drawn: [],
      node: this.borders.length > 2 ? make('div', 'sam-ed-part') : this.box,
    }));
    this.box.replaceChildren(...this.parts.map(({ node }) => node).filter((n) => n !== this.box));
  }

  draw(spans) {
    const all = stretches(spans, this.borders);
    let from = 0;
    for (const part of this.parts) {
      let to = from;
      while (to < all.length && all[to].end <= part.end) to += 1;
      this.#patch(part, all.slice(from, to));
      from = to;
    }
  }

  // Only what differs between the first and the last difference.
  #patch(part, wanted) {
    const same = (a, b) => a.key === b.key && a.start === b.start && a.end === b.end;
    const old = part.drawn;
    const least = Math.min(old.length, wanted.length);
    let head = 0;
    while (head < least && same(old[head], wanted[head])) head += 1;
    let tail = 0;
    while (tail < least - head
      && same(old[old.length - 1 - tail], wanted[wanted.length - 1 - tail])) tail += 1;
    if (head === old.length && head === wanted.length) return;
    const before = old[old.length - tail]?.node ?? null;
    for (const { node } of old.slice(head, old.length - tail)) node.remove();
    const middle = wanted.slice(head, wanted.length - tail);
    const added = document.createDocumentFragment();
    for (const stretch of middle) {
      stretch.node = this.#node(stretch);
      added.append(stretch.node);
    }
    part.node.insertBefore(added, before);
    part.drawn = [...old.slice(0, head), ...middle, ...old.slice(old.length - tail)];
  }

  #node({ start, end, here }) {
    const words = document.createTextNode(this.text.slice({ start, end }));
    this.starts.set(words, start);
    if (!here.length) {
      const plain = make('span');
      plain.append(words);
      return plain;
    }
    const node = make('mark', 'sam-ed-mark');
    node.dataset.spans = here.map(({ span }) => span.id).join(' ');
    node.append(words);
    const [ground, ...others] = here;
    node.style.setProperty('--c', this.color(ground.span.label));
    node.classList.toggle('under', ground.level > 0);
    node.classList.toggle('first', ground.first && ground.level === 0);
    node.classList.toggle('last', ground.last && ground.level === 0);
    const sure = ground.span.score;
    node.classList.toggle('doubtful', sure !== null && sure < DOUBTFUL && !others.length);
    const lines = here.filter(({ level }) => level > 0);
    if (lines.length) {
      // One line below the other, each in its colour, with the card between.
      const shadow = lines.flatMap(({ span, level }) => {
        const at = 5 * level;
        return [`0 ${at - 3}px 0 var(--sam-card)`, `0 ${at}px 0 ${this.color(span.label)}`];
      });
      node.style.boxShadow = shadow.join(', ');
    }
    for (const { span, last, level } of here) {
      if (!last) continue;
      const name = make('i', 'sam-ed-tag');
      name.dataset.label = span.label;
      name.style.setProperty('--c', this.color(span.label));
      name.classList.toggle('below', level > 0);
      node.append(name);
    }
    return node;
  }

  // ---- places ---------------------------------------------------------------------------------

  stretchAt(unit) {
    const last = (all) => all[Math.max(0, lowest(all.map(({ start }) => start), unit + 1) - 1)];
    return last(last(this.parts).drawn);
  }

  // (text node, offset) of a unit; of a border the node before it when `end`.
  place(unit, end = false) {
    const stretch = this.stretchAt(end ? unit - 1 : Math.min(unit, this.text.length - 1));
    return stretch ? [stretch.node.firstChild, unit - stretch.start] : null;
  }

  range({ start, end }) {
    const [from, to] = [this.place(start), this.place(end, true)];
    if (!from || !to) return null;
    const range = document.createRange();
    range.setStart(...from);
    range.setEnd(...to);
    return range;
  }

  // The unit at a place of the DOM; places outside of the text count as its beginning or end.
  unit(node, offset) {
    if (node.nodeType === Node.TEXT_NODE && this.starts.has(node)) {
      return this.starts.get(node) + offset;
    }
    if (!this.box.contains(node)) {
      const after = this.box.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
      return after ? this.text.length : 0;
    }
    const walker = document.createTreeWalker(this.box, NodeFilter.SHOW_TEXT);
    const child = node.childNodes[offset];
    if (child) {
      walker.currentNode = child;
      const first = child.nodeType === Node.TEXT_NODE ? child : walker.nextNode();
      return first ? this.starts.get(first) : this.text.length;
    }
    walker.currentNode = node;
    let last = node;
    while (last.lastChild) last = last.lastChild;
    walker.currentNode = last;
    const found = last.nodeType === Node.TEXT_NODE ? last : walker.previousNode();
    return found ? this.starts.get(found) + found.data.length : 0;
  }

  // The unit under a point of the window; null beside the text.
  unitAtPoint(x, y) {
    if (document.caretPositionFromPoint) {
      const place = document.caretPositionFromPoint(x, y);
      if (!place || !this.box.contains(place.offsetNode)) return null;
      return this.unit(place.offsetNode, place.offset);
    }
    const range = document.caretRangeFromPoint?.(x, y);
    if (!range || !this.box.contains(range.startContainer)) return null;
    return this.unit(range.startContainer, range.startOffset);
  }

  // One rectangle a line, relative to the box.
  lines(range) {
    const found = this.range(range);
    if (!found) return [];
    const home = this.box.getBoundingClientRect();
    const lines = [];
    const list = [...found.getClientRects()].filter((rect) => rect.width > 0)
      .sort((a, b) => a.top - b.top);
    for (const rect of list) {
      const line = lines.find((l) => Math.min(l.bottom, rect.bottom) - Math.max(l.top, rect.top)
        > 0.5 * Math.min(l.bottom - l.top, rect.height));
      if (!line) {
        const { left, right, top, bottom } = rect;
        lines.push({ left, right, top, bottom });
        continue;
      }
      line.left = Math.min(line.left, rect.left);
      line.right = Math.max(line.right, rect.right);
      line.top = Math.min(line.top, rect.top);
      line.bottom = Math.max(line.bottom, rect.bottom);
    }
    return lines.map(({ left, right, top, bottom }) => ({
      left: left - home.left, top: top - home.top, width: right - left, height: bottom - top,
    }));
  }
}

// What lies over the text without moving it: the chosen range with its handles, and previews.
class Overlay {
  constructor(host, view) {
    this.host = host;
    this.view = view;
    this.layers = { chosen: [], preview: [], flash: [] };
    this.handles = {};
    for (const edge of ['start', 'end']) {
      const handle = make('div', `sam-ed-handle ${edge}`);
      handle.dataset.edge = edge;
      handle.hidden = true;
      handle.setAttribute('aria-hidden', 'true');
      this.handles[edge] = handle;
      host.append(handle);
    }
  }

  // Shows `ranges` in a layer, in place of what it showed.
  show(layer, ...ranges) {
    const lines = ranges.filter(Boolean).flatMap((range) => this.view.lines(range));
    const nodes = this.layers[layer];
    while (nodes.length > lines.length) nodes.pop().remove();
    lines.forEach((line, i) => {
      nodes[i] ??= this.host.appendChild(make('div', `sam-ed-over ${layer}`));
      for (const [name, value] of Object.entries(line)) nodes[i].style[name] = `${value}px`;
    });
  }

  // Handles at the ends of a range; none without one. An edge lies where its letter begins to be read.
  grip(range) {
    for (const [edge, handle] of Object.entries(this.handles)) {
      handle.hidden = !range;
      if (!range) continue;
      const { text } = this.view;
      const unit = edge === 'start' ? range.start : range.end;
      const at = edge === 'start' ? lowest(text.letterEnds, unit + 1)
        : lowest(text.letterEnds, unit);
      const letter = { start: text.letterStarts[at], end: text.letterEnds[at] };
      const [line] = this.view.lines(letter);
      if (!line) continue;
      const right = text.rtlAt(letter.start) === (edge === 'start');
      handle.style.left = `${line.left + (right ? line.width : 0)}px`;
      handle.style.top = `${line.top}px`;
      handle.style.height = `${line.height}px`;
    }
  }
}
