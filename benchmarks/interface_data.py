"""A large database for `benchmarks.interface`: many experts, long corpora, everything computed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sam_ui.services.views import SessionInfo
    from tests.ui.demo import Demo

__all__ = ["TYPES", "finish", "full_session", "sentences", "write_pool"]

BASE = "google/gemma-3-270m"
TYPES = ["person", "place", "ship", "harbour", "cargo", "date"]
DOMAINS = (
    "letters",
    "ships",
    "law",
    "medicine",
    "music",
    "food",
    "stars",
    "art",
    "rivers",
    "trade",
)
PATIENCE_S = 1800.0


def sentences(count: int, *, word: str = "Active") -> list[str]:
    """`count` different sentences of 12 to 20 words, each with `word` in it."""
    rng = np.random.default_rng(0)
    places = ("Leith", "Riga", "Bergen", "Danzig", "Cadiz", "Lisbon", "Hull", "Genoa")
    goods = ("salt", "timber", "wool", "wine", "tar", "iron", "grain", "herring")
    made = []
    for number in range(count):
        a, b = rng.choice(places, 2, replace=False)
        made.append(
            f"Entry {number + 1}: the brig {word} under Captain {rng.choice(['Ross', 'Vey', 'Hale'])} "
            f"left {a} for {b} with {rng.choice(goods)} and {rng.choice(goods)} on board."
        )
    return made


def write_pool(folder: Path, count: int) -> None:
    """`count` experts of one small layer each, with full cards and 24 exemplars."""
    import torch
    from safetensors.numpy import save_file

    from experts.card import CardData, CardType, ExpertCard
    from experts.merging.adapters import (
        Adapter,
        LoraFactors,
        content_hash,
        load_adapter,
        save_adapter,
    )
    from experts.similarity import mean_vector
    from tests.ui.demo import WordEmbedder

    for number in range(count):
        name, domain = f"expert-{number + 1:03}", DOMAINS[number % len(DOMAINS)]
        generator = torch.Generator().manual_seed(number)
        factors = LoraFactors(
            a=torch.randn(2, 6, generator=generator),
            b=torch.randn(4, 2, generator=generator),
            scaling=1.0,
        )
        adapter = Adapter(name=name, base_model=BASE, modules={"model.q_proj": factors})
        save_adapter(adapter, folder / name, dtype=torch.float32, base_model=BASE)
        exemplars = [f"Notes {i} on {domain} of collection {number}." for i in range(24)]
        vectors = WordEmbedder().embed(exemplars)
        save_file({"vectors": vectors}, folder / name / "exemplars.safetensors")
        ExpertCard(
            name=name,
            title=f"{domain.capitalize()}, collection {number + 1}",
            domain=f"Texts on {domain}",
            types=[CardType(name=kind) for kind in (*TYPES, domain)],
            base_model=BASE,
            rank=2,
            data=[CardData(name=domain, licence="CC BY 4.0", source="here", sentences=2000)],
            licence="CC BY 4.0",
            dev_f1=0.5,
            hash=content_hash(load_adapter(folder / name, name=name)),
            embedder=WordEmbedder.name,
            mean=mean_vector(vectors).tolist(),
            exemplars=exemplars,
        ).save(folder / name / "card.json")


def finish(app: Demo, session_id: str) -> None:
    """Wait until the session's job has ended well.

    Raises:
        RuntimeError: it failed.
        TimeoutError: it did not end.
    """
    deadline = time.monotonic() + PATIENCE_S
    while app.services.jobs.active(session_id) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError("A job did not end.")
        time.sleep(0.05)
    job = app.services.jobs.latest(session_id)
    if job is None or job.state != "done":
        raise RuntimeError(f"A job failed: {job and job.what}")


def full_session(app: Demo, count: int) -> SessionInfo:
    """A session of `count` sentences that has been matched, merged and read."""
    services = app.services
    session = services.sessions.create(f"{count:,} sentences")
    lines = "\n".join(json.dumps({"text": text}) for text in sentences(count))
    services.corpus.add_files(session.id, [("letters.jsonl", lines.encode())])
    services.types.set_text(session.id, ", ".join(TYPES))
    services.match.start(session.id)
    finish(app, session.id)
    match = services.match.result(session.id)
    assert match is not None
    services.merge.start(session.id, match.single)
    finish(app, session.id)
    return session
