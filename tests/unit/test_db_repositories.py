"""Storing and reading, on a real SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db import Database, migrate
from db.models import Base
from db.records import (
    ExpertRecord,
    NewDocument,
    NewSentence,
    NewSpan,
    ScoreRecord,
    SessionRecord,
    TypeRecord,
)
from db.repositories import (
    CorpusRepository,
    ExpertRepository,
    JobRepository,
    MergeRepository,
    PredictionRepository,
    RemovalRepository,
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
        session_id,
        name=name,
        format="txt",
        encoding="utf-8",
        duplicates=1,
        notes=["A note."],
        documents=[NewDocument(name, " ".join(texts))],
        sentences=[
            NewSentence(0, start, start + len(text), text, key=text)
            for start, text in zip(starts, texts, strict=True)
        ],
    )


def test_repeated_sentences_hide_and_come_back(database: Database, session: SessionRecord) -> None:
    corpus = CorpusRepository(database)
    first = upload(database, session.id, "a.txt", ["Ada met Grace.", "It rained."])
    upload(database, session.id, "b.txt", ["It rained.", "It snowed."])
    upload(database, session.id, "c.txt", ["It rained."])

    assert [s.text for s in corpus.sentences(session.id)] == [
        "Ada met Grace.",
        "It rained.",
        "It snowed.",
    ]
    counts = [(u.name, u.sentences, u.duplicates) for u in corpus.uploads(session.id)]
    assert counts == [("a.txt", 2, 1), ("b.txt", 1, 2), ("c.txt", 0, 2)]

    assert RemovalRepository(database).remove(session.id, first)
    assert [(s.text, s.document) for s in corpus.sentences(session.id)] == [
        ("It rained.", "b.txt"),
        ("It snowed.", "b.txt"),
    ]
    assert not RemovalRepository(database).remove(session.id, first)


def test_search_is_literal_and_ignores_case(database: Database, session: SessionRecord) -> None:
    upload(
        database, session.id, "a.txt", ["Ölpest in Brest.", "100% sure_thing", "1000 sure things"]
    )
    corpus = CorpusRepository(database)
    assert [s.text for s in corpus.sentences(session.id, search="öl")] == ["Ölpest in Brest."]
    assert [s.text for s in corpus.sentences(session.id, search="0%")] == ["100% sure_thing"]
    assert corpus.count(session.id, "sure_") == 1
    assert corpus.count(session.id, "SURE") == 2


def test_pages_follow_the_order_of_the_texts(database: Database, session: SessionRecord) -> None:
    upload(database, session.id, "a.txt", [f"Sentence {i}." for i in range(7)])
    page = CorpusRepository(database).sentences(session.id, offset=5, limit=3)
    assert [(s.position, s.text) for s in page] == [(5, "Sentence 5."), (6, "Sentence 6.")]


def test_one_session_cannot_remove_from_another(database: Database, session: SessionRecord) -> None:
    other = SessionRepository(database).create("Two")
    mine = upload(database, session.id, "a.txt", ["It rained."])
    corpus = CorpusRepository(database)
    assert not RemovalRepository(database).remove(other.id, mine)
    assert corpus.count(session.id) == 1
    assert corpus.count(other.id) == 0


def test_revisions_count_what_results_depend_on(database: Database, session: SessionRecord) -> None:
    sessions, types = SessionRepository(database), TypeRepository(database)

    def revisions() -> tuple[int, int]:
        record = sessions.get(session.id)
        assert record is not None
        return record.corpus_revision, record.types_revision

    assert revisions() == (0, 0)
    upload(database, session.id, "a.txt", ["It rained."])
    types.replace(session.id, [TypeRecord("person", "", "#ffffff")])
    assert revisions() == (1, 1)
    types.replace(session.id, [TypeRecord("person", "A human being", "#ffffff")])
    assert revisions() == (1, 1)
    types.replace(session.id, [])
    sessions.rename(session.id, "New name")
    assert revisions() == (1, 2)


def predicted(database: Database, session: SessionRecord) -> tuple[str, list[int]]:
    upload(database, session.id, "a.txt", ["Ada met Grace.", "It rained.", "Bob left."])
    ids = [s.id for s in CorpusRepository(database).sentences(session.id)]
    MergeRepository(database).add(
        session.id,
        merge_id="m1",
        label="Merge",
        recipes=[{}],
        paths=["p"],
        details={},
        retained_energy=1.0,
        corpus_revision=1,
        types_revision=0,
    )
    spans = [
        NewSpan(ids[0], 8, 13, "person", 0.9),
        NewSpan(ids[0], 0, 3, "person", 0.7),
        NewSpan(ids[2], 0, 3, "place", 0.4),
        NewSpan(999_999, 0, 3, "place", 0.4),
    ]
    run = PredictionRepository(database).replace(
        session.id, "m1", spans, corpus_revision=1, types_revision=0
    )
    assert run is not None
    return "m1", ids


def test_predictions_by_page_type_and_doubt(database: Database, session: SessionRecord) -> None:
    merge_id, _ = predicted(database, session)
    repository = PredictionRepository(database)

    total, rows = repository.page(session.id, merge_id)
    assert total == 3
    assert [[(s.start, s.end, s.label) for s in spans] for _, spans in rows] == [
        [(0, 3, "person"), (8, 13, "person")],
        [],
        [(0, 3, "place")],
    ]
    _, doubtful = repository.page(session.id, merge_id, doubtful_first=True)
    assert [s.text for s, _ in doubtful] == ["Bob left.", "Ada met Grace.", "It rained."]
    total, found = repository.page(session.id, merge_id, only_found=True, limit=1, offset=1)
    assert (total, [s.text for s, _ in found]) == (2, ["Bob left."])
    total, of_type = repository.page(session.id, merge_id, labels=["person"])
    assert (total, len(of_type[0][1])) == (1, 2)
    assert repository.counts(session.id, merge_id) == {"person": 2, "place": 1}
    other = SessionRepository(database).create("Two")
    assert repository.page(other.id, merge_id) == (0, [])


def test_predictions_of_a_deleted_merge_are_not_stored(
    database: Database, session: SessionRecord
) -> None:
    merge_id, ids = predicted(database, session)
    MergeRepository(database).delete(session.id, merge_id)
    repository = PredictionRepository(database)
    span = NewSpan(ids[0], 0, 3, "person", 0.5)
    stored = repository.replace(session.id, merge_id, [span], corpus_revision=1, types_revision=0)
    assert stored is None
    assert repository.counts(session.id, merge_id) == {}


def test_deleting_a_session_leaves_nothing_of_it(
    database: Database, session: SessionRecord
) -> None:
    predicted(database, session)
    TypeRepository(database).replace(session.id, [TypeRecord("person", "", "#ffffff")])
    RunRepository(database).add(
        session.id,
        "match",
        corpus_revision=1,
        types_revision=1,
        scores=[ScoreRecord("astro", "similarity", 0.5)],
    )
    JobRepository(database).submit(session.id, "match", {})

    SessionRepository(database).delete(session.id)

    with database.read() as reading:
        left = {
            table.name: reading.scalar(select(func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
        }
    assert set(left.values()) == {0}, left


def test_scores_come_back_as_stored(database: Database, session: SessionRecord) -> None:
    scores = [
        ScoreRecord("astro", "similarity", 0.5),
        ScoreRecord("astro", "probe", None, support=2, details={"per_type": {"star": None}}),
    ]
    runs = RunRepository(database)
    for number in range(2):
        run_id = runs.add(
            session.id,
            "match",
            corpus_revision=number,
            types_revision=1,
            params={"k": 3},
            scores=scores,
        )
    latest = runs.latest(session.id, "match")
    assert latest is not None
    assert (latest.id, latest.corpus_revision, latest.params) == (run_id, 1, {"k": 3})
    assert runs.scores(session.id, run_id) == scores


def test_experts_are_remembered_once_and_updated(database: Database) -> None:
    experts = ExpertRepository(database)
    experts.remember([ExpertRecord("astro", "h1", "Astronomy", {"rank": 8})])
    experts.remember([ExpertRecord("law", "h2", "Law", {})])
    experts.remember([ExpertRecord("astro", "h3", "Astronomy 2", {"rank": 4})])
    assert experts.all() == [
        ExpertRecord("astro", "h3", "Astronomy 2", {"rank": 4}),
        ExpertRecord("law", "h2", "Law", {}),
    ]


def test_many_threads_write_at_once(database: Database, session: SessionRecord) -> None:
    """Each transaction reads, then writes: without an immediate lock SQLite fails some of them."""
    errors: list[BaseException] = []

    def add(number: int) -> None:
        try:
            upload(database, session.id, f"{number}.txt", [f"Sentence {number}."])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    positions = [s.position for s in CorpusRepository(database).sentences(session.id)]
    assert positions == list(range(12))
