"""Share in a browser: nothing is made before it is asked for, downloads start by themselves."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_ui.services.views import EntityType, SessionInfo, Span
from tests.ui.conftest import PATIENCE_MS, Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

TEXT = "Ada met Grace in Bled. Nothing happened. Professor Hubble left."
WEIGHTS = {"astro": 0.5, "law": 0.5}


@pytest.fixture
def session(live: Live) -> SessionInfo:
    """Texts that have been read by a merge."""
    services = live.services
    session = services.sessions.create("Letters of Ada")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person"), EntityType("place")])
    job_id = services.merge.start(session.id, WEIGHTS)
    deadline = time.monotonic() + PATIENCE_MS / 1000
    job = services.jobs.get(session.id, job_id)
    while job is None or job.active:
        assert time.monotonic() < deadline
        job = services.jobs.get(session.id, job_id)
    assert job.state == "done", job.what
    return session


@pytest.fixture
def share(live: Live, visit: Any, session: SessionInfo) -> Any:
    """The screen, opened."""
    page = visit(f"{live.url}/?s={session.token}&step=share")
    expect(page.locator("#download-model")).to_be_visible()
    return page


def exported(live: Live, session: SessionInfo) -> list[str]:
    folder = live.services.settings.session_dir(session.id) / "exports"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def download(page: Any, where: str, folder: Path) -> Path:
    with page.expect_download() as handed:
        page.locator(where).click()
    path = folder / handed.value.suggested_filename
    handed.value.save_as(path)
    return path


def test_files_are_made_when_they_are_asked_for(
    share: Any, live: Live, session: SessionInfo, tmp_path: Path, shots: Path
) -> None:
    assert exported(live, session) == []
    expect(share.locator("#rail-share .mark.done")).to_have_count(0)
    found = download(share, "#primary-download", tmp_path)
    assert found.name.startswith("letters-of-ada-")
    with zipfile.ZipFile(found) as archive:
        inside = {Path(name).name for name in archive.namelist()}
    assert {"adapter_model.safetensors", "README.md", "predict.py", "labels.json"} <= inside
    assert exported(live, session) == [found.name]
    expect(share.locator("#sam-notice")).to_contain_text(found.name)
    expect(share.locator(".sam-busy")).to_have_count(0)
    expect(share.locator("#rail-share .mark.done")).to_be_visible()
    shoot(share, shots / "5-share-downloaded.png")

    # What is there and still true is handed over as it is; the same name does not stop it.
    written = next(live.services.settings.session_dir(session.id).rglob(found.name))
    before = written.stat().st_mtime_ns
    assert download(share, "#download-model", tmp_path).read_bytes() == found.read_bytes()
    assert written.stat().st_mtime_ns == before
    again = download(share, "#sam-notice [data-file]", tmp_path)
    assert again.read_bytes() == found.read_bytes()
    recipe = download(share, "#download-recipe", tmp_path)
    assert {e["name"] for e in json.loads(recipe.read_text("utf-8"))["experts"]} == set(WEIGHTS)


def test_corrections_count_and_can_be_all_there_is(
    share: Any, live: Live, session: SessionInfo, tmp_path: Path, shots: Path
) -> None:
    expect(share.locator(".sam-which")).to_have_count(0)
    first = live.services.corpus.sentences(session.id).rows[0]
    live.services.corrections.put(session.id, first.id, [Span(17, 21, "place")])
    share.reload()
    expect(share.locator("#share-which-all")).to_be_checked()
    rows = read(download(share, "#download-notes", tmp_path))
    assert [row["text"] for row in rows] == TEXT.replace(". ", ".\n").split("\n")
    assert [(e["start"], e["end"], e["label"]) for e in rows[0]["entities"]] == [(17, 21, "place")]
    assert rows[2]["entities"]
    share.locator("#share-which-reviewed").check()
    shoot(share, shots / "5-share-reviewed.png")
    expect(share.locator("#share-which-reviewed")).to_be_checked()
    only = download(share, "#download-notes", tmp_path)
    assert "reviewed" in only.name
    assert [row["text"] for row in read(only)] == [first.text]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_with_a_view_link_files_can_be_had_and_nothing_is_noted(
    live: Live, visit: Any, session: SessionInfo, tmp_path: Path
) -> None:
    token = live.services.links.create(session.id, "view")
    page = visit(f"{live.url}/?s={token}&step=share")
    expect(page.locator("#primary")).to_have_count(0)
    path = download(page, "#primary-download", tmp_path)
    assert zipfile.is_zipfile(path)
    page.select_option("#share-format", "csv")
    expect(page.locator("#share-notes")).to_contain_text("spreadsheet programs")
    assert "Hubble" in download(page, "#download-notes", tmp_path).read_text("utf-8-sig")
    expect(page.locator(".sam-notice.problem")).to_have_count(0)
    assert live.services.state(session.id)["share"] == "todo"


def test_what_cannot_be_made_is_told_and_can_be_tried_again(
    share: Any, live: Live, session: SessionInfo, tmp_path: Path
) -> None:
    merge = live.services.store.merge(session.id, None)
    assert merge is not None
    (folder,) = live.services.store.adapter_paths(merge)
    config = folder / "adapter_config.json"
    kept = config.read_bytes()
    config.unlink()
    share.locator("#download-model").click()
    expect(share.locator("#sam-notice [role=alert]")).to_contain_text(
        "files of this merge are gone"
    )
    expect(share.locator(".sam-busy")).to_have_count(0)
    config.write_bytes(kept)
    assert zipfile.is_zipfile(download(share, "#download-model", tmp_path))
    expect(share.locator("#sam-notice [role=alert]")).to_have_count(0)


def test_a_large_session_opens_at_once(live: Live, visit: Any) -> None:
    """Painting writes no file and reads no text: its work does not grow with the session."""
    services = live.services
    session = services.sessions.create("Large")
    services.corpus.add_text(session.id, "\n".join(f"Ada saw the lamp {i}." for i in range(2000)))
    services.types.set(session.id, [EntityType("person")])
    services.merge.start(session.id, WEIGHTS)
    page = visit(f"{live.url}/?s={session.token}&step=merge")
    expect(page.locator("#rail-review .mark.done")).to_be_visible()
    began = time.process_time()
    page.locator("#rail-share").click()
    expect(page.locator("#download-model")).to_be_visible()
    assert exported(live, session) == []
    assert time.process_time() - began < 3  # of this process, the browser's driver included
