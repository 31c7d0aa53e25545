"""With a link for looking nothing can be changed, whatever a browser sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from experts.pool import Pool
from sam_ui.app import Frame
from sam_ui.jobs.worker import Worker
from sam_ui.looking import Listener
from sam_ui.notices import broken_html, looking_html
from sam_ui.services import Services
from sam_ui.services.views import STEPS, EntityType, SessionInfo
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

SOME = ("remove", "rename", "switch", "go", "page")
"""Acts that are tried on every component, whether it knows them or not."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Iterator[Services]:
    folder: Path = tmp_path_factory.mktemp("data")
    services = Services(Settings(data_dir=folder, _env_file=None), pool=pool)  # type: ignore[call-arg]
    yield services
    services.close()


@pytest.fixture(scope="module")
def session(services: Services, pool: Pool) -> SessionInfo:
    """Texts, types, a match, a merge with predictions, and a job that failed."""
    session = services.sessions.create("Lakes")
    services.corpus.add_text(session.id, "Ada met Grace in Paris. It rained all day.")
    services.types.set(session.id, [EntityType("person"), EntityType("place")])
    engine = FakeEngine(services.settings, pool)
    worker = Worker(services, engine, name="w")
    services.match.start(session.id)
    assert worker.run_one()
    services.drafts.change(session.id, lambda draft: draft.weighed("astro", 0.5))
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5})
    assert worker.run_one()
    engine.error = MemoryError()
    services.match.start(session.id)
    assert worker.run_one()
    return session


@pytest.fixture(scope="module")
def frame(services: Services) -> Frame:
    with gr.Blocks() as demo:
        frame = Frame(services)
        frame.wire(demo)
    return frame


@pytest.fixture
def view(services: Services, session: SessionInfo) -> SessionInfo:
    found = services.sessions.by_token(services.links.create(session.id, "view"))
    assert found is not None
    services.links.used(found)
    return found


def stored(services: Services) -> list[str]:
    """Everything that the database holds, but for when links were used."""
    with services.store.database.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        lines = [line for line in raw.iterdump() if not line.startswith('INSERT INTO "links"')]
        links = connection.exec_driver_sql("SELECT id, kind, label, revoked_at FROM links")
        return lines + sorted(map(str, links))


def forged(component: Any) -> Any:
    """A value that a browser could send for an input."""
    match component:
        case gr.Textbox():
            return "forged"
        case gr.Slider():
            return 7
        case gr.Radio() | gr.Dropdown() if component.choices:
            return component.choices[-1][1]
        case gr.Checkbox():
            return True
    return None


def run(frame: Frame, listener: Listener, view: SessionInfo, step: str, act: str) -> Any:
    ids = [merge.id for merge in frame.services.merge.list(view.id)]
    job = frame.services.jobs.latest(view.id)
    data = {
        "act": act, "name": "astro", "value": "forged", "file": "1", "merge": ids[0],
        "job": job.id if job else "", "link": view.link_id, "token": view.token, "step": "match",
        "sentence": "1", "offset": "0",
    }  # fmt: skip
    values = [forged(component) for component in listener.inputs]
    return frame.page._run(listener, None, view.token, step, {}, [], data, values)  # type: ignore[arg-type]


def test_no_event_changes_anything(frame: Frame, services: Services, view: SessionInfo) -> None:
    before = stored(services)
    for listener in frame.page._listeners:
        acts = {*listener.reading, *SOME} if listener.event else {""}
        for act in sorted(acts):
            updates = run(frame, listener, view, "upload", act)
            notice = updates.get(frame.notice, "")
            assert notice != broken_html(), (listener.handler, act)
            if not listener.only_reads({"act": act}):
                assert notice == looking_html(), (listener.handler, act)
    assert stored(services) == before


def test_every_screen_can_be_looked_at(frame: Frame, services: Services, view: SessionInfo) -> None:
    before = stored(services)
    loaded = next(each for each in frame.page._listeners if each.handler == frame.loaded)
    for step in STEPS:
        updates = run(frame, loaded, view, step, "")
        assert updates[frame.notice] == ""
        assert updates[frame.page.step] == step
        assert "you cannot change it" in updates[frame.where]
        assert 'data-act="rename"' not in updates[frame.header]
    assert stored(services) == before


def test_a_listener_that_is_wrongly_said_to_read_is_stopped_by_the_database(
    frame: Frame, services: Services, view: SessionInfo
) -> None:
    wrong = Listener(
        frame.primary.click, lambda visit: services.sessions.rename(visit.id, "Mine now"), (),
        event=False, mode=None, writes=False, reading=(),
    )  # fmt: skip
    updates = run(frame, wrong, view, "upload", "")
    assert updates[frame.notice] == looking_html()
    assert services.sessions.get(view.id).name == "Lakes"


def test_with_a_link_for_changing_the_same_event_counts(
    frame: Frame, services: Services, session: SessionInfo
) -> None:
    header = next(each for each in frame.page._listeners if each.handler == frame.header_act)
    updates = run(frame, header, session, "upload", "rename")
    assert not updates.get(frame.notice)
    assert services.sessions.get(session.id).name == "forged"
    services.sessions.rename(session.id, "Lakes")


def test_a_link_that_has_ended_says_so_on_the_next_action(
    frame: Frame, services: Services, session: SessionInfo, view: SessionInfo
) -> None:
    services.links.revoke(session, view.link_id)
    for handler in (frame.loaded, frame.rail_act, frame.pressed):
        listener = next(each for each in frame.page._listeners if each.handler == handler)
        updates = run(frame, listener, view, "merge", "go")
        assert "This link has been revoked." in updates[frame.notice]
        assert (updates[frame.page.step], updates[frame.page.token]) == ("start", "")
        assert "Lakes" not in str(updates[frame.header])


def test_what_is_refused_is_hidden(frame: Frame) -> None:
    from sam_ui.looking import hiding_style

    style = hiding_style(frame.page._listeners)
    for hidden in ("#primary", "#paste", "#drop", "#create-link", "#weights [data-act]"):
        assert f"body.view-only {hidden}," in style, hidden
    assert 'body.view-only #job-strip [data-act]:not([data-act="dismiss"])' in style
    for shown in ("#preview-search", "#review-search", "#sam-rail", "#review-rows"):
        assert shown not in style
