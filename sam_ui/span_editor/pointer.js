// Mouse, pen and finger: selecting with a preview of what will be marked, clicking, the handles.

class Pointer {
  constructor(ed, listen) {
    Object.assign(this, { ed, down: false, fine: false, kind: 'mouse', grip: null });
    const { box, stage } = ed.tools;
    listen(box, 'pointerdown', (event) => this.#press(event));
    listen(document, 'pointerup', (event) => this.#release(event));
    listen(document, 'pointercancel', () => this.#stop());
    listen(document, 'selectionchange', () => this.#selecting());
    for (const type of ['keydown', 'keyup']) {
      listen(document, type, (event) => this.#shift(event));
    }
    listen(box, 'mouseover', (event) => this.#over(event));
    listen(box, 'mouseleave', () => ed.tools.hint());
    for (const handle of Object.values(ed.overlay.handles)) {
      listen(handle, 'pointerdown', (event) => this.#take(event, handle));
      listen(handle, 'pointermove', (event) => this.#pull(event));
      listen(handle, 'pointerup', () => this.#drop());
    }
    this.stage = stage;
  }

  #press(event) {
    if (!this.ed.doc || event.button) return;
    this.kind = event.pointerType;
    this.fine = event.shiftKey;
    this.down = true;
    // With Shift the browser would extend what was selected before.
    if (event.detail < 2) document.getSelection().removeAllRanges();
  }

  // What is selected now, as the range that it will become.
  #range() {
    const { view, doc, tools } = this.ed;
    const selection = document.getSelection();
    if (!doc || !selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    if (!range.intersectsNode(tools.box)) return null;
    const start = view.unit(range.startContainer, range.startOffset);
    const end = view.unit(range.endContainer, range.endOffset);
    return this.fine ? doc.text.letters(start, end) : doc.text.snap(start, end);
  }

  #selecting() {
    if (!this.ed.able) return;
    if (this.down) this.ed.overlay.show('preview', this.#range());
    // A finger selects after it has left the screen, too; its own handles stay.
    if (this.kind === 'touch') {
      const range = this.#range();
      if (range) this.ed.choose({ range });
    }
  }

  #shift(event) {
    if (event.key !== 'Shift') return;
    this.fine = event.type === 'keydown';
    if (this.down) this.#selecting();
    if (this.grip) this.#pull(this.grip);
  }

  #release(event) {
    if (!this.down) return;
    this.fine = event.shiftKey;
    const range = this.ed.able ? this.#range() : null;
    this.#stop();
    if (range) {
      this.ed.choose({ range });
      if (this.kind !== 'touch') document.getSelection().removeAllRanges();
    } else if (this.ed.tools.box.contains(event.target)) {
      this.#click(event);
    }
  }

  #stop() {
    this.down = false;
    this.ed.overlay.show('preview');
  }

  // The innermost span under the pointer; another click takes the next one around it.
  #click(event) {
    const { ed } = this;
    const spans = ed.spansOf(event.target);
    if (!spans.length) {
      ed.choose(null);
      return;
    }
    const at = spans.findIndex((span) => span.id === ed.choice?.id);
    const caret = ed.view.unitAtPoint(event.clientX, event.clientY);
    if (at >= 0 && spans.length === 1) ed.choose({ ...ed.choice, caret });
    else ed.chooseSpan(spans[(at + 1) % spans.length].id, caret);
  }

  #over(event) {
    const { ed } = this;
    const node = event.target.closest('mark');
    if (this.down || !node) ed.tools.hint();
    else ed.tools.hint(ed.spansOf(node), node.getClientRects()[0]);
  }

  // ---- handles ------------------------------------------------------------------------------------

  #take(event, handle) {
    if (!this.ed.choice) return;
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    this.fine = event.shiftKey;
    this.edge = handle.dataset.edge;
    this.grip = event;
    this.pulled = null;
    this.stage.classList.add('pulling');
  }

  #pull(event) {
    if (!this.grip) return;
    this.grip = event;
    const { ed } = this;
    const unit = ed.view.unitAtPoint(event.clientX, event.clientY);
    if (unit === null) return;
    const { range } = ed.choice;
    const place = ed.doc.text.nearest(this.edge, unit, this.fine);
    const wanted = { ...range, [this.edge]: place };
    if (wanted.start >= wanted.end) return;
    this.pulled = wanted;
    ed.overlay.show('preview', wanted);
  }

  #drop() {
    if (!this.grip) return;
    this.grip = null;
    this.stage.classList.remove('pulling');
    this.ed.overlay.show('preview');
    if (this.pulled) this.ed.resize(this.pulled);
  }
}
