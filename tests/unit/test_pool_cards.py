"""Cards of a pool are read once, and again when they have changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from experts.card import ExpertCard
from experts.pool import Pool
from tests.unit.fakes import make_pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path)


def test_a_card_is_read_once(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = ExpertCard.load

    def counted(path: Path) -> ExpertCard:
        read.append(path.parent.name)
        return load(path)

    monkeypatch.setattr(ExpertCard, "load", counted)
    assert [expert.name for expert in pool.list()] == ["astro", "lake", "law"]
    assert pool.get("law").card.title == "Court decisions"
    assert sorted(read) == ["astro", "lake", "law"]

    path = tmp_path / "law" / "card.json"
    card = json.loads(path.read_text("utf-8")) | {"title": "Judgments"}
    path.write_text(json.dumps(card), "utf-8")
    os.utime(path, ns=(1, 1))
    assert pool.get("law").card.title == "Judgments"
    assert sorted(read) == ["astro", "lake", "law", "law"]


def test_a_card_that_is_damaged_or_gone_is_noticed(pool: Pool, tmp_path: Path) -> None:
    assert len(pool.list()) == 3
    (tmp_path / "law" / "card.json").write_text("{", "utf-8")
    assert [expert.name for expert in pool.list()] == ["astro", "lake"]
    (tmp_path / "astro" / "card.json").unlink()
    assert [expert.name for expert in pool.list()] == ["lake"]
