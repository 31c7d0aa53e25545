"""The start page: what SaM does, a sample to try, and the sessions of this browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from sam_ui.markup import esc, number, tag
from sam_ui.page import Page, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import SessionInfo

__all__ = ["build", "sessions_html"]

PICTURE = """
<svg class="sam-picture" viewBox="0 0 560 226" role="img"
 aria-label="Several experts; those that fit your texts are selected, merged, and become one model">
  <g class="sam-pic-lines" fill="none">
    <path class="on" d="M118 38 H196"/><path d="M118 83 H196"/>
    <path class="on" d="M118 128 H196"/><path class="on" d="M118 173 H196"/>
    <path class="on" d="M228 38 C286 38 286 106 338 106"/>
    <path class="on" d="M228 128 C286 128 286 106 338 106"/>
    <path class="on" d="M228 173 C286 173 286 106 338 106"/>
    <path class="on" d="M404 106 H440"/>
  </g>
  <g class="sam-pic-experts">
    <rect x="8" y="22" width="110" height="32" rx="8" class="on"/><text x="63" y="43">news</text>
    <rect x="8" y="67" width="110" height="32" rx="8"/><text x="63" y="88">medicine</text>
    <rect x="8" y="112" width="110" height="32" rx="8" class="on"/><text x="63" y="133">law</text>
    <rect x="8" y="157" width="110" height="32" rx="8" class="on"/>
    <text x="63" y="178">science</text>
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
    <text x="496" y="101">your</text><text x="496" y="121">model</text>
  </g>
  <g class="sam-pic-words">
    <text x="63" y="220">experts</text><text x="212" y="220">select</text>
    <text x="371" y="220">merge</text><text x="496" y="220">use</text>
  </g>
</svg>
"""

HERO = f"""
<div class="sam-hero">
  <div>
    <h1>A model that finds the entities <em>you</em> care about</h1>
    <p>Give SaM some of your texts and name what should be found in them:
    <em>plant species</em>, <em>court</em>, <em>ship</em>.</p>
    <p>SaM shows which of its experts fit your texts, and merges the best ones into one model
    in seconds.</p>
    <p>Then read what the model finds, and take it home as a small file that runs
    anywhere.</p>
  </div>
  <figure>{PICTURE}</figure>
</div>
"""


def _ago(then: datetime) -> str:
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    minutes = int((datetime.now(UTC) - then).total_seconds() // 60)
    if minutes < 2:
        return "just now"
    if minutes < 90:
        return f"{minutes} minutes ago"
    if minutes < 36 * 60:
        return f"{round(minutes / 60)} hours ago"
    return f"{then.day} {then:%B %Y}"


def sessions_html(sessions: Sequence[SessionInfo]) -> str:
    """The sessions that this browser has opened, newest first, as buttons that open them."""
    if not sessions:
        return ""
    rows = []
    for session in sorted(sessions, key=lambda s: s.updated_at, reverse=True):
        size = f"{number(session.sentences, 'sentence')} · {number(session.types, 'type')}"
        rows.append(
            "<li>"
            + tag(
                "button",
                f"<strong>{esc(session.name)}</strong><span>{size}</span>"
                f"<span>{_ago(session.updated_at)}</span>",
                data_act="open",
                data_token=session.token,
                class_="sam-session",
            )
            + tag(
                "button", "×", data_act="delete", data_token=session.token, class_="sam-x",
                data_confirm=f"Delete “{session.name}” with its texts and results for good?",
                aria_label=f"Delete {session.name}", title="Delete this session",
            )
            + "</li>"
        )  # fmt: skip
    return (
        '<section class="sam-recent"><h2>Your sessions in this browser</h2>'
        f"<ul>{''.join(rows)}</ul></section>"
    )


def build(page: Page, recents: gr.BrowserState, enter: Callable[..., Updates]) -> None:
    """Build the start page.

    Args:
        recents: tokens of the sessions that this browser has opened.
        enter: ``enter(visit, session, recents)`` makes the visit one of `session`.
    """
    services = page.services
    column = page.add(step_column("step-start"))
    with column:
        gr.HTML(HERO, apply_default_css=False, elem_id="hero")
        with gr.Row(elem_classes="sam-start-buttons"):
            sample = gr.Button("Try with sample texts", variant="primary", elem_id="try-sample")
            new = gr.Button("New session", elem_id="new-session")
        others = action_html("other-samples", _samples_html(services.sessions.samples()))
        listing = page.add(action_html("recent-sessions"))

    def paint(visit: Visit) -> Updates:
        # Without it the start page is only painted again (a notice was dismissed): it stays.
        if "recent" not in visit.filters:
            return {}
        return {listing: sessions_html(visit.filters.pop("recent"))}

    def start_sample(visit: Visit, kept: Any) -> Updates:
        return enter(visit, services.sessions.try_sample(visit.act.get("name")), kept)

    def start_new(visit: Visit, kept: Any) -> Updates:
        return enter(visit, services.sessions.create(), kept)

    def on_listing(visit: Visit, kept: Any) -> Updates:
        token = str(visit.act.get("token", ""))
        session = services.sessions.by_token(token)
        if visit.act.get("act") == "open" and session:
            return enter(visit, session, kept)
        if visit.act.get("act") == "delete" and session:
            services.sessions.delete(session.id)
        visit.filters["recent"] = services.sessions.recent([t for t in (kept or []) if t != token])
        return {recents: [t for t in (kept or []) if t != token]}

    page.on(sample.click, start_sample, [recents])
    page.on(others.act, start_sample, [recents], event=True)
    page.on(new.click, start_new, [recents])
    page.on(listing.act, on_listing, [recents], event=True)
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
    return f'<p class="sam-samples">Samples: {links}</p>'
