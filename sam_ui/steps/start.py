"""The start page: what SaM does, a sample to try, and the sessions of this browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import attrs, esc, tag
from sam_ui.page import Page, Step, Updates, Visit, action_html, notice_html, step_column
from sam_ui.services.views import SessionInfo
from sam_ui.steps.common import ago
from sam_ui.words import _, _n, day

__all__ = ["build", "sessions_html"]

PICTURE = """
<svg class="sam-picture" viewBox="0 0 560 226" role="img" aria-label="{said}">
  <g class="sam-pic-lines" fill="none">
    <path class="on" d="M118 38 H196"/><path d="M118 83 H196"/>
    <path class="on" d="M118 128 H196"/><path class="on" d="M118 173 H196"/>
    <path class="on" d="M228 38 C286 38 286 106 338 106"/>
    <path class="on" d="M228 128 C286 128 286 106 338 106"/>
    <path class="on" d="M228 173 C286 173 286 106 338 106"/>
    <path class="on" d="M404 106 H440"/>
  </g>
  <g class="sam-pic-experts">
    <rect x="8" y="22" width="110" height="32" rx="8" class="on"/><text x="63" y="43">{news}</text>
    <rect x="8" y="67" width="110" height="32" rx="8"/><text x="63" y="88">{medicine}</text>
    <rect x="8" y="112" width="110" height="32" rx="8" class="on"/><text x="63" y="133">{law}</text>
    <rect x="8" y="157" width="110" height="32" rx="8" class="on"/>
    <text x="63" y="178">{science}</text>
  </g>
  <g class="sam-pic-switches">
    <rect x="196" y="29" width="32" height="18" rx="9" class="on"/>
    <circle cx="219" cy="38" r="6"/>
    <rect x="196" y="74" width="32" height="18" rx="9"/>
    <circle cx="205" cy="83" r="6"/>
    <rect x="196" y="119" width="32" height="18" rx="9" class="on"/>
    <circle cx="219" cy="128" r="6"/>
    <rect x="196" y="164" width="32" height="18" rx="9" class="on"/>
    <circle cx="219" cy="173" r="6"/>
  </g>
  <circle class="sam-pic-merge" cx="371" cy="106" r="33"/>
  <path class="sam-pic-plus" d="M371 92 V120 M357 106 H385"/>
  <g class="sam-pic-model">
    <rect x="440" y="68" width="112" height="76" rx="12"/>
    <text x="496" y="101">{your}</text><text x="496" y="121">{model}</text>
  </g>
  <g class="sam-pic-words">
    <text x="63" y="220">{experts}</text><text x="212" y="220">{select}</text>
    <text x="371" y="220">{merge}</text><text x="496" y="220">{use}</text>
  </g>
