"""Below the editor: the same words elsewhere, to mark them all; what was changed at once, to undo it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from experts.errors import SamError
from sam_ui.markup import color_or_grey, esc, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.review_views import IdenticalMention
from sam_ui.steps.review_place import merge_of, who
from sam_ui.words import _, _n

__all__ = ["Alike", "alike_html"]

SHOWN = 200
AROUND = 60  # characters shown on either side of a mention


def alike_html(
    surface: str, label: str, found: Sequence[IdenticalMention], *, here: int, color: str
) -> str:
    """The mentions, each with a box to leave it out.

    Args:
        here: how many more there are in the sentence of the editor.
    """
    words, kind = tag("b", esc(surface), dir="auto"), tag("b", esc(label))
    title = _("Mark {words} as {kind} wherever it stands", words=words, kind=kind)
    if not found and not here:
        body = f'<p class="sam-note">{esc(_("It stands nowhere else, or is marked already."))}</p>'
        return tag("div", f"<p>{title}</p>{body}{_close(_('Close'))}", class_="sam-inset")
    also = ""
    if here:
        also = tag("p", esc(_n("{n} more in this sentence.", "{n} more in this sentence.", here)),
                   class_="sam-note")  # fmt: skip
    if len(found) > SHOWN:
        also += tag("p", esc(_("Shown are the first {n}.", n=SHOWN)), class_="sam-note")
    rows = "".join(_row(mention, color) for mention in found[:SHOWN])
    count = min(len(found), SHOWN) + here
    button = tag(
        "button", esc(_n("Mark it", "Mark all {n} that are ticked", count)), type="button",
        data_spread=True, data_label=label, data_surface=surface, class_="sam-small sam-strong",
        id="spread",
    )  # fmt: skip
    return tag(
        "div",
        f'<p>{title}</p>{also}<ol class="sam-mentions">{rows}</ol>'
        f'<div class="sam-row-buttons">{button}{_close(_("Cancel"))}</div>',
        class_="sam-inset", role="group", aria_label=_("The same words elsewhere"),
    )  # fmt: skip


def _close(label: str) -> str:
    return tag("button", esc(label), data_act="close", class_="sam-small", type="button")


def _row(mention: IdenticalMention, color: str) -> str:
    start, end = mention.start, mention.end
    left, right = max(0, start - AROUND), end + AROUND
    text = mention.text
    shown = (
        ("…" if left else "")
        + esc(text[left:start])
        + tag("mark", esc(text[start:end]), style=f"--c:{color_or_grey(color)}")
        + esc(text[end:right])
        + ("…" if right < len(text) else "")
    )
    if mention.has:
        shown += tag("span", esc(_(" now: {type}", type=mention.has)), class_="sam-note")
    box = tag(
        "span", shown, dir="auto"
    )  # fmt: skip
    data = json.dumps([mention.sentence_id, start, end])
    return f'<li><label><input type="checkbox" checked data-mention="{data}">{box}</label></li>'


class Alike:
    """The part; made inside the card of the editor."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.html = page.add(action_html("review-alike"))
        page.on(self.html.act, self.act, event=True, reading=("close",))

    def paint(self, visit: Visit) -> Updates:
        return {self.html: self._bulk(visit) + self._asked(visit)}

    def _asked(self, visit: Visit) -> str:
        asked = visit.filters.get("alike")
        if not asked or asked["sentence"] != visit.filters.get("at"):
            visit.filters.pop("alike", None)
            return ""
        surface, label = asked["surface"], asked["label"]
        found = self.services.review.identical(
            visit.id, surface, label, merge_id=merge_of(visit)
        )  # fmt: skip
        elsewhere = [each for each in found if each.sentence_id != asked["sentence"]]
        colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
        return alike_html(
            surface, label, elsewhere, here=asked["here"], color=colors.get(label, "")
        )  # fmt: skip

    def _bulk(self, visit: Visit) -> str:
        bulk = visit.filters.get("bulk")
        if not bulk:
            return ""
        ident, changed, skipped = bulk
        said = _n("{n} sentence was changed.", "{n} sentences were changed.", changed)
        if skipped:
            said += " " + _n("{n} was left as it is.", "{n} were left as they are.", skipped)
        undo = tag("button", esc(_("Undo")), data_act="undo", class_="sam-small") if ident else ""
        return tag(
            "div",
            f'<div class="sam-row-buttons"><span role="status">{esc(said)}</span>{undo}'
            f"{_close(_('Close'))}</div>",
            class_="sam-inset", id="review-bulk",
        )  # fmt: skip

    # ---- what the editor and the buttons ask for ------------------------------------------------

    def ask(self, visit: Visit) -> None:
        """Show where the same words stand."""
        act = visit.act
        visit.filters.pop("bulk", None)
        visit.filters["alike"] = {
            "surface": str(act.get("surface", "")), "label": str(act.get("label", "")),
            "sentence": visit.filters.get("at"), "here": int(act.get("here", 0)),
        }  # fmt: skip

    def spread(self, visit: Visit) -> None:
        """Mark those that were left ticked."""
        mentions = _mentions(visit.act.get("mentions"))
        visit.filters.pop("alike", None)
        if mentions:
            change = self.services.review.apply_identical(
                visit.id, mentions, str(visit.act.get("label", "")), who=who(visit),
                merge_id=merge_of(visit),
            )  # fmt: skip
            visit.filters["bulk"] = (change.id, change.changed, change.skipped)

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        bulk = visit.filters.pop("bulk", None)
        visit.filters.pop("alike", None)
        if visit.act.get("act") == "undo" and bulk:
            change = self.services.review.undo_bulk(visit.id, bulk[0], who=who(visit))
            visit.filters["bulk"] = ("", change.changed, change.skipped)


def _mentions(value: Any) -> list[tuple[int, int, int]]:
    try:
        return [(int(i), int(start), int(end)) for i, start, end in json.loads(str(value))]
    except (TypeError, ValueError):
        raise SamError("These mentions cannot be read.", "Open the list again.") from None
