"""The tab "One by one" of Review: the editor between the queue and what is known of the sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import empty
from sam_ui.page import Page, Updates, Visit
from sam_ui.span_editor import span_editor
from sam_ui.steps.review_alike import Alike
from sam_ui.steps.review_payload import editor_value, packed, unpacked
from sam_ui.steps.review_place import Place, find_place, merge_of, order_of, who
from sam_ui.steps.review_queue import Queue, clear
from sam_ui.steps.review_side import Side
from sam_ui.words import _, mark

__all__ = ["ACCEPT", "OneByOne"]

ACCEPT = mark("Accept and next")
log = logging.getLogger(__name__)


class OneByOne:
    """The components of the tab and what its listeners do; made inside it.

    Attributes:
        parts: further cards of the right column, with ``paint(visit)``.
    """

    def __init__(self, page: Page, parts: Sequence[Any] = ()) -> None:
        self.services = page.services
        with gr.Row(elem_id="review-one"):
            with gr.Column(min_width=200), gr.Column(elem_classes="sam-card"):
                self.queue = Queue(page)
            with gr.Column(min_width=260), gr.Column(elem_classes="sam-card"):
                self.editor = page.add(span_editor("review-editor"))
                self.nothing = page.add(gr.HTML(apply_default_css=False, visible=False))
                self.alike = Alike(page)
            with gr.Column(min_width=220):
                self.side = Side(page)
                self.parts = [build_part(page) for build_part in parts]
        page.on(self.editor.act, self.act, event=True, mode="multiple", reading=("show",))

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> tuple[Updates, Place]:
        """The tab, and the place where the visit has ended up."""
        place = find_place(visit)
        done = place.sentence is not None and not place.left and visit.act.get("act") == "save"
        said = _("That was the last one: every sentence is reviewed.") if done else ""
        value = editor_value(visit, place, _(ACCEPT), said)
        options: dict[str, Any] = {"value": value}
        if "ack" in visit.act:
            options["ack"] = json.dumps(visit.act["ack"])
        nothing = ""
        if place.sentence is None:
            nothing = empty(
                _("No sentence fits these filters"), _("Choose others, or press “Show all”.")
            )  # fmt: skip
        updates: Updates = {self.editor: gr.update(**options)}
        updates[self.nothing] = gr.HTML(nothing, visible=bool(nothing))
        updates |= self.queue.paint(visit, place) | self.side.paint(visit, place)
        updates |= self.alike.paint(visit)
        for part in self.parts:
            updates |= part.paint(visit)
        return updates, place

    # ---- listeners --------------------------------------------------------------------------

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        act = visit.act.get("act")
        if act == "save":
            visit.act["ack"] = self._save(visit)
        self._follow(visit)
        if act == "alike":
            self.alike.ask(visit)
        elif act == "spread":
            self.alike.spread(visit)

    def _follow(self, visit: Visit) -> None:
        """To the sentence where the browser was when it sent this, unless it is known to be
        elsewhere by now.
        """
        nav = int(visit.act.get("nav", 0))
        if nav < visit.filters.get("nav", 0):
            return
        visit.filters["nav"] = nav
        if visit.act.get("sentence"):
            visit.filters["at"] = visit.act["sentence"]
        else:  # it asks what comes next
            visit.filters |= {"at": visit.act.get("after"), "onward": True}

    def _save(self, visit: Visit) -> dict[str, Any]:
        """Keeps a parcel of actions in their order; what to answer."""
        ack: dict[str, Any] = {"parcel": visit.act.get("parcel")}
        saved: dict[int, tuple[int, str]] = {}
        failed, conflicts = [], []
        stopped: set[int] = set()
        name = who(visit)
        for item in json.loads(str(visit.act.get("items", "[]"))):
            ident = int(item["sentence"])
            if ident in stopped:
                continue
            revision = saved[ident][0] if ident in saved else int(item.get("revision", 0))
            try:
                result = self._keep(visit, ident, item, revision, name)
            except SamError as problem:
                failed.append({"sentence": ident, "said": f"{problem.what} {problem.hint}"})
                stopped.add(ident)
                continue
            except Exception:  # the database may be busy: the browser still has it
                log.exception("A review could not be saved")
                return ack | {"again": True}
            if result.conflict is not None:
                other = result.conflict
                conflicts.append({
                    "sentence": ident, "who": other.who, "at": other.at.isoformat(),
                    "spans": packed(other.spans), "revision": other.revision,
                    "status": other.status,
                })  # fmt: skip
                stopped.add(ident)
            else:
                saved[ident] = (result.revision, result.status)
        done = [[ident, revision, status] for ident, (revision, status) in saved.items()]
        return ack | {"saved": done, "failed": failed, "conflicts": conflicts}

    def _keep(
        self, visit: Visit, ident: int, item: dict[str, Any], revision: int, name: str
    ) -> Any:
        force = bool(item.get("force"))
        if item["action"] == "reopen":
            return self.services.review.reopen(
                visit.id, ident, revision=revision, who=name, force=force
            )  # fmt: skip
        return self.services.review.put(
            visit.id, ident, unpacked(item["spans"]), revision=revision, who=name,
            action=item["action"], order=order_of(visit), force=force, merge_id=merge_of(visit),
        )  # fmt: skip

    def press(self, visit: Visit, place: Place) -> None:
        """The primary button where the editor's script does not answer: accept what is there."""
        shown = place.sentence
        if shown is None:
            clear(visit)
            return
        self.services.review.put(
            visit.id, shown.sentence.id, shown.spans, revision=shown.revision, who=who(visit),
            action="accept", order=order_of(visit), merge_id=merge_of(visit),
        )  # fmt: skip
        visit.filters["onward"] = True
