// What is on its way to the server. Actions go in the order in which they were done, one parcel at a
// time: never are two on their way for one sentence. A parcel without an answer is sent again, then
// with the last state of each sentence alone, so that what arrived twice changes nothing.

const PATIENCE_MS = [8000, 15000, 30000];

class Saves {
  // send(parcel) hands it over; changed(state) is told "saved", "saving" or "again".
  constructor({ send, changed, later = (...of) => setTimeout(...of), drop = (id) => clearTimeout(id) }) {
    Object.assign(this, { send, changed, later, drop });
    this.kept = () => {}; // told what is not saved, whenever that changes
    this.waiting = [];
    this.flight = null;
    this.held = new Set(); // sentences in conflict: nothing of them goes out
    this.revisions = new Map();
    this.parcels = 0;
    this.state = 'saved';
  }

  get unsaved() {
    return this.waiting.length > 0 || this.flight !== null;
  }

  has(sentence) {
    const of = (item) => item.sentence === sentence;
    return this.waiting.some(of) || (this.flight?.items.some(of) ?? false);
  }

  // item: {sentence, spans, action, force?}; `revision` is what its editor last saw.
  push(item, revision) {
    if (!this.revisions.has(item.sentence)) this.revisions.set(item.sentence, revision);
    this.waiting.push(item);
    this.#next();
    this.kept(this.pending());
  }

  // The last state of each sentence that is not saved, with its revision.
  pending() {
    const all = [...this.flight?.items ?? [], ...this.waiting];
    const last = new Map(all.map((item) => [item.sentence, item]));
    return [...last.values()].map((item) => (
      { ...item, revision: this.revisions.get(item.sentence) ?? 0 }));
  }

  #tell(state) {
    this.state = state;
    this.changed(state);
    this.kept(this.pending());
  }

  #next() {
    if (this.flight) return;
    const items = this.waiting.filter((item) => !this.held.has(item.sentence));
    if (!items.length) {
      if (!this.waiting.length) this.#tell('saved');
      return;
    }
    this.waiting = this.waiting.filter((item) => this.held.has(item.sentence));
    this.flight = { items, parcels: new Set(), tries: 0 };
    this.#tell('saving');
    this.#post();
  }

  #post() {
    const { flight } = this;
    const parcel = ++this.parcels;
    flight.parcels.add(parcel);
    const wait = PATIENCE_MS[Math.min(flight.tries, PATIENCE_MS.length - 1)];
    flight.tries += 1;
    flight.timer = this.later(() => this.#again(flight), wait);
    this.send({
      parcel,
      items: flight.items.map((item) => (
        { ...item, revision: this.revisions.get(item.sentence) ?? 0 })),
    });
  }

  #again(flight) {
    if (this.flight !== flight) return;
    this.drop(flight.timer);
    // A parcel that got through already must not look like an older version of itself.
    const last = new Map([...flight.items, ...this.waiting].map((item) => [item.sentence, item]));
    const sent = new Set(flight.items.map((item) => item.sentence));
    this.waiting = this.waiting.filter((item) => !sent.has(item.sentence));
    flight.items = [...last.values()].filter((item) => sent.has(item.sentence));
    this.#tell('again');
    this.#post();
  }

  // answer: {parcel, saved: [[sentence, revision, status]], conflict?, failed?, again?}
  // Gives whether it was an answer to what is on its way.
  answer(answer) {
    const { flight } = this;
    if (!flight || !flight.parcels.has(answer.parcel)) return false;
    this.drop(flight.timer);
    if (answer.again) {
      this.#tell('again');
      flight.timer = this.later(() => this.#again(flight), 2000);
      return true;
    }
    this.flight = null;
    for (const [sentence, revision] of answer.saved ?? []) this.revisions.set(sentence, revision);
    for (const { sentence } of answer.conflicts ?? []) this.held.add(sentence);
    const gone = new Set((answer.failed ?? []).map((each) => each.sentence));
    this.waiting = this.waiting.filter((item) => !gone.has(item.sentence));
    this.#next();
    return true;
  }

  // A conflict is settled: what waited of this sentence is dropped, its editor sends what it wants.
  settle(sentence, revision) {
    this.held.delete(sentence);
    this.waiting = this.waiting.filter((item) => item.sentence !== sentence);
    this.revisions.set(sentence, revision);
    this.#next();
  }
}
