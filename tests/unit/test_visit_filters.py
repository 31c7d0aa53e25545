"""Filters of a tab: what one event changes, another that runs beside it leaves alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from sam_ui.looking import Listener
from sam_ui.page import Page, Visit
from sam_ui.services import Services
from sam_ui.settings import Settings
from sam_ui.visit_filters import SharedFilters
from tests.unit.fakes import make_pool


def test_events_write_what_they_have_changed() -> None:
    kept: dict[str, Any] = {"search": "", "types": ["a"], "old": 1}
    first, second = SharedFilters(kept), SharedFilters(kept)
    mine, theirs = first.read(), second.read()
    mine["search"] = "Ada"
    mine["types"].append("b")
    del theirs["old"]
    theirs["order"] = "doubtful"
    assert not second.write(theirs)
    assert first.write(mine)  # the other has changed something meanwhile
    assert kept == {"search": "Ada", "types": ["a", "b"], "order": "doubtful"}
    assert first.read() == kept
    assert not first.write(first.read())


def test_what_began_before_a_move_does_not_move_back() -> None:
    kept: dict[str, Any] = {"nav": 1, "at": 5}
    slow, quick = SharedFilters(kept), SharedFilters(kept)
    mine = slow.read() | {"at": 4, "spot": 2, "search": "Ada"}
    quick.write(quick.read() | {"nav": 2, "at": 7})
    slow.write(mine)
    assert kept == {"nav": 2, "at": 7, "search": "Ada"}
    quick.write(quick.read() | {"nav": 3, "at": 8})
    assert (kept["nav"], kept["at"]) == (3, 8)


def test_what_is_read_is_a_copy() -> None:
    kept: dict[str, Any] = {"types": ["a"]}
    shared = SharedFilters(kept)
    mine = shared.read()
    mine["types"].append("b")
    assert kept == {"types": ["a"]}
    shared.write(mine)
    mine["types"].append("c")
    assert kept == {"types": ["a", "b"]}


@pytest.mark.parametrize("kept", [None, [], "x"])
def test_without_a_state_they_begin_anew(kept: Any) -> None:
    shared = SharedFilters(kept)
    assert shared.read() == {}
    shared.write({"search": "x"})
    assert shared.kept == {"search": "x"}


def test_two_quick_events_are_both_kept_and_both_painted(tmp_path: Path) -> None:
    """The first one is held until the second is through, as when the database is slow."""
    services = Services(Settings(data_dir=tmp_path / "data"), pool=make_pool(tmp_path / "pool"))
    with gr.Blocks():
        page = Page(services)
    painted: list[dict[str, Any]] = []
    begun, go_on = threading.Event(), threading.Event()

    def paint(visit: Visit) -> dict[Any, Any]:
        if threading.current_thread() is slow:
            begun.set()
            assert go_on.wait(30)
        painted.append(dict(visit.filters))
        return {}

    page.paint = paint
    state = {"search": "", "types": []}  # of the tab: Gradio gives all its events the same object

    def event(**changed: Any) -> dict[Any, Any]:
        def handle(visit: Visit) -> None:
            visit.filters |= changed

        listener = Listener(lambda: None, handle, (), False, None, False, ())
        return page._run(listener, None, "", "start", state, None, {}, ())  # type: ignore[arg-type]

    answers: list[dict[Any, Any]] = []
    slow = threading.Thread(target=lambda: answers.append(event(search="Ada")))
    slow.start()
    assert begun.wait(30)
    answers.append(event(types=["person"]))
    go_on.set()
    slow.join(30)
    both = {"search": "Ada", "types": ["person"]}
    assert state == both
    assert [answer[page.filters] for answer in answers] == [both, both]
    assert painted[0] == both  # the first had written before it painted
    assert painted[-1] == both  # and paints again what the second has changed
    services.close()
