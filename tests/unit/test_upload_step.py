"""What the listeners of the upload step do, without a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from experts.errors import SamError
from sam_ui.page import Page, Visit
from sam_ui.services import Services
from sam_ui.settings import Settings
from sam_ui.steps.upload import READING, Upload
from sam_ui.steps.upload_texts import privacy_html

TABLE = "id,body\n1,It rained.\n2,Bob left.\n"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings)
    yield services
    services.close()


@pytest.fixture
def step(services: Services) -> Upload:
    with gr.Blocks(analytics_enabled=False):
        return Upload(Page(services))


@pytest.fixture
def visit(services: Services) -> Visit:
    return Visit(services, services.sessions.create(), "upload")


def drop(step: Upload, visit: Visit, path: Path, waiting: Any = None) -> Any:
    path.write_text(TABLE, encoding="utf-8")
    step.dropped(visit, [str(path)], waiting)
    return visit.extra[step.waiting]


def test_tables_dropped_one_after_another_are_all_asked_about(
    step: Upload, visit: Visit, services: Services, tmp_path: Path
) -> None:
    waiting = drop(step, visit, tmp_path / "a.csv")
    waiting = drop(step, visit, tmp_path / "b.csv", waiting)
    assert [Path(path).name for path, _ in waiting] == ["a.csv", "b.csv"]
    step.left_out(visit, waiting)
    step.chosen(visit, visit.extra[step.waiting], "body")
    assert [file.name for file in services.corpus.files(visit.id)] == ["b.csv"]
    assert visit.extra[step.waiting] == []


def test_a_wrong_column_is_asked_again(
    step: Upload, visit: Visit, services: Services, tmp_path: Path
) -> None:
    waiting = drop(step, visit, tmp_path / "a.csv")
    step.chosen(visit, waiting, "nonsense")
    assert visit.extra[step.waiting] == waiting, "the question stays"
    assert services.corpus.files(visit.id) == []
    (refused,) = services.corpus.refused(visit.id)
    assert "nonsense" in refused.what
    step.chosen(visit, waiting, "body")
    assert services.corpus.refused(visit.id) == []


def test_a_table_that_is_gone_says_so(step: Upload, visit: Visit, tmp_path: Path) -> None:
    waiting = drop(step, visit, tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SamError, match=r"a\.csv") as caught:
        step.chosen(visit, waiting, "body")
    assert caught.value.hint
    assert visit.extra[step.waiting] == []


def test_files_are_read_in_the_background_and_reported_one_by_one(
    step: Upload, visit: Visit, services: Services, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("It rained.")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 no more")
    paths = [str(tmp_path / name) for name in ("a.txt", "b.pdf", "gone.txt")]
    step.dropped(visit, paths)
    assert services.incoming.wait(visit.id, 60)
    assert [file.name for file in services.corpus.files(visit.id)] == ["a.txt"]
    refused = services.corpus.refused(visit.id)
    assert [file.name for file in refused] == ["b.pdf", "gone.txt"]
    html = step.paint(visit)[step.files]
    assert "2 files were not added" in html
    assert "b.pdf is damaged" in html
    visit.act = {"act": "dismiss", "name": "b.pdf"}
    step.file_act(visit)
    assert "1 file was not added" in step.paint(visit)[step.files]


def test_while_files_are_read_the_screen_looks_again(
    step: Upload, visit: Visit, services: Services, tmp_path: Path
) -> None:
    held = tmp_path / "held.txt"
    os.mkfifo(held)  # reading it waits until somebody writes
    services.incoming.start(visit.id, [held])
    updates = step.paint(visit)
    assert "held.txt" in updates[step.files]
    assert "Reading" in updates[step.files]
    assert updates[step.timer].active
    assert updates[step.read] == READING
    assert "Still reading 1 file" in step.primary(visit).hint
    assert visit.session is not None
    assert step.poll(visit.session.token, 0.0)[step.read] == READING
    held.write_text("It rained.")
    assert services.incoming.wait(visit.id, 60)
    read = step.poll(visit.session.token, READING)
    assert read[step.read] > 0, "the step is painted anew"
    assert "held.txt" in step.paint(visit)[step.files]


def test_a_removed_file_comes_back_after_a_refresh(
    step: Upload, visit: Visit, services: Services
) -> None:
    services.corpus.add_files(visit.id, [("a<b.txt", b"It rained.")])
    (file,) = services.corpus.files(visit.id)
    for act, shown in (("remove", 0), ("restore", 1), ("remove", 0), ("discard", 0)):
        visit.act = {"act": act, "file": str(file.id)}
        step.file_act(visit)
        assert services.corpus.counts(visit.id).files == shown
        html = step.paint(visit)[step.files]
        assert ("removed, with 1 sentence" in html) == (act == "remove")
        assert "a<b" not in html
    with pytest.raises(SamError, match="deleted for good"):
        services.corpus.restore_file(visit.id, file.id)


def test_a_type_is_changed_in_its_form(step: Upload, visit: Visit, services: Services) -> None:
    services.types.set_text(visit.id, "person\nship: a vessel\nplace")
    person, ship, _ = services.types.list(visit.id)
    visit.act = {"act": "edit", "name": "ship"}
    step.type_act(visit)
    assert 'value="a vessel"' in step.paint(visit)[step.types]
    wrong = {"act": "save", "name": "ship", "to": "Place", "definition": "", "color": ""}
    visit.act = wrong
    with pytest.raises(SamError, match="already"):
        step.type_act(visit)
    assert "sam-type-form" in step.paint(visit)[step.types], "the form stays open"
    visit.act = wrong | {"to": "vessel", "definition": "ships & boats", "color": person.color}
    step.type_act(visit)
    assert "sam-type-form" not in step.paint(visit)[step.types]
    changed = [(t.name, t.definition, t.color) for t in services.types.list(visit.id)][:2]
    assert changed == [("person", "", ship.color), ("vessel", "ships & boats", person.color)]
    visit.act = wrong | {"name": "vessel", "to": "vessel", "color": "#000000"}
    with pytest.raises(SamError, match="colour"):
        step.type_act(visit)


def test_whoever_only_looks_sees_types_without_controls(
    step: Upload, visit: Visit, services: Services
) -> None:
    services.corpus.add_text(visit.id, "It rained.")
    services.types.add(visit.id, "person")
    assert visit.session is not None
    visit.session = replace(visit.session, view_only=True)
    (file,) = services.corpus.files(visit.id)
    services.corpus.add_text(visit.id, "It snowed.")
    services.corpus.remove_file(visit.id, file.id)
    updates = step.paint(visit)
    assert "data-act" not in updates[step.types]
    assert "removed" not in updates[step.files]
    assert updates[step.suggested] == ""
    assert not updates[step.timer].active
    assert services.queue.active(visit.id) == [], "nothing is asked for"


def test_suggestions_are_asked_for_once(step: Upload, visit: Visit, services: Services) -> None:
    step.paint(visit)
    assert services.queue.active(visit.id) == [], "without texts there is nothing to look at"
    services.corpus.add_text(visit.id, "It rained.")
    for _ in range(2):
        assert step.paint(visit)[step.timer].active
    assert [job.kind for job in services.queue.active(visit.id)] == ["suggest"]
    visit.act = {"act": "look", "text": "Ada"}
    step.suggested_act(visit)
    assert visit.filters["preview_search"] == visit.extra[step.search] == "Ada"


def test_where_texts_are_kept_is_said_truly(tmp_path: Path) -> None:
    def said(**values: Any) -> str:
        return privacy_html(Settings(data_dir=tmp_path, _env_file=None, **values))

    assert str(tmp_path) in said()
    assert "nothing of them to anybody else" in said()
    assert str(tmp_path) not in said(host="0.0.0.0")
    served = said(engine_url="http://models.example:8000", share=True)
    assert "nothing of them to anybody else" not in served
    assert "http://models.example:8000" in served
    assert "public Gradio link" in served


def test_types_are_added_all_or_none(step: Upload, visit: Visit, services: Services) -> None:
    with pytest.raises(SamError, match="101"):
        step.typed(visit, "\n".join(f"type {i}" for i in range(101)))
    assert services.types.list(visit.id) == []
    step.typed(visit, "<b>bold</b>, ship: a vessel")
    assert [t.name for t in services.types.list(visit.id)] == ["<b>bold</b>", "ship"]
    step.paint(visit)
