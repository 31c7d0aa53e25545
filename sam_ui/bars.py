"""HTML and scripts of what is around the steps: header, rail, job strip, help."""

from __future__ import annotations

from typing import Any

from sam_ui.markup import attrs, esc, tag
from sam_ui.services.views import STEPS, JobView, SessionInfo

__all__ = ["HEAD", "TITLES", "WHERE_JS", "header_html", "rail_html", "strip_html"]

TITLES = {
    "upload": "Upload",
    "match": "Match",
    "merge": "Merge",
    "review": "Review",
    "share": "Share",
}
MARKS = {"done": ("✓", "done"), "running": ("◔", "running"), "stale": ("↻", "out of date")}

# The address follows the screen, so that a refresh, a bookmark and the back button work.
WHERE_JS = """
const show = (replace) => {
  const spot = element.querySelector('#sam-where');
  if (!spot) return;
  const {s, step} = spot.dataset;
  const query = s ? '?s=' + encodeURIComponent(s) + '&step=' + step : location.pathname;
  const here = new URLSearchParams(location.search);
  if ((here.get('s') || '') === (s || '') && (here.get('step') || '') === (s ? step : '')) return;
  if (replace || here.get('s') === (s || null)  && !here.get('step')) {
    history.replaceState(null, '', query);
  } else {
    history.pushState(null, '', query);
  }
  window.scrollTo(0, 0);
};
let first = true;
watch('value', () => { show(first); first = false; });
window.addEventListener('popstate', () => {
  const here = new URLSearchParams(location.search);
  trigger('act', {act: 'go', step: here.get('s') ? here.get('step') || 'upload' : 'start'});
});
"""

HEAD = """
<script>
window.samCopy = async (node) => {
  const text = node.dataset.copy === 'link' ? location.href : node.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) {
    const box = document.createElement('textarea');
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  const before = node.textContent;
  node.textContent = 'Copied';
  setTimeout(() => { node.textContent = before; }, 1500);
};
</script>
"""

HELP = """
<dialog id="sam-help" class="sam-dialog" aria-label="Help">
<form method="dialog"><button class="sam-x" aria-label="Close">×</button></form>
<h2>How SaM works</h2>
<dl>
<dt>Expert</dt><dd>A small add-on to a language model that has learned to find entities in one kind
of text, for example news or biology.</dd>
<dt>Upload</dt><dd>Give some of your texts and name the types to find. A short definition of a type
helps you and your colleagues agree on it.</dd>
<dt>Match</dt><dd>SaM measures two things for each expert: how <em>similar</em> your texts are to
what it learned from, and how well its answers on a few of your sentences <em>agree</em> with those of
the other experts.</dd>
<dt>Merge</dt><dd>The best experts are combined into one model by adding up what they changed, each
with its weight. This takes seconds; nothing is trained.</dd>
<dt>Review</dt><dd>Read what the merged model found. Every span comes with how sure the model is.
</dd>
<dt>Share</dt><dd>Download the model, the annotations and the recipe.</dd>
</dl>
<p class="sam-fine">Your texts stay on the machine that runs SaM. The link in your browser's address
bar opens this session; keep it, and treat it like a password.</p>
</dialog>
"""


def header_html(session: SessionInfo | None) -> str:
    """The bar at the top: home, the session's name (to rename), its link, help."""
    home = tag("button", "SaM", data_act="home", class_="sam-brand",
               title="Select and Merge: to the start page")  # fmt: skip
    middle = '<span class="sam-tagline">Select and Merge</span>'
    link = ""
    if session is not None:
        field = attrs(
            value=session.name, data_act="rename", aria_label="Name of the session", maxlength=80,
            id="session-name", title="Click to rename", spellcheck="false",
        )  # fmt: skip
        middle = f'<span class="sam-name"><input {field}></span>'
        link = tag("button", "Copy link", data_copy="link", class_="sam-small", id="copy-link")
    ask = tag("button", "?", data_dialog="sam-help", class_="sam-small round", aria_label="Help",
              id="help")  # fmt: skip
    return f"<header>{home}{middle}<span class='sam-header-end'>{link}{ask}</span></header>{HELP}"


def rail_html(states: dict[str, Any], current: str) -> str:
    """The five steps, each with its state."""
    items = []
    for index, name in enumerate(STEPS, start=1):
        mark, said = MARKS.get(states.get(name, "todo"), ("", "to do"))
        items.append(
            "<li>"
            + tag(
                "button",
                f'<span class="no">{index}</span><span class="name">{TITLES[name]}</span>'
                f'<span class="mark {states.get(name, "todo")}" title="{said}">{mark}</span>'
                f'<span class="sam-hear">{said}</span>',
                data_act="go", data_step=name, id=f"rail-{name}",
                aria_current="step" if name == current else None,
            )
            + "</li>"
        )  # fmt: skip
    return f'<nav aria-label="Steps"><ol>{"".join(items)}</ol></nav>'


def strip_html(job: JobView | None) -> str:
    """The job strip: what is being done, how far it is, how long it takes, a button to stop it."""
    if job is None:
        return ""
    if job.active:
        share = max(0.02, min(1.0, job.progress))
        return (
            f'<div class="sam-strip" role="status" data-job="{esc(job.id)}">'
            f'<span class="sam-strip-text">{esc(job.line)}</span>'
            f'<progress max="1" value="{share:.3f}" aria-label="Progress"></progress>'
            + tag(
                "button",
                "Cancel",
                data_act="cancel",
                data_job=job.id,
                class_="sam-small",
                id="cancel-job",
            )
            + "</div>"
        )
    if job.state != "failed":
        return ""
    return (
        f'<div class="sam-strip failed" role="alert"><span class="sam-strip-text"><strong>'
        f"{esc(job.what)}</strong> {esc(job.hint)}</span>"
        + tag(
            "button",
            "Try again",
            data_act="retry",
            data_job=job.id,
            class_="sam-small",
            id="retry-job",
        )
        + tag(
            "button", "×", data_act="dismiss", data_job=job.id, class_="sam-x", aria_label="Dismiss"
        )
        + "</div>"
    )
