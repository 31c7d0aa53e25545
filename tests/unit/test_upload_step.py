"""What the listeners of the upload step do, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from experts.errors import SamError
from sam_ui.page import Page, Visit
from sam_ui.services import Services
from sam_ui.settings import Settings
from sam_ui.steps.upload import Upload

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
    visit.extra.clear()
    with pytest.raises(SamError, match="nonsense"):
        step.chosen(visit, waiting, "nonsense")
    assert step.waiting not in visit.extra, "the question stays as it is"
    assert services.corpus.files(visit.id) == []


def test_a_table_that_is_gone_says_so(step: Upload, visit: Visit, tmp_path: Path) -> None:
    waiting = drop(step, visit, tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SamError, match=r"a\.csv") as caught:
        step.chosen(visit, waiting, "body")
    assert caught.value.hint
    assert visit.extra[step.waiting] == []


def test_types_are_added_all_or_none(step: Upload, visit: Visit, services: Services) -> None:
    with pytest.raises(SamError, match="101"):
        step.typed(visit, "\n".join(f"type {i}" for i in range(101)))
    assert services.types.list(visit.id) == []
    step.typed(visit, "<b>bold</b>, ship: a vessel")
    assert [t.name for t in services.types.list(visit.id)] == ["<b>bold</b>", "ship"]
    step.paint(visit)