</svg>
"""


def hero_html() -> str:
    """What SaM does: three sentences and one picture."""
    told = (
        _(
            "Give SaM some of your texts and name what should be found in them: "
            "<em>plant species</em>, <em>court</em>, <em>ship</em>."
        ),
        _(
            "SaM shows which of its experts fit your texts, and merges the best ones into one "
            "model in seconds."
        ),
        _("Then read what the model finds, and take it home as a small file that runs anywhere."),
    )
    title = _("A model that finds the entities <em>you</em> care about")
    return (
        f'<div class="sam-hero"><div><h1>{title}</h1>{"".join(f"<p>{line}</p>" for line in told)}'
        f"</div><figure>{_picture()}</figure></div>"
    )


def _picture() -> str:
    said = _(
        "Several experts; those that fit your texts are selected, merged, and become one model"
    )
    labels = {
        "news": _("news"),
        "medicine": _("medicine"),
        "law": _("law"),
        "science": _("science"),
        "your": _("your"),
        "model": _("model"),
        "experts": _("experts"),
        "select": _("select"),
        "merge": _("merge"),
        "use": _("use"),
    }
    return PICTURE.format(said=esc(said), **{key: esc(label) for key, label in labels.items()})


# Renaming happens in the row: the name becomes a field until it is left.
LIST_JS = """
element.addEventListener('click', (event) => {
  const ask = event.target.closest('[data-rename]');
  if (ask) {
    const row = ask.closest('li');
    const field = row.querySelector('input');
    row.classList.add('renaming');
    field.focus();
    field.select();
  }
  const once = event.target.closest('[data-act="duplicate"], [data-act="delete"]');
  if (!once) return;
  once.disabled = true;
  if (once.dataset.act === 'duplicate') once.textContent = once.dataset.busy;
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.target.tagName !== 'INPUT') return;
  event.target.value = event.target.getAttribute('value');
  event.target.blur();
});
element.addEventListener('change', (event) => {
  const name = event.target.value.trim();
  if (name) event.target.closest('li').querySelector('strong').textContent = name;
});
element.addEventListener('focusout', (event) => {
  if (event.target.tagName === 'INPUT') event.target.closest('li').classList.remove('renaming');
});
"""


def sessions_html(sessions: Sequence[SessionInfo]) -> str:
    """The sessions that this browser has opened, newest first: open, rename, duplicate, delete."""
    if not sessions:
        return ""
    rows = "".join(_session_row(session) for session in sessions)
    # Written anew each time, so that what a click has changed in the browser alone is gone.
    return (
        f'<section class="sam-recent" data-painted="{time.monotonic_ns()}">'
        f"<h2>{_('Your sessions in this browser')}</h2><ul>{rows}</ul></section>"
    )


def _session_row(session: SessionInfo) -> str:
    sentences = _n("{n} sentence", "{n} sentences", session.sentences)
    size = f"{sentences} · {_n('{n} type', '{n} types', session.types)}"
    name = session.name
    token = session.token
    badge = tag("span", _("look only"), class_="sam-badge") if session.view_only else ""
    opener = tag(
        "button",
        f'<span class="name"><strong dir="auto">{esc(session.name)}</strong>{badge}</span>'
        f"<span>{size}</span>"
        + tag("span", ago(session.updated_at), title=_("Made on {day}", day=day(session.created_at))),
        data_act="open", data_token=token, class_="sam-session",
    )  # fmt: skip
    if session.view_only:
        remove = tag(
            "button", "×", data_act="forget", data_token=token, class_="sam-x",
            aria_label=_("Take {name} off this list", name=name), title=_("Take it off this list"),
        )  # fmt: skip
        return f'<li>{opener}<span class="sam-session-do">{remove}</span></li>'
    field = attrs(
        value=session.name, data_act="rename", data_token=token, maxlength=80, spellcheck="false",
        aria_label=_("New name of {name}", name=name),
    )  # fmt: skip
    do = (
        tag("button", _("Rename"), data_rename=True, class_="sam-quiet",
            aria_label=_("Rename {name}", name=name))
        + tag("button", _("Duplicate"), data_act="duplicate", data_token=token, class_="sam-quiet",
              data_busy=_("Copying…"), aria_label=_("Duplicate {name}", name=name))
        + tag("button", "×", data_act="delete", data_token=token, class_="sam-x",
              aria_label=_("Delete {name}", name=name), title=_("Delete this session"))
    )  # fmt: skip
    return f'<li>{opener}<input {field}><span class="sam-session-do">{do}</span></li>'


def deleted_html(session: SessionInfo) -> str:
    """Says that a session was deleted, with a button that brings it back."""
    undo = tag(
        "button", _("Undo"), data_act="restore", data_token=session.token, class_="sam-small",
        id="undo-delete",
    )  # fmt: skip
    return notice_html(
        _("“{name}” is deleted.", name=session.name),
        _("Its links no longer work, and after a day it is gone for good."),
        kind="done",
        button=undo,
    )


def build(page: Page, enter: Callable[[Visit, SessionInfo], None]) -> None:
    """Build the start page.

    Args:
        enter: ``enter(visit, session)`` makes the visit one of `session`.
    """
    services = page.services
    column = page.add(step_column("step-start"))
    with column:
        page.fixed(lambda: gr.HTML(hero_html(), apply_default_css=False, elem_id="hero"))
        with gr.Row(elem_classes="sam-start-buttons"):
            sample = page.fixed(
                lambda: gr.Button(
                    _("Try with sample texts"), variant="primary", elem_id="try-sample"
                )
            )
            new = page.fixed(lambda: gr.Button(_("New session"), elem_id="new-session"))
        others = page.add(action_html("other-samples"))
        listing = page.add(action_html("recent-sessions", extra_js=LIST_JS))

    def paint(visit: Visit) -> Updates:
        return {
            others: _samples_html(services.sessions.samples()),
            listing: sessions_html(services.sessions.recent(visit.kept)),
        }

    def start_sample(visit: Visit) -> None:
        enter(visit, services.sessions.try_sample(visit.act.get("name")))

    def start_new(visit: Visit) -> None:
        enter(visit, services.sessions.create())

    def on_listing(visit: Visit) -> None:
        token, act = str(visit.act.get("token", "")), visit.act.get("act")
        session = services.sessions.by_token(token)
        if session is None:
            raise SamError(*services.links.why_closed(token))
        if act == "open":
            enter(visit, session)
        elif act == "forget":
            visit.kept = tuple(kept for kept in visit.kept if kept != token)
        elif session.view_only:
            raise SamError(
                "With this link you can only look.", "Ask for one to change the session."
            )
        elif act == "rename":
            services.sessions.rename(session.id, str(visit.act.get("value", "")))
        elif act == "duplicate":
            copy = services.sessions.duplicate(session.id)
            visit.keep(copy.token)
            visit.notice = notice_html(_("Copied as “{name}”.", name=copy.name), kind="done")
        elif act == "delete":
            services.sessions.delete(session.id)
            visit.notice = deleted_html(session)

    page.on(sample.click, start_sample)
    page.on(others.act, start_sample, event=True)
    page.on(new.click, start_new)
    page.on(listing.act, on_listing, event=True, mode="multiple")
    page.steps["start"] = Step(
        "start", column, paint, primary=lambda visit: None, press=lambda visit: None
    )


def _samples_html(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    links = " ".join(
        tag(
            "button",
            esc(name.replace("_", " ").capitalize()),
            data_act="sample",
            data_name=name,
            class_="sam-link",
        )
        for name in names
    )
    return f'<p class="sam-samples">{_("Samples: {names}", names=links)}</p>'
