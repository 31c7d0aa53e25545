"""What could be looked for: types of the pool by how well they fit the texts, and what recurs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.suggesting import fit
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("suggesting")
    settings = Settings(data_dir=folder / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=make_pool(folder / "pool"))
    yield services
    services.close()


@pytest.fixture
def worker(services: Services) -> Worker:
    return Worker(services, FakeEngine(services.settings, services.pool), name="test")


def test_types_near_the_phrases_and_sentences_come_first() -> None:
    types = np.eye(3, dtype=np.float32)
    phrases = np.array([[0, 1, 0], [0, 0.8, 0.6]], np.float32)
    assert np.argmax(fit(types, phrases, phrases[:0])) == 1
    assert list(np.argsort(-fit(types, phrases, types[2:]))) == [2, 1, 0]
    assert list(fit(types, phrases[:0], phrases[:0])) == [0, 0, 0]


def test_the_worker_looks_at_the_texts_once(services: Services, worker: Worker) -> None:
    session = services.sessions.create().id
    assert not services.suggesting.ask(session)
    services.corpus.add_text(session, "Lakes froze at Lake Bled. Ada saw Lake Bled. lake a lake.")
    assert services.suggesting.ask(session)
    assert services.suggesting.view(session).pending
    assert worker.run_one()
    view = services.suggesting.view(session)
    assert not view.pending
    assert [(item.text, item.count) for item in view.often] == [("Lake Bled", 2)]
    assert "Lakes" in [item.name for item in view.types]
    assert not services.suggesting.ask(session), "it is known"
    assert not worker.run_one()

    services.corpus.add_text(session, "Bob left.")
    assert services.suggesting.ask(session), "the texts have changed"
    services.types.add(session, "lake bled")
    worker.run_one()
    assert services.suggesting.view(session).often == (), "it is a type now"


def test_the_order_follows_the_fit(services: Services, worker: Worker) -> None:
    session = services.sessions.create().id
    services.corpus.add_text(session, "Kkk lll. Kkk lle.")
    before = [item.name for item in services.types.suggestions(session)]
    assert before == ["person", "Astronomy", "Court decisions", "Lakes"]
    services.suggesting.ask(session)
    worker.run_one()
    # By letters, the texts are most like “Lakes”.
    assert services.types.suggestions(session)[0].name == "Lakes"


def test_without_an_embedder_what_recurs_is_still_shown(
    services: Services, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = services.sessions.create().id
    services.corpus.add_text(session, "Ada saw Lake Bled. Bob saw Lake Bled.")

    def fail(*_: Any) -> None:
        raise OSError("no model")

    monkeypatch.setattr(FakeEngine, "embedder", property(fail))
    services.suggesting.ask(session)
    worker.run_one()
    view = services.suggesting.view(session)
    assert [item.text for item in view.often] == ["Lake Bled"]
    assert view.types[0].name == "person"
    assert not services.suggesting.ask(session)


def test_leftovers_of_corpora_are_not_suggested(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    services = Services(settings)
    session = services.sessions.create().id
    names = [item.name for item in services.types.suggestions(session, limit=500)]
    assert len(names) > 30
    assert not [name for name in names if name.startswith("other ") or name == "miscellaneous"]
    services.close()
