"""Links, copies and deleted sessions through the services."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.models import Base
from experts.errors import SamError
from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.links import MAX_LINKS
from sam_ui.services.views import EntityType, MatchView, SessionInfo
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

TEXT = "Ada met Grace in Paris. It rained all day. Bob left early."


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def services(settings: Settings, pool: Pool) -> Iterator[Services]:
    services = Services(settings, pool=pool)
    yield services
    services.close()


@pytest.fixture
def full(services: Services, pool: Pool) -> SessionInfo:
    """A session with a correction, a match, a merge and its predictions."""
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person", "A human being"), EntityType("place")])
    worker = Worker(services, FakeEngine(services.settings, pool), name="w")
    services.match.start(session.id)
    services.drafts.change(session.id, lambda draft: replace(draft, samples=2, k=1))
    assert worker.run_one()
    services.preview.start(session.id, {"astro": 0.5, "law": 0.5})
    assert worker.run_one()
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5}, dual=True)
    assert worker.run_one()
    first = services.corpus.sentences(session.id).rows[0]
    services.corrections.put(session.id, first.id, [Span(0, 3, "person")], who="Ada")
    services.agreement.annotate(session.id, first.id, [], who="Grace", revision=0)
    match = matched(services, session.id)
    services.drafts.change(session.id, lambda draft: draft.following(match))
    assert len(services.merge.list(session.id)) == 1
    return session


def matched(services: Services, session_id: str) -> MatchView:
    found = services.match.result(session_id)
    assert found is not None
    return found


# ---- links ----------------------------------------------------------------------------------


def test_a_view_link_says_so_and_ends_when_it_is_revoked(services: Services) -> None:
    mine = services.sessions.create("Lakes")
    token = services.links.create(mine.id, "view", expires="week", label=" For \n Grace ")
    opened = services.sessions.by_token(token)
    assert opened is not None
    assert (opened.id, opened.view_only, opened.token) == (mine.id, True, token)
    assert not mine.view_only
    first, made = services.links.list(mine.id)
    assert (first.kind, first.used_at) == ("edit", None)
    assert (made.kind, made.label) == ("view", "For Grace")
    assert made.expires_at is not None
    assert (made.expires_at - made.created_at).days in (6, 7)
    services.links.used(opened)
    assert services.links.list(mine.id)[1].used_at is not None

    services.links.revoke(mine, made.id)
    assert services.sessions.by_token(token) is None
    assert services.links.why_closed(token)[0] == "This link has been revoked."
    assert [link.id for link in services.links.list(mine.id)] == [first.id]
    with pytest.raises(SamError, match="revoked already"):
        services.links.revoke(mine, made.id)


def test_nobody_locks_themselves_out_or_revokes_the_links_of_others(services: Services) -> None:
    mine, other = services.sessions.create("Lakes"), services.sessions.create("Ships")
    with pytest.raises(SamError, match="lock yourself out"):
        services.links.revoke(mine, mine.link_id)
    with pytest.raises(SamError):
        services.links.revoke(mine, other.link_id)
    assert services.sessions.by_token(other.token) is not None
    second = services.sessions.by_token(services.links.create(mine.id, "edit"))
    assert second is not None
    services.links.revoke(second, mine.link_id)
    assert services.sessions.by_token(mine.token) is None


def test_links_that_make_no_sense_are_refused(services: Services) -> None:
    mine = services.sessions.create()
    for kind, expires in (("own", "never"), ("view", "soon")):
        with pytest.raises(SamError):
            services.links.create(mine.id, kind, expires=expires)
    for _ in range(MAX_LINKS - 1):
        services.links.create(mine.id, "view")
    with pytest.raises(SamError, match=f"{MAX_LINKS} links"):
        services.links.create(mine.id, "view")
    assert "incomplete" in services.links.why_closed("nonsense")[0]


def test_of_several_links_the_list_takes_the_one_that_lets_most_be_done(
    services: Services,
) -> None:
    mine, other = services.sessions.create("Lakes"), services.sessions.create("Ships")
    view = services.links.create(mine.id, "view")
    alone = services.links.create(other.id, "view")
    found = {info.id: info for info in services.sessions.recent([view, mine.token, alone, "gone"])}
    assert set(found) == {mine.id, other.id}
    assert found[mine.id].token == mine.token
    assert found[other.id].view_only


# ---- copies ---------------------------------------------------------------------------------


def test_a_copy_has_everything_and_is_independent(services: Services, full: SessionInfo) -> None:
    copy = services.sessions.duplicate(full.id)
    assert copy.name == "Lake sediments (copy)"
    assert (copy.sentences, copy.types) == (3, 2)
    assert services.state(copy.id) == services.state(full.id)
    assert services.types.list(copy.id) == services.types.list(full.id)

    before, after = matched(services, full.id), matched(services, copy.id)
    assert after.run_id != before.run_id
    assert [(e.name, e.similarity, e.f1) for e in after.experts] == [
        (e.name, e.similarity, e.f1) for e in before.experts
    ]
    mine = {row.id for row in services.corpus.sentences(copy.id).rows}
    assert {probe.sentence_id for probe in after.probe} == mine

    draft = services.drafts.get(copy.id)
    assert draft.run_id == after.run_id
    assert draft.weights == services.drafts.get(full.id).weights
    assert (draft.samples, draft.k) == (2, 1)

    (old,), (new,) = services.merge.list(full.id), services.merge.list(copy.id)
    assert (new.label, new.weights, new.predicted) == (old.label, old.weights, True)
    assert found(services, copy.id) == found(services, full.id) != []
    services.sessions.delete(full.id)
    services.sessions.purge(deleted_for_s=-1)
    record = services.store.merge(copy.id, None)
    assert record is not None
    assert all(path.is_dir() for path in services.store.adapter_paths(record))
    assert services.share.adapter_zip(copy.id).is_file()
    kept = json.dumps([record.paths, services.store.session(copy.id).settings])
    assert full.id not in kept
    assert old.id not in kept


def test_a_copy_has_a_row_for_every_row(services: Services, full: SessionInfo) -> None:
    copy = services.sessions.duplicate(full.id)
    rows = {ident: counted(services, ident) for ident in (full.id, copy.id)}
    assert rows[copy.id] == rows[full.id]
    kinds = {"sentences", "predictions", "runs", "scores", "corrections"}
    assert rows[full.id].keys() >= kinds | {"reviews", "events", "annotations"}
    (kept,) = services.store.corrections.list(copy.id)
    assert kept.sentence_id == services.corpus.sentences(copy.id).rows[0].id
    assert kept.spans == [[0, 3, "person"]]


def counted(services: Services, session_id: str) -> dict[str, int]:
    """Rows of a session by table, jobs and links left out."""
    tables = {t.name for t in Base.metadata.sorted_tables if "session_id" in t.columns}
    with services.store.database.engine.connect() as connection:
        counts = {
            name: connection.exec_driver_sql(
                f"SELECT count(*) FROM {name} WHERE session_id = ?", (session_id,)
            ).scalar_one()
            for name in tables - {"jobs", "links"}
        }
    return {name: count for name, count in counts.items() if count}


def found(services: Services, session_id: str) -> list[list[tuple[int, int, str]]]:
    page = services.predict.page(session_id)
    assert page is not None
    return [[span.key for span in row.spans] for row in page.rows]


def test_nobody_sees_a_copy_whose_files_are_missing(
    services: Services, full: SessionInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError("no space left on device")

    folders = set((services.settings.data_dir / "sessions").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copytree", no_room)
        with pytest.raises(SamError, match=r"“Lake sediments” could not be copied"):
            services.sessions.duplicate(full.id)
    assert set((services.settings.data_dir / "sessions").iterdir()) == folders
    assert services.store.sessions.hidden(longer_than_s=-1) == []


def test_a_long_name_stays_within_its_limit(services: Services) -> None:
    session = services.sessions.create("x" * 100)
    copy = services.sessions.duplicate(session.id)
    assert copy.name == "x" * 93 + " (copy)"


# ---- deleting -------------------------------------------------------------------------------


def test_a_deleted_session_is_gone_until_it_is_brought_back(
    services: Services, full: SessionInfo
) -> None:
    view = services.links.create(full.id, "view")
    job = services.match.start(full.id)
    services.sessions.delete(full.id)
    assert services.sessions.by_token(full.token) is None
    assert services.sessions.recent([full.token, view]) == []
    assert "deleted" in services.links.why_closed(full.token)[0]
    with pytest.raises(SamError):
        services.state(full.id)
    record = services.queue.get(job)
    assert record is not None
    assert record.state == "cancelled"
    services.store.remove_leftovers(busy=lambda: False)
    with pytest.raises(SamError):
        services.sessions.restore(view)
    back = services.sessions.restore(full.token)
    assert back.id == full.id
    assert services.sessions.by_token(view) is not None
    merge = services.store.merge(full.id, None)
    assert merge is not None
    assert services.store.adapter_paths(merge), "tidying must leave the files of deleted sessions"


def test_after_a_day_it_is_gone_for_good(services: Services, full: SessionInfo, pool: Pool) -> None:
    folder = services.settings.session_dir(full.id)
    services.sessions.delete(full.id)
    assert services.sessions.purge() == 0
    assert folder.is_dir()
    assert services.sessions.purge(deleted_for_s=-1) == 1
    assert not folder.exists()
    with pytest.raises(SamError, match="gone for good"):
        services.sessions.restore(full.token)
    worker = Worker(services, FakeEngine(services.settings, pool), name="w")
    job = services.queue.submit(None, "tidy", {})
    assert worker.run_one()
    done = services.queue.get(job)
    assert done is not None
    assert done.result["purged"] == 0


# ---- two at once ----------------------------------------------------------------------------


def test_of_two_services_changing_weights_at_once_nothing_is_lost(
    services: Services, settings: Settings, pool: Pool
) -> None:
    session = services.sessions.create()
    other = Services(settings, pool=pool)
    ready = threading.Barrier(2)

    def weigh(mine: Services, expert: str) -> None:
        ready.wait()
        for step in range(1, 21):
            mine.drafts.change(
                session.id, lambda draft, step=step: draft.weighed(expert, step / 20)
            )

    threads = [
        threading.Thread(target=weigh, args=(services, "astro")),
        threading.Thread(target=weigh, args=(other, "law")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    weights = services.drafts.get(session.id).weights
    other.close()
    assert weights == {"astro": 1.0, "law": 1.0}


def test_a_change_that_is_refused_leaves_the_choices(services: Services) -> None:
    session = services.sessions.create()
    services.drafts.change(session.id, lambda draft: draft.weighed("law", 0.5))

    def refused(_: object) -> None:
        raise SamError("No.", "Try again.")

    with pytest.raises(SamError, match="No"):
        services.drafts.change(session.id, refused)  # type: ignore[arg-type]
    assert services.drafts.get(session.id).weights == {"law": 0.5}
    services.sessions.delete(session.id)
    with pytest.raises(SamError, match="does not exist"):
        services.drafts.change(session.id, lambda draft: draft)
