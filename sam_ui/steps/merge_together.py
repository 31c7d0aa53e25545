"""How well the chosen experts go together: a sentence below the sliders, its numbers folded away."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import esc, percent, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.drafts import Draft
from sam_ui.services.merge_views import CompatibilityPair, CompatibilityView
from sam_ui.services.views import MatchView
from sam_ui.words import _, mark

__all__ = ["Together", "together_html"]

EVERY_S = 0.4
"""How often to look whether the comparison is there: it takes a second or two at first."""

EXPLAINED = mark(
    "<b>Alike</b>: 1 the same, 0 unrelated, below 0 they undo each other. <b>Shared ground</b>: how "
    "much of what one expert changes lies where the other makes changes, too. <b>Opposite</b>: of "
    "the places that both change noticeably, in how many they pull in opposite directions; by "
    "chance it would be half."
)


def together_html(
    view: CompatibilityView | None,
    titles: Mapping[str, str],
    *,
    rank: int | None = None,
    running: bool = False,
    problem: str = "",
) -> str:
    """The sentence, and the numbers of each pair in a folded part; "" with nothing to say.

    Args:
        titles: expert name -> how it is called.
        rank: size that is chosen for the merged model.
        running: it is being computed.
        problem: why it could not be.
    """
    if view is None:
        said = _("Looking how well they go together…") if running else problem
        return tag("p", esc(said), class_="sam-note sam-together") if said else ""
    rows = "".join(_row(pair, titles) for pair in view.pairs)
    kept = ", ".join(
        _("{share} at {size}", share=_kept(share), size=size)
        for size, share in sorted(view.retained.items())
    )
    keeps = ""
    if rank is not None and rank in view.retained:
        said = _(
            "At the size that you chose ({rank}), the merged model keeps about {share} of what "
            "these experts know.",
            rank=rank,
            share=_kept(view.retained[rank]),
        )
        keeps = f"<p>{said}</p>"
    columns = (_("Alike"), _("Shared ground"), _("Opposite"))
    head = tag("th", _("Experts")) + "".join(tag("th", each, class_="n") for each in columns)
    equal = _(
        "Added up in equal parts, a merged model of a smaller size (rank) keeps of them: {shares}.",
        shares=kept,
    )
    return (
        f'<div class="sam-together" aria-live="polite"><p>{esc(view.summary)}</p>{keeps}'
        f'<details data-key="together"><summary>{_("The numbers behind this")}</summary>'
        f'<div class="sam-scroll"><table class="sam-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="sam-note">{_(EXPLAINED)}</p>'
        f'<p class="sam-note">{equal}</p></details></div>'
    )


def _row(pair: CompatibilityPair, titles: Mapping[str, str]) -> str:
    names = f"{titles.get(pair.first, pair.first)}, {titles.get(pair.second, pair.second)}"
    conflict = _("none") if pair.conflict is None else percent(pair.conflict)
    cells = (f"{pair.cosine:.2f}", percent(pair.overlap), conflict)
    return f"<tr><td>{esc(names)}</td>" + "".join(tag("td", c, class_="n") for c in cells) + "</tr>"


def _kept(share: float) -> str:
    """Rounded down: only what is kept whole is 100 %."""
    return f"{floor(100 * share + 1e-9)} %"


class Together:
    """The part below the sliders; made inside their card."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.html = page.add(action_html("merge-together"))
        self.timer = page.add(gr.Timer(EVERY_S, active=False))
        page.tick(self.timer, self.poll, [page.token], [self.html, self.timer])

    def paint(self, visit: Visit, draft: Draft) -> Updates:
        """Asks for the comparison of the experts that take part, which costs nothing if known."""
        if not visit.wants("together"):
            return {}
        return self._updates(visit.id, draft)

    def poll(self, token: str) -> dict[Any, Any]:
        """A moment has passed while the experts are being compared."""
        session = self.services.sessions.by_token(token) if token else None
        if session is None:
            return {self.timer: gr.Timer(active=False)}
        match: MatchView | None = self.services.match.result(session.id)
        updates = self._updates(session.id, self.services.drafts.get(session.id).following(match))
        return {self.timer: gr.skip()} if updates[self.timer].active else updates

    def _updates(self, session_id: str, draft: Draft) -> Updates:
        names = list(draft.weights)
        view, problem, running = None, "", False
        if len(names) > 1:
            try:
                view = self.services.merge.compatibility_soon(session_id, names)
                running = view is None
            except SamError as error:
                problem = f"{_(error.what)} {_(error.hint)}".strip()
        titles = {info.name: info.title for info in self.services.experts.list()}
        return {
            self.html: together_html(
                view, titles, rank=draft.rank, running=running, problem=problem
            ),
            self.timer: gr.Timer(active=running),
        }
