"""What Share hands over: corrections before predictions, losses told, files kept while true."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from db.records import NewSpan
from experts.errors import SamError
from experts.export.formats import formats
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.views import EntityType, Span
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

TEXT = "Ada met Grace in Paris. It rained all day. Bob left early."


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=make_pool(tmp_path / "pool"))
    yield services
    services.close()


@pytest.fixture
def session_id(services: Services) -> str:
    """Read by a merge: every capitalised word is a person, of a probability."""
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person"), EntityType("place")])
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5})
    assert Worker(services, FakeEngine(services.settings, services.pool), name="w").run_one()
    return session.id


def rows(path: Path) -> list[list[tuple[str, str]]]:
    """(surface, type) of each sentence's entities."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        [(line["text"][e["start"] : e["end"]], e["label"]) for e in line["entities"]]
        for line in lines
    ]


def sentence_ids(services: Services, session_id: str) -> list[int]:
    return [row.id for row in services.corpus.sentences(session_id).rows]


def test_corrections_count_over_predictions(services: Services, session_id: str) -> None:
    first, second, _ = sentence_ids(services, session_id)
    services.corrections.put(session_id, first, [Span(17, 22, "place")])
    services.corrections.put(session_id, second, [])
    path = services.share.annotations(session_id)
    assert rows(path) == [[("Paris", "place")], [], [("Bob", "person")]]
    only = services.share.annotations(session_id, reviewed=True)
    assert rows(only) == [[("Paris", "place")], []]
    assert path.exists(), "the two stand side by side"
    services.corrections.put(session_id, first, [])
    assert rows(services.share.annotations(session_id))[0] == []
    assert not path.exists(), "it was not true any more"


def test_of_types_that_a_correction_does_not_speak_of_predictions_stay(
    services: Services, session_id: str
) -> None:
    first, *_ = sentence_ids(services, session_id)
    services.corrections.put(session_id, first, [Span(17, 22, "place")], types=["place"])
    found = rows(services.share.annotations(session_id))[0]
    # Paris was predicted as a person; there the correction counts.
    assert found == [("Ada", "person"), ("Grace", "person"), ("Paris", "place")]


def test_what_a_format_cannot_keep_is_told_beforehand(services: Services, session_id: str) -> None:
    first, *_ = sentence_ids(services, session_id)
    merge = services.store.merge(session_id, None)
    session = services.store.session(session_id)
    assert merge is not None
    services.store.predictions.replace(
        session_id, merge.id, [NewSpan(first, 0, 2, "person", 0.5)],
        corpus_revision=session.corpus_revision, types_revision=session.types_revision,
    )  # fmt: skip
    assert services.share.losses(session_id, "jsonl") == ()
    lost = services.share.losses(session_id, "conll")
    assert any("inside a word" in line and line.startswith("1 ") for line in lost), lost
    with pytest.raises(SamError, match="no format"):
        services.share.annotations(session_id, "docx")


def test_before_anything_is_predicted_nothing_is_lost_and_nothing_handed_over(
    services: Services,
) -> None:
    session = services.sessions.create("Later")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    services.merge.start(session.id, {"astro": 1.0}, predict=False)
    assert Worker(services, FakeEngine(services.settings, services.pool), name="w").run_one()
    assert services.share.losses(session.id, "conll") == ()
    with pytest.raises(SamError, match="Nothing has been predicted"):
        services.share.annotations(session.id, "conll")
    assert services.share.adapter_zip(session.id).is_file()


def test_every_format_has_a_name_of_its_own(services: Services, session_id: str) -> None:
    made = [
        services.share.annotations(session_id, kind.key) for kind in formats() if not kind.extra
    ]
    assert len({path.name for path in made}) == len(made)
    assert all(path.is_file() for path in made)
    assert all(path.parent == made[0].parent for path in made)


def test_the_model_is_written_again_only_when_something_has_changed(
    services: Services, session_id: str
) -> None:
    first = services.share.adapter_zip(session_id)
    written = first.stat().st_mtime_ns
    assert services.share.adapter_zip(session_id) == first
    assert first.stat().st_mtime_ns == written
    services.sessions.rename(session_id, "Rivers")
    second = services.share.adapter_zip(session_id)
    assert second.name.startswith("rivers-")
    assert not first.exists()


def test_the_card_has_scores_when_enough_is_corrected(services: Services) -> None:
    session = services.sessions.create("Names")
    names = ["Ada", "Bob", "Cleo", "Dora", "Emil", "Fritz", "Gustav", "Hanna", "Ilse", "Jan"]
    services.corpus.add_text(session.id, " ".join(f"{name} met Zoe." for name in names))
    services.types.set(session.id, [EntityType("person")])
    services.merge.start(session.id, {"astro": 1.0})
    assert Worker(services, FakeEngine(services.settings, services.pool), name="w").run_one()
    ids = sentence_ids(services, session.id)
    for number, ident in enumerate(ids):
        text = services.corpus.sentences(session.id).rows[number].text
        end = text.index(" ")
        spans = [Span(0, end, "person"), Span(end + 5, end + 8, "person")]
        services.corrections.put(session.id, ident, spans)
        if number == 5:
            assert card(services, session.id).data.eval_results is None
    results = card(services, session.id).data.eval_results
    assert results is not None
    assert {r.metric_type: r.metric_value for r in results} == {
        "f1": 1.0,
        "precision": 1.0,
        "recall": 1.0,
    }
    assert results[0].dataset_name.startswith("10 sentences")


def card(services: Services, session_id: str) -> ModelCard:
    path = services.share.adapter_zip(session_id)
    with zipfile.ZipFile(path) as archive:
        return ModelCard(archive.read(f"{path.stem}/README.md").decode())
