from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from experts.card import ExpertCard
from experts.errors import SamError
from experts.pool import Pool
from tests.unit.fakes import BASE, make_pool


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An expert named astro, outside any pool."""
    make_pool(tmp_path / "made")
    folder = tmp_path / "source" / "astro"
    shutil.copytree(tmp_path / "made" / "astro", folder)
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(None, tmp_path / "own", base_model=BASE)


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, prefix + file.name)
    return target


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text("utf-8"))
    (folder / "card.json").write_text(json.dumps(card | changes), "utf-8")


def test_a_folder_is_added_listed_and_removed(pool: Pool, source: Path) -> None:
    assert pool.list() == []
    added = pool.add(source)
    assert (added.name, added.bundled) == ("astro", False)
    assert [expert.name for expert in pool.list()] == ["astro"]
    assert pool.get("astro").exemplar_vectors().shape[0] == len(added.card.exemplars)
    pool.remove("astro")
    assert pool.list() == []


@pytest.mark.parametrize("prefix", ["", "astro/"])
def test_a_zip_is_added(pool: Pool, source: Path, tmp_path: Path, prefix: str) -> None:
    assert pool.add(zipped(source, tmp_path / "astro.zip", prefix)).name == "astro"


def test_an_unknown_name_suggests_the_nearest(pool: Pool, source: Path) -> None:
    pool.add(source)
    with pytest.raises(SamError, match="Did you mean astro"):
        pool.get("astr")
    with pytest.raises(SamError, match="experts list"):
        pool.get("zzz")


def test_a_bundled_expert_stays(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "bundled")
    with pytest.raises(SamError, match="came with SaM"):
        pool.remove("astro")
    assert "astro" in {expert.name for expert in pool.list()}


def test_a_name_is_taken_once(pool: Pool, source: Path) -> None:
    pool.add(source)
    with pytest.raises(SamError, match="already in the pool"):
        pool.add(source)


def damage_weights(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 0x41
    file.write_bytes(bytes(data))


def config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")

    return change


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda f: (f / "card.json").unlink(), r"no card\.json"),
    "no adapter": (lambda f: (f / "adapter_model.safetensors").unlink(), "no adapter_model"),
    "card is not JSON": (lambda f: (f / "card.json").write_text("{"), "not JSON"),
    "card without title": (lambda f: edit_card(f, title=None), "title"),
    "a name that is a path": (lambda f: edit_card(f, name="../x"), "name"),
    "another base": (lambda f: edit_card(f, base_model="other/model"), "other/model"),
    "changed weights": (damage_weights, "not the one that its card describes"),
    "weights of no format": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"pickle"),
        "safetensors",
    ),
    "DoRA": (config(use_dora=True), "DoRA|use_dora"),
    "bias": (config(bias="all"), "bias"),
    "saved modules": (config(modules_to_save=["lm_head"]), "modules_to_save"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_experts_are_refused_and_nothing_changes(
    pool: Pool, source: Path, tmp_path: Path, kind: str
) -> None:
    change, message = REFUSED[kind]
    change(source)
    with pytest.raises(SamError, match=message):
        pool.add(source)
    assert pool.list() == []
    assert [p.name for p in (tmp_path / "own").glob("*")] == []


def test_adapters_that_do_not_fit_the_base_model_are_refused(source: Path, tmp_path: Path) -> None:
    for shapes in ({"model.q_proj": (4, 8)}, {"model.k_proj": (4, 6)}):
        pool = Pool(None, tmp_path / "own", base_model=BASE, shapes=lambda shapes=shapes: shapes)
        with pytest.raises(SamError, match=r"astro.*model\.q_proj|model\.q_proj.*astro"):
            pool.add(source)
        assert pool.list() == []


def test_archives_that_reach_outside_are_refused(pool: Pool, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../card.json", "{}")
    with pytest.raises(SamError, match="outside the archive"):
        pool.add(evil)
    (tmp_path / "text.zip").write_text("no archive", "utf-8")
    with pytest.raises(SamError, match="not a zip"):
        pool.add(tmp_path / "text.zip")
    with pytest.raises(SamError, match="no file or folder"):
        pool.add(tmp_path / "missing.zip")


def test_experts_of_another_base_are_not_listed(tmp_path: Path) -> None:
    make_pool(tmp_path / "bundled")
    other = Pool(tmp_path / "bundled", tmp_path / "own", base_model="other/model")
    assert other.list() == []


def test_means_need_the_same_embedder(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "bundled")
    experts = pool.list()
    assert pool.means(experts, experts[0].card.embedder).shape[0] == len(experts)
    with pytest.raises(SamError, match="another-embedder"):
        pool.means(experts, "another-embedder")


def test_a_card_survives_a_round_trip(source: Path, tmp_path: Path) -> None:
    card = ExpertCard.load(source / "card.json")
    card.save(tmp_path / "copy.json")
    assert ExpertCard.load(tmp_path / "copy.json") == card
