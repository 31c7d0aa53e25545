"""The main job from beginning to end: real base model, bundled experts, worker process, browser."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_ui.jobs.supervisor import Supervisor
from sam_ui.services import Services
from sam_ui.settings import Settings
from sam_ui.steps.match_experts import PAGE
from tests.ui.conftest import Live, running, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser, pytest.mark.engine]

MINUTES = 60_000
SAMPLE = "lake_sediments"
TYPES = "lake, organism, method"
SENTENCES = 12


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An app with everything real and an empty database; the converted base model is shared."""
    from experts.embedded import prepare_base

    folder: Path = tmp_path_factory.mktemp("real")
    models = prepare_base(Settings().data_dir).parent
    (folder / "models").symlink_to(models, target_is_directory=True)
    services = Services(Settings(data_dir=folder))
    with Supervisor(services), running(services) as url:
        yield Live(url, services)
    services.close()


def texts(services: Services) -> str:
    path = services.settings.samples_dir / f"{SAMPLE}.jsonl"
    lines = path.read_text("utf-8").splitlines()[:SENTENCES]
    return "\n".join(json.loads(line)["text"] for line in lines)


@pytest.mark.timeout(1500)
def test_upload_match_merge_predictions_download(
    real: Live, visit: Any, shots: Path, tmp_path: Path
) -> None:
    page = visit(real.url)
    given = texts(real.services)
    (tmp_path / "lakes.txt").write_text(given, "utf-8")
    upload(page, tmp_path / "lakes.txt", shots)
    chosen = match(page, len(real.services.experts.list()), shots)

    page.locator("#primary").click()
    expect(page.locator(".sam-weight")).to_have_count(chosen)
    expect(page.locator("#weights")).to_contain_text("add up to 1.00")
    shoot(page, shots / "3-merge.png")

    review(page, given, shots)
    share(page, chosen, shots, tmp_path)

    # A refresh comes back to the same place, and Merge shows what it finds.
    page.reload()
    expect(page.locator("#primary-download")).to_be_visible()
    page.locator("#rail-merge").click()
    expect(page.locator("#merge-finds mark").first).to_be_visible()
    shoot(page, shots / "3-merge-after.png")


def upload(page: Any, file: Path, shots: Path) -> None:
    page.locator("#new-session").click()
    page.locator("#session-name").fill("Lake sediments")
    page.locator("#session-name").press("Enter")
    page.locator("#drop input[type=file]").set_input_files(file)
    expect(page.locator("#files")).to_contain_text(file.name)
    page.locator("#types-box textarea").fill(TYPES)
    page.locator("#add-types").click()
    expect(page.locator("#types .sam-chip:not(.add)")).to_have_count(3)
    shoot(page, shots / "1-upload.png")


def match(page: Any, pool: int, shots: Path) -> int:
    """Returns how many experts are recommended."""
    assert pool >= 6
    page.locator("#primary").click()
    expect(page.locator("#cancel-job")).to_be_visible()
    expect(page.locator(".sam-expert").first).to_be_visible(timeout=10 * MINUTES)
    expect(page.locator(".sam-expert")).to_have_count(min(pool, PAGE))
    expect(page.locator("#fit-chart .plot-container")).to_be_visible()
    shoot(page, shots / "2-match-scores.png")
    for tab, element in (("Map", "#map-chart"), ("Types", "#type-chart"), ("Answers", "#answers")):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(element)).to_be_visible()
        shoot(page, shots / f"2-match-{tab.lower()}.png")
    expect(page.locator("#primary")).to_have_text(re.compile("recommended"))
    chosen = page.locator("#experts .sam-switch:checked").count()
    assert 1 <= chosen <= 6
    return int(chosen)


def review(page: Any, given: str, shots: Path) -> None:
    page.locator("#primary").click()
    expect(page.locator("#review-editor .sam-ed-text")).to_be_visible(timeout=10 * MINUTES)
    shoot(page, shots / "4-review.png")
    page.get_by_role("tab", name="All texts").click()
    expect(page.locator("#predictions")).to_be_visible()
    expect(page.locator("#primary")).to_have_text("Take the model home")
    marks = page.locator("#predictions mark").all()
    assert marks
    for mark in marks:
        assert mark.get_attribute("data-label") in TYPES.split(", ")
        assert 0 <= float(mark.get_attribute("data-score") or -1) <= 1
        assert mark.inner_text() in given
    shoot(page, shots / "4-review-texts.png")


def share(page: Any, chosen: int, shots: Path, folder: Path) -> None:
    page.locator("#primary").click()
    expect(page.locator("#primary-download")).to_be_visible()
    expect(page.locator("#licences tbody tr")).to_have_count(chosen)
    shoot(page, shots / "5-share.png")
    with page.expect_download() as handed:
        page.locator("#primary-download").click()
    handed.value.save_as(folder / "model.zip")
    with zipfile.ZipFile(folder / "model.zip") as archive:
        inside = {Path(name).name for name in archive.namelist()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= inside
    with page.expect_download() as handed:
        page.locator("#download-notes").click()
    handed.value.save_as(folder / "found.jsonl")
    rows = [json.loads(line) for line in (folder / "found.jsonl").read_text("utf-8").splitlines()]
    assert sum(len(row["entities"]) for row in rows) > 0
