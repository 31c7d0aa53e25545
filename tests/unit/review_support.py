"""A session with predictions that a test chooses, without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from db.repositories.common import new_id
from experts.spans import Span
from sam_ui.services import Services
from sam_ui.settings import Settings

TYPES = ("person", "place", "ship")


def open_services(folder: Path) -> Services:
    return Services(Settings(data_dir=folder / "data", _env_file=None))  # type: ignore[call-arg]


@dataclass
class Reviewed:
    """A session whose sentences a merge has read."""

    services: Services
    id: str
    merge_id: str
    ids: list[int]
    texts: list[str]

    @property
    def review(self):  # type: ignore[no-untyped-def]
        return self.services.review

    def spans(self, number: int) -> tuple[Span, ...]:
        return self.services.review.sentence(self.id, self.ids[number]).spans


def make_session(
    services: Services,
    texts: Sequence[str],
    found: Mapping[int, Sequence[Span]],
    *,
    types: Sequence[str] = TYPES,
    files: int = 1,
) -> Reviewed:
    """`found`: number of a sentence -> spans that a merge predicts there."""
    session = services.sessions.create("Letters")
    share = -(-len(texts) // files)
    for first in range(0, len(texts), share):
        part = "\n".join(texts[first : first + share])
        services.corpus.add_files(session.id, [(f"{first}.txt", part.encode())])
    services.types.set_text(session.id, ", ".join(types))
    rows = services.store.corpus.sentences(session.id)
    assert [row.text for row in rows] == list(texts)
    merge_id = add_merge(services, session.id)
    record = services.store.session(session.id)
    services.predict.store(record, merge_id, rows, [found.get(i, ()) for i in range(len(rows))])
    return Reviewed(services, session.id, merge_id, [row.id for row in rows], list(texts))


def add_merge(services: Services, session_id: str) -> str:
    session = services.store.session(session_id)
    merge_id = new_id()
    services.store.merges.add(
        session_id, merge_id=merge_id, label="First", recipes=[{"method": "linear"}], paths=[],
        details={}, retained_energy=1.0, corpus_revision=session.corpus_revision,
        types_revision=session.types_revision,
    )  # fmt: skip
    return merge_id
