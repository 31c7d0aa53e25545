"""The real thing: the embedded base model and embedder, and the bundled experts."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.assets import assets_dir
from experts.corpus import read_examples
from experts.embedded import prepare_base
from experts.pool import Pool
from experts.spans import Example
from sam_ui.services.engine import Engine
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def base_path(settings: Settings) -> Path:
    return prepare_base(settings.data_dir)


@pytest.fixture(scope="session")
def pool(settings: Settings) -> Pool:
    return open_pool(settings)


@pytest.fixture(scope="session")
def engine(settings: Settings, pool: Pool) -> Engine:
    return Engine(settings, pool=pool)


@pytest.fixture(scope="session")
def samples() -> dict[str, list[Example]]:
    """Our own sample texts with gold spans, by name."""
    return {p.stem: read_examples(p) for p in sorted((assets_dir() / "samples").glob("*.jsonl"))}
