"""Files that are removed and brought back, types that get another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db import Database, migrate
from db.models import Sentence, Upload
from db.records import NewDocument, NewReview, NewSentence, NewSpan, SessionRecord, TypeRecord
from db.repositories import (
    AnnotationRepository,
    CorpusRepository,
    CorrectionRepository,
    EventRepository,
    MergeRepository,
    PredictionRepository,
    RemovalRepository,
    RenamingRepository,
    ReviewRepository,
    RunRepository,
    SessionRepository,
    TypeRepository,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'sam.sqlite3'}"
    migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def session(database: Database) -> SessionRecord:
    return SessionRepository(database).create("One")


def upload(database: Database, session_id: str, name: str, texts: list[str]) -> int:
    starts = [sum(len(t) + 1 for t in texts[:i]) for i in range(len(texts))]
    return CorpusRepository(database).add_upload(
        session_id, name=name, format="txt", encoding="utf-8", duplicates=0, notes=["one note"],
        documents=[NewDocument(name, " ".join(texts))],
        sentences=[
            NewSentence(0, start, start + len(text), text, key=text, gold=[[0, 3, "person"]])
            for start, text in zip(starts, texts, strict=True)
        ],
    )  # fmt: skip


def state(database: Database, session_id: str) -> list[object]:
    corpus = CorpusRepository(database)
    return [corpus.uploads(session_id), corpus.sentences(session_id), corpus.stored(session_id)]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_removed_file_comes_back_exactly(
    database: Database, session: SessionRecord, which: int
) -> None:
    ids = [
        upload(database, session.id, "a.txt", ["Ada met Grace.", "It rained."]),
        upload(database, session.id, "b.txt", ["It rained.", "It snowed."]),
        upload(database, session.id, "c.txt", ["It rained.", "It snowed.", "Bob left."]),
    ]
    before = state(database, session.id)
    removal = RemovalRepository(database)
    assert removal.remove(session.id, ids[which])
    assert not removal.remove(session.id, ids[which])
    after = state(database, session.id)
    assert after != before
    assert [r.id for r in removal.list(session.id)] == [ids[which]]
    assert removal.restore(session.id, ids[which])
    assert not removal.restore(session.id, ids[which])
    assert state(database, session.id) == before
    assert removal.list(session.id) == []


def test_what_is_added_meanwhile_is_seen_and_hides_when_the_first_comes_back(
    database: Database, session: SessionRecord
) -> None:
    first = upload(database, session.id, "a.txt", ["It rained."])
    removal, corpus = RemovalRepository(database), CorpusRepository(database)
    removal.remove(session.id, first)
    upload(database, session.id, "b.txt", ["It rained.", "It snowed."])
    shown = [(s.text, s.document) for s in corpus.sentences(session.id)]
    assert shown == [("It rained.", "b.txt"), ("It snowed.", "b.txt")]
    assert corpus.stored(session.id) == 2
    removal.restore(session.id, first)
    shown = [(s.text, s.document) for s in corpus.sentences(session.id)]
    assert shown == [("It rained.", "a.txt"), ("It snowed.", "b.txt")]


def test_results_are_up_to_date_again_when_nothing_else_has_changed(
    database: Database, session: SessionRecord
) -> None:
    sessions, runs, merges = (
        SessionRepository(database), RunRepository(database), MergeRepository(database),
    )  # fmt: skip
    removal = RemovalRepository(database)
    first = upload(database, session.id, "a.txt", ["It rained."])
    upload(database, session.id, "b.txt", ["It snowed."])

    def revision() -> int:
        found = sessions.get(session.id)
        assert found is not None
        return found.corpus_revision

    old = {"corpus_revision": revision(), "types_revision": 0}
    run = runs.add(session.id, "match", **old, params={}, details={}, scores=[])
    assert merges.list(session.id) == []
    removal.remove(session.id, first)
    removal.restore(session.id, first)
    found = runs.get(session.id, run)
    assert found is not None
    assert found.corpus_revision == revision() == old["corpus_revision"] + 2

    removal.remove(session.id, first)
    upload(database, session.id, "c.txt", ["It froze."])
    removal.restore(session.id, first)
    found = runs.get(session.id, run)
    assert found is not None
    assert found.corpus_revision < revision()


def test_removed_files_are_deleted_for_good(database: Database, session: SessionRecord) -> None:
    removal = RemovalRepository(database)
    other = SessionRepository(database).create("Two")
    ids = [upload(database, session.id, f"{n}.txt", [f"Day {n}."]) for n in range(4)]
    assert not removal.discard(session.id, ids[0]), "it is not removed"
    for ident in ids:
        removal.remove(session.id, ident)
    assert not removal.discard(other.id, ids[0])
    assert removal.discard(session.id, ids[0])
    removal.discard_but(session.id, 2)
    assert [r.id for r in removal.list(session.id)] == ids[2:]
    left = removal.list(session.id)[0]
    assert (left.name, left.sentences, left.notes) == ("2.txt", 1, ("one note",))
    assert removal.forget(older_than_s=3600) == 0
    assert removal.forget(older_than_s=-1) == 2
    with database.read() as connection:
        for table in (Upload, Sentence):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_a_type_is_renamed_wherever_it_stands(database: Database, session: SessionRecord) -> None:
    upload(database, session.id, "a.txt", ["Ada met Grace."])
    (sentence,) = CorpusRepository(database).sentences(session.id)
    types, corrections = TypeRepository(database), CorrectionRepository(database)
    types.replace(
        session.id, [TypeRecord("person", "", "#111111"), TypeRecord("place", "x", "#222222")]
    )
    spans, named = [[0, 3, "person"], [8, 13, "place"]], ["person", "place"]
    correct = NewReview(sentence.id, "changed", spans, named, [], "edit", who="Ada")
    ReviewRepository(database).change(session.id, [sentence.id], lambda _: [correct])
    AnnotationRepository(database).put(
        session.id, sentence.id, "Bo", lambda *_: [[0, 3, "person"]], types=named
    )
    merges, predictions = MergeRepository(database), PredictionRepository(database)
    merges.add(
        session.id, merge_id="m" * 32, label="", recipes=[{}], paths=[], details={}, retained_energy=1.0,
        corpus_revision=1, types_revision=1,
    )  # fmt: skip
    predictions.replace(
        session.id, "m" * 32, [NewSpan(sentence.id, 0, 3, "person", 0.5)],
        corpus_revision=1, types_revision=1,
    )  # fmt: skip
    renaming, before = RenamingRepository(database), SessionRepository(database).get(session.id)
    assert before is not None
    for old, new in (("nobody", "people"), ("person", "place")):
        assert not renaming.rename(session.id, old, new)
    assert renaming.rename(session.id, "person", "people")
    assert [t.name for t in types.list(session.id)] == ["people", "place"]
    corrected = corrections.get(session.id, sentence.id)
    assert corrected is not None
    assert corrected.spans == [[0, 3, "people"], [8, 13, "place"]]
    assert (corrected.types, corrected.who) == (["people", "place"], "Ada")
    event = EventRepository(database).of(session.id, sentence.id)[0]
    assert (event.action, event.revision, event.who) == ("rename", 2, "")
    assert (event.before["spans"], event.after["spans"]) == (spans, corrected.spans)
    annotated = AnnotationRepository(database).get(session.id, sentence.id, "Bo")
    assert annotated is not None
    assert (annotated.spans, annotated.types) == ([[0, 3, "people"]], ["people", "place"])
    assert annotated.revision == 2
    assert predictions.counts(session.id, "m" * 32) == {"people": 1}
    assert CorpusRepository(database).sentences(session.id)[0].gold == [[0, 3, "people"]]
    after = SessionRepository(database).get(session.id)
    assert after is not None
    assert after.types_revision == before.types_revision + 1
