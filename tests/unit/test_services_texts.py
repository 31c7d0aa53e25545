"""Sessions, texts and types through the services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from experts.errors import SamError
from experts.pool import Pool
from sam_ui.services import Services
from sam_ui.services.drafts import Choice, Draft
from sam_ui.services.palette import PALETTE, next_color
from sam_ui.services.views import EntityType
from sam_ui.settings import Settings
from tests.unit.fakes import make_pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def services(tmp_path: Path, pool: Pool) -> Iterator[Services]:
    settings = Settings(  # type: ignore[call-arg]
        data_dir=tmp_path / "data", max_upload_mb=1, max_sentences=5, _env_file=None
    )
    services = Services(settings, pool=pool)
    yield services
    services.close()


@pytest.fixture
def session_id(services: Services) -> str:
    return services.sessions.create().id


def test_sessions_by_token(services: Services) -> None:
    one, two = services.sessions.create("One"), services.sessions.create()
    assert services.sessions.by_token(one.token) == one
    for token in (None, "", "nonsense", "x" * 1000, one.id):
        assert services.sessions.by_token(token) is None
    assert {s.id for s in services.sessions.recent([one.token, two.token, "gone"])} == {
        one.id,
        two.id,
    }


def test_renaming(services: Services, session_id: str) -> None:
    assert services.sessions.rename(session_id, " Lake \n sediments ").name == "Lake sediments"
    assert len(services.sessions.rename(session_id, "x" * 500).name) == 100
    with pytest.raises(SamError):
        services.sessions.rename(session_id, " \n ")
    with pytest.raises(SamError):
        services.sessions.rename("gone", "Name")


def test_files_with_duplicates_across_them(services: Services, session_id: str) -> None:
    reports = services.corpus.add_files(
        session_id,
        [
            ("a.txt", b"It rained. Ada met Grace. It rained."),
            ("sub/b.txt", b"It  rained. Bob left."),
        ],
    ).added
    assert [(r.name, r.sentences, r.duplicates) for r in reports] == [
        ("a.txt", 2, 1),
        ("b.txt", 1, 1),
    ]
    page = services.corpus.sentences(session_id, search="ada")
    assert [(r.text, r.document) for r in page.rows] == [("Ada met Grace.", "a.txt")]
    counts = services.corpus.counts(session_id)
    assert (counts.files, counts.documents, counts.sentences, counts.duplicates) == (2, 2, 3, 2)
    services.corpus.remove_file(session_id, services.corpus.files(session_id)[0].id)
    assert [r.text for r in services.corpus.sentences(session_id).rows] == [
        "It  rained.",
        "Bob left.",
    ]


def test_gold_spans_are_kept_relative_to_their_sentence(
    services: Services, session_id: str
) -> None:
    line = b'{"text": "Ada met Grace.", "entities": [{"start": 8, "end": 13, "label": "person"}]}'
    services.corpus.add_files(session_id, [("gold.jsonl", line)])
    (row,) = services.corpus.sentences(session_id).rows
    assert row.gold is not None
    assert [(row.text[s.start : s.end], s.label) for s in row.gold] == [("Grace", "person")]
    assert services.corpus.counts(session_id).annotated == 1


def test_a_bad_file_does_not_stop_the_good_ones(services: Services, session_id: str) -> None:
    too_many = " ".join(f"Sentence number {i} ends here." for i in range(5)).encode()
    files = [("a.txt", b"It rained."), ("b.txt", b""), ("c.txt", b"x" * 1_000_001)]
    files += [("d.txt", too_many), ("dir/e.txt", b"Bob left.")]
    found = services.corpus.add_files(session_id, files)
    assert [report.name for report in found.added] == ["a.txt", "e.txt"]
    assert [file.name for file in found.refused] == ["b.txt", "c.txt", "d.txt"]
    for file, cause in zip(found.refused, ("is empty", "1 MB", "6 sentences"), strict=True):
        assert cause in file.what
        assert file.hint
    assert [file.name for file in services.corpus.files(session_id)] == ["a.txt", "e.txt"]
    assert services.corpus.refused(session_id) == list(found.refused), "it is kept"
    services.corpus.add_files(session_id, [("b.txt", b"It froze.")])
    services.corpus.dismiss(session_id, "c.txt")
    assert [file.name for file in services.corpus.refused(session_id)] == ["d.txt"]
    services.corpus.dismiss(session_id, "")
    assert services.corpus.refused(session_id) == []
    for files in ([], [("a.txt", b"It rained.")]):
        with pytest.raises(SamError):
            services.corpus.add_files("gone" if files else session_id, files)
    with pytest.raises(SamError):
        services.corpus.add_text(session_id, "  ")
    with pytest.raises(SamError):
        services.corpus.add_text("gone", "It rained.")


def test_columns_are_offered_for_tables_only(services: Services, session_id: str) -> None:
    table = b"id,body\n1,It rained.\n2,Ada met Grace.\n"
    assert services.corpus.columns("t.csv", table) == ["id", "body"]
    assert services.corpus.columns("t.txt", table) == []
    services.corpus.add_files(session_id, [("t.csv", table)], column="body")
    texts = [r.text for r in services.corpus.sentences(session_id).rows]
    assert texts == ["It rained.", "Ada met Grace."]


def test_pasted_texts_are_numbered(services: Services, session_id: str) -> None:
    services.corpus.add_text(session_id, "It rained.")
    services.corpus.add_text(session_id, "It snowed.")
    names = [f.name for f in services.corpus.files(session_id)]
    assert names == ["Pasted text", "Pasted text 2"]


def test_types_keep_their_colours(services: Services, session_id: str) -> None:
    types = services.types.set_text(session_id, "person: A human being\nplace\nriver")
    assert [(t.name, t.definition) for t in types] == [
        ("person", "A human being"),
        ("place", ""),
        ("river", ""),
    ]
    colors = {t.name: t.color for t in types}
    services.types.remove(session_id, "person")
    services.types.add(session_id, "lake")
    again = {t.name: t.color for t in services.types.list(session_id)}
    assert again == {"place": colors["place"], "river": colors["river"], "lake": colors["person"]}
    assert [t.name for t in services.types.add(session_id, "LAKE")] == ["place", "river", "lake"]
    assert services.types.set_text(session_id, " ") == []


def test_bad_types_change_nothing(services: Services, session_id: str) -> None:
    services.types.set_text(session_id, "person")
    for bad in ["", "two\nlines", "x" * 201]:
        with pytest.raises(SamError):
            services.types.set(session_id, [EntityType("place"), EntityType(bad)])
    assert [t.name for t in services.types.list(session_id)] == ["person"]


def test_suggestions_lack_what_the_session_has(services: Services, session_id: str) -> None:
    before = services.types.suggestions(session_id)
    assert before[0].name == "person"
    assert set(before[0].experts) == {"astro", "law", "lake"}
    services.types.add(session_id, "Person")
    after = [s.name for s in services.types.suggestions(session_id)]
    assert after == ["Astronomy", "Court decisions", "Lakes"]
    assert len(services.types.suggestions(session_id, limit=1)) == 1


def test_colours_never_repeat() -> None:
    taken: list[str] = []
    for _ in range(100):
        taken.append(next_color(taken))
    assert len(set(taken)) == 100
    assert taken[: len(PALETTE)] == list(PALETTE)
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in taken)


def test_the_base_is_named_with_its_notice(services: Services) -> None:
    info = services.base_info()
    assert info.name == "google/gemma-3-270m"
    assert "Gemma Terms of Use" in info.notice


def test_drafts_are_kept_with_their_session(services: Services, session_id: str) -> None:
    other = services.sessions.create().id
    assert services.drafts.get(session_id) == Draft()
    draft = Draft(
        run_id="r", experts={"astro": Choice(True, 0.5)}, parameters={"density": 0.3}, k=2
    )
    services.drafts.put(session_id, draft)
    assert services.drafts.get(session_id) == draft
    assert services.drafts.get(other) == Draft()


def test_every_sample_opens_with_texts_and_types(services: Services) -> None:
    services.settings.max_sentences = 1000
    names = services.sessions.samples()
    assert len(names) >= 2
    for name in names:
        session = services.sessions.try_sample(name)
        assert session.sentences >= 30
        assert session.types >= 5
        assert services.state(session.id)["upload"] == "done"
    assert services.sessions.try_sample().name == "Lake sediments"
    with pytest.raises(SamError):
        services.sessions.try_sample("../../secret")


def test_a_paste_that_is_too_large_is_refused(services: Services, session_id: str) -> None:
    with pytest.raises(SamError, match="The text has 2 MB") as caught:
        services.corpus.add_text(session_id, "Öl. " * 300_000)
    assert caught.value.hint
    assert services.corpus.files(session_id) == []


def test_the_same_file_again_and_again_does_not_fill_the_disk(
    services: Services, session_id: str
) -> None:
    file = ("a.txt", b"It rained. Bob left.")
    services.corpus.add_files(session_id, [file])
    services.corpus.add_files(session_id, [file])
    (refused,) = services.corpus.add_files(session_id, [file]).refused
    assert "repeated ones included" in refused.what
    assert services.corpus.counts(session_id).sentences == 2


@pytest.mark.parametrize("search", ["x" * 100_000, "\ud800", "%_'"])
def test_odd_searches_find_nothing(services: Services, session_id: str, search: str) -> None:
    services.corpus.add_text(session_id, "It rained.")
    assert services.corpus.sentences(session_id, search=search).total == 0


def test_of_too_many_types_none_is_added(services: Services, session_id: str) -> None:
    services.types.add(session_id, "person")
    with pytest.raises(SamError, match="101"):
        services.types.add_all(session_id, [EntityType(f"type {i}") for i in range(100)])
    assert [t.name for t in services.types.list(session_id)] == ["person"]
    services.types.add_all(session_id, [EntityType(f"type {i}") for i in range(99)])
    assert len(services.types.list(session_id)) == 100


def test_quick_clicks_do_not_undo_each_other(services: Services, session_id: str) -> None:
    """Listeners of one page run side by side."""
    from concurrent.futures import ThreadPoolExecutor

    def click(number: int) -> None:
        services.types.add(session_id, f"type {number}")
        services.drafts.change(session_id, lambda draft: draft.switched(f"expert {number}", True))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(click, range(24)))
    assert len(services.types.list(session_id)) == 24
    assert len(services.drafts.get(session_id).experts) == 24


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "sam.sqlite3").write_bytes(b"this is no database " * 100)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(SamError, match="cannot be opened") as caught:
            Services(Settings(data_dir=folder, _env_file=None))  # type: ignore[call-arg]
        assert str(folder) in caught.value.what
        assert "SAM_DATA_DIR" in caught.value.hint


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    services = Services(settings)
    with services.store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    services.close()
    with pytest.raises(SamError, match="newer version"):
        Services(settings)
