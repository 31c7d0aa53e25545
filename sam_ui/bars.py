"""HTML and scripts of what is around the steps: header, rail, job strip, help."""

from __future__ import annotations

from typing import Any

from sam_ui.markup import attrs, esc, tag
from sam_ui.services.views import STEPS, SessionInfo
from sam_ui.theme import scheme_button
from sam_ui.words import _, mark, spoken

__all__ = ["HEAD", "TITLES", "WHERE_JS", "header_html", "rail_html", "where_html"]

TITLES = {
    "upload": mark("Upload"),
    "match": mark("Match"),
    "merge": mark("Merge"),
    "review": mark("Review"),
    "share": mark("Share"),
}
MARKS = {
    "done": ("✓", mark("done")),
    "running": ("◔", mark("running")),
    "stale": ("↻", mark("out of date")),
}
TODO = ("", mark("to do"))

# The address follows the screen, so that a refresh, a bookmark and the back button work.
WHERE_JS = """
const show = (replace) => {
  const spot = element.querySelector('#sam-where');
  if (!spot) return;
  const {s, step, kind, lang} = spot.dataset;
  document.documentElement.lang = lang;
  document.body.classList.toggle('view-only', kind === 'view');
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
  node.textContent = document.getElementById('sam-where').dataset.copied;
  setTimeout(() => { node.textContent = before; }, 1500);
};
</script>
"""


def where_html(session: SessionInfo | None, step: str) -> str:
    """Where the page is, for its script; and what those are told who may only look."""
    view_only = session is not None and session.view_only
    spot = tag(
        "span", id="sam-where", hidden=True, data_s=session.token if session else "",
        data_step=step, data_kind="view" if view_only else "edit", data_copied=_("Copied"),
        data_lang=spoken().replace("_", "-"),
    )  # fmt: skip
    if session is None or not view_only:
        return spot
    name = tag("strong", esc(session.name), dir="auto")
    said = _("You are looking at {name}; you cannot change it.", name=name)
    return spot + tag("p", said, class_="sam-looking", role="note")


def header_html(session: SessionInfo | None) -> str:
    """The bar at the top: home, the session's name (to rename), its link, help."""
    home = tag("button", "SaM", data_act="home", class_="sam-brand",
               title=_("Select and Merge: to the start page"))  # fmt: skip
    middle = tag("span", _("Select and Merge"), class_="sam-tagline")
    link = ""
    if session is not None:
        field = attrs(
            value=session.name, data_act="rename", aria_label=_("Name of the session"), maxlength=80,
            id="session-name", title=_("Click to rename"), spellcheck="false",
        )  # fmt: skip
        middle = f'<span class="sam-name"><input {field}></span>'
        if session.view_only:
            middle = (
                f'<span class="sam-name looking"><b dir="auto">{esc(session.name)}</b>'
                f'<span class="sam-badge">{_("look only")}</span></span>'
            )
        link = tag("button", _("Copy link"), data_copy="link", class_="sam-small", id="copy-link")
    ask = tag("button", "?", data_dialog="sam-help", class_="sam-small round", aria_label=_("Help"),
              id="help")  # fmt: skip
    end = f"{link}{scheme_button()}{ask}"
    return f"<header>{home}{middle}<span class='sam-header-end'>{end}</span></header>"


def rail_html(states: dict[str, Any], current: str) -> str:
    """The five steps, each with its state."""
    items = []
    for index, name in enumerate(STEPS, start=1):
        sign, said = MARKS.get(states.get(name, "todo"), TODO)
        items.append(
            "<li>"
            + tag(
                "button",
                f'<span class="no">{index}</span><span class="name">{_(TITLES[name])}</span>'
                + tag("span", sign, class_=f"mark {states.get(name, 'todo')}", title=_(said))
                + tag("span", _(said), class_="sam-hear"),
                data_act="go", data_step=name, id=f"rail-{name}",
                aria_current="step" if name == current else None,
            )
            + "</li>"
        )  # fmt: skip
    return f'<nav aria-label="{esc(_("Steps"))}"><ol>{"".join(items)}</ol></nav>'
