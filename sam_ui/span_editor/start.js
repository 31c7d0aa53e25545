// One editor for the component's element. What is not saved yet outlives it: Gradio makes the element
// anew whenever its screen is shown again.

const shared = (window.samReview ??= { docs: new Map(), ahead: [], nav: 0 });
shared.stop?.abort();
shared.stop = new AbortController();
const listen = (target, type, act) => target.addEventListener(
  type, (event) => { if (element.isConnected) act(event); }, { signal: shared.stop.signal });

const host = element.querySelector('.sam-ed');
const ed = new Editor(host, shared, (data) => trigger('act', data));
new Pointer(ed, listen);
new Keys(ed, listen);
host.samEditor = ed;

// The page's primary button accepts, as Enter does; whatever else it says is the server's to do.
document.addEventListener('click', (event) => {
  if (!element.isConnected || !ed.doc || !ed.tools.box.checkVisibility()) return;
  const primary = event.target.closest('#primary');
  if (primary && ed.data.accept && primary.textContent.trim() === ed.data.accept) {
    event.preventDefault();
    event.stopImmediatePropagation();
    ed.accept();
  }
}, { capture: true, signal: shared.stop.signal });

// Anything on the screen may lead to a sentence, or mark what was found to be alike.
listen(document, 'click', (event) => {
  const link = event.target.closest('[data-sentence-go]');
  if (link) ed.go(Number(link.dataset.sentenceGo));
  const spread = event.target.closest('[data-spread]');
  if (!spread) return;
  const { label, surface } = spread.dataset;
  const boxes = [...document.querySelectorAll('input[data-mention]')];
  ed.spread(label, surface, boxes.filter((box) => box.checked)
    .map((box) => JSON.parse(box.dataset.mention)));
});
// Gradio would close its connection before it is known whether the page is really left.
window.addEventListener('beforeunload', (event) => {
  if (!ed.saves.unsaved) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, { capture: true, signal: shared.stop.signal });

// What is not saved when the page is loaded anew all the same (Gradio does that when its server has
// come back) is sent then.
const place = `sam-unsaved ${new URLSearchParams(location.search).get('s')}`;
ed.saves.kept = (items) => {
  try {
    if (items.length) sessionStorage.setItem(place, JSON.stringify(items));
    else sessionStorage.removeItem(place);
  } catch { /* the browser keeps nothing: it is in memory */ }
};
if (!shared.restored) {
  const left = JSON.parse(sessionStorage.getItem(place) ?? '[]');
  shared.restored = new Set(left.map(({ sentence }) => sentence));
  for (const { revision, ...item } of left) ed.saves.push(item, revision);
}
new ResizeObserver(() => { if (ed.doc && element.isConnected) ed.moved(); }).observe(ed.tools.box);

// The list of spans is another part of the page, which may come later or be made anew.
const listing = new MutationObserver(() => {
  if (!element.isConnected) listing.disconnect();
  else if (ed.doc && ed.tools.place !== document.querySelector('[data-span-list]')) ed.tools.list();
});
listing.observe(element.closest('#step-review') ?? document.body, { childList: true, subtree: true });

const read = (text) => (text ? JSON.parse(text) : null);
watch('ack', () => ed.answered(read(props.ack)));
watch('value', () => ed.receive(read(props.value)));
if (props.ack) ed.answered(read(props.ack));
ed.receive(read(props.value));
