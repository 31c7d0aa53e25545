"""What all services share: settings, repositories, queue, pool."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import Database, DatabaseError, UnknownSchemaError, migrate
from db.records import (
    ExpertRecord,
    MergeRecord,
    RunRecord,
    SentenceRecord,
    SessionRecord,
    SpanRecord,
)
from db.repositories import (
    AnnotationRepository,
    CopyRepository,
    CorpusRepository,
    CorrectionRepository,
    EventRepository,
    ExpertRepository,
    LinkRepository,
    MergeHistoryRepository,
    MergeRepository,
    OverviewRepository,
    PredictionRepository,
    ProbeAnswerRepository,
    RemovalRepository,
    RenamingRepository,
    ReviewRepository,
    RunRepository,
    SessionRepository,
    TypeRepository,
)
from experts.embedded import EMBEDDED_BASE
from experts.errors import SamError
from experts.spans import Span
from sam_ui.jobs.queue import JobQueue
from sam_ui.services.recent import Recent
from sam_ui.services.seen import SeenExpert, SeenPool
from sam_ui.services.views import SentenceRow

if TYPE_CHECKING:
    from experts.pool import Pool
    from sam_ui.settings import Settings

__all__ = [
    "Store",
    "clean_search",
    "merge_gone",
    "open_pool",
    "pack_spans",
    "sentence_row",
    "session_gone",
    "spans_of",
    "unpack_spans",
]

MAX_SEARCH = 200


def pack_spans(spans: Sequence[Span]) -> list[list[Any]]:
    """[[start, end, label, score], …], ready for JSON."""
    return [[s.start, s.end, s.label, s.score] for s in spans]


def unpack_spans(packed: Sequence[Sequence[Any]]) -> tuple[Span, ...]:
    """The inverse; the score may be missing."""
    return tuple(Span(p[0], p[1], p[2], p[3] if len(p) > 3 else None) for p in packed)


def session_gone() -> SamError:
    """What to say when a session has been deleted."""
    return SamError("This session does not exist any more.", "Start a new session.")


def merge_gone() -> SamError:
    """What to say when a merge has been deleted."""
    return SamError("This merge does not exist any more.", "Choose another merge.")


def spans_of(records: Iterable[SpanRecord]) -> list[Span]:
    """Predicted spans, from the database."""
    return [Span(r.start, r.end, r.label, r.score) for r in records]


def sentence_row(record: SentenceRecord) -> SentenceRow:
    """From the database to the interface."""
    return SentenceRow(
        id=record.id,
        position=record.position,
        text=record.text,
        document=record.document,
        gold=None if record.gold is None else unpack_spans(record.gold),
    )


def clean_search(search: str) -> str:
    """What is searched for: without outer spaces, cut to what a database takes as a pattern."""
    return search.encode(errors="replace").decode().strip()[:MAX_SEARCH]


def open_pool(settings: Settings) -> Pool:
    """The bundled and the added experts of the base model that is set."""
    from experts.pool import Pool

    name = settings.base_model or EMBEDDED_BASE

    def shapes() -> dict[str, tuple[int, int]]:
        from experts.base import linear_shapes

        return linear_shapes(settings.base_model, data_dir=settings.data_dir)

    return Pool(
        settings.bundled_dir,
        settings.user_experts_dir,
        # A folder does not say which hub id its model has; merging checks the shapes anyway.
        base_model=None if Path(name).is_dir() else name,
        shapes=shapes,
    )


def _migrate(settings: Settings) -> None:
    name = "of SAM_DATABASE_URL" if settings.database_url else str(settings.data_dir)
    try:
        migrate(settings.db_url)
    except UnknownSchemaError:
        raise SamError(
            f"The database {name} was made by a newer version of SaM.",
            "Update SaM, or set SAM_DATA_DIR to another folder.",
        ) from None
    except (DatabaseError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise SamError(
            f"The database {name} cannot be opened: {reason}.",
            "Check that the folder can be written to, or set SAM_DATA_DIR to another one.",
        ) from None


class Store:
    """Opens the database, migrating it first.

    Attributes:
        changing: held while something is read, changed and written back: listeners run side by
            side, and of two quick clicks neither may undo the other.

    Raises:
        SamError: the database cannot be opened, or a newer version made it.
    """

    def __init__(self, settings: Settings, *, pool: Pool | None = None) -> None:
        _migrate(settings)
        self.settings = settings
        self.changing = threading.RLock()
        self.database = Database(settings.db_url)
        self.sessions = SessionRepository(self.database)
        self.links = LinkRepository(self.database)
        self.copies = CopyRepository(self.database)
        self.corpus = CorpusRepository(self.database)
        self.removal = RemovalRepository(self.database)
        self.types = TypeRepository(self.database)
        self.renaming = RenamingRepository(self.database)
        self.corrections = CorrectionRepository(self.database)
        self.reviews = ReviewRepository(self.database)
        self.events = EventRepository(self.database)
        self.overview = OverviewRepository(self.database)
        self.annotations = AnnotationRepository(self.database)
        self.experts = ExpertRepository(self.database)
        self.runs = RunRepository(self.database)
        self.merges = MergeRepository(self.database)
        self.history = MergeHistoryRepository(self.database)
        self.predictions = PredictionRepository(self.database)
        self.answers = ProbeAnswerRepository(self.database)
        self.queue = JobQueue(self.database)
        self._pool = pool
        self._pool_seen = SeenPool()
        self._matches: Recent[str, RunRecord | None] = Recent(16)

    @cached_property
    def pool(self) -> Pool:
        if self._pool is not None:
            return self._pool
        return open_pool(self.settings)

    def session(self, session_id: str) -> SessionRecord:
        """Raises `SamError` when the session is gone."""
        record = self.sessions.get(session_id)
        if record is None:
            raise session_gone()
        return record

    def merge(self, session_id: str, merge_id: str | None) -> MergeRecord | None:
        """A merge of the session; None asks for the newest, and is answered where there is none.

        Raises:
            SamError: the session has no merge of that id.
        """
        if merge_id is None:
            return next(iter(self.merges.list(session_id)), None)
        record = self.merges.get(session_id, merge_id)
        if record is None:
            raise merge_gone()
        return record

    def pool_seen(self) -> Mapping[str, SeenExpert]:
        """What the screens need of every expert that is in the pool now, by name, in its order.

        The cards are read anew only when the pool's folders have changed.
        """
        return self._pool_seen.get(self.pool)

    def pool_version(self) -> int:
        """Another number whenever `pool_seen` is another."""
        self.pool_seen()
        return self._pool_seen.version

    def pool_hashes(self) -> dict[str, str]:
        """Name -> hash of every expert that is in the pool now."""
        return {name: seen.hash for name, seen in self.pool_seen().items()}

    def remember_pool(self) -> None:
        """Bring the cache of the pool up to date, so that results can name experts for ever."""
        self.experts.remember(
            [
                ExpertRecord(
                    name=expert.name,
                    hash=expert.card.hash or "",
                    title=expert.card.title or expert.name,
                    card=_without_vectors(expert.card.model_dump(mode="json")),
                )
                for expert in self.pool.list()
            ]
        )

    def latest_match(self, session_id: str) -> RunRecord | None:
        """The newest match; its long details are read once, since a run never changes."""
        run_id = self.runs.latest_id(session_id, "match")
        if run_id is None:
            return None
        return self._matches.get(run_id, lambda: self.runs.get(session_id, run_id))

    def merge_folder(self, session_id: str, merge_id: str) -> Path:
        return self.settings.session_dir(session_id) / "merges" / merge_id

    def export_folder(self, session_id: str, merge_id: str) -> Path:
        return self.settings.session_dir(session_id) / "exports" / merge_id

    def remove_leftovers(self, *, busy: Callable[[], bool]) -> int:
        """Delete the folders of sessions and merges that the database does not know: of processes
        that were killed in the middle.

        Args:
            busy: whether a merge may be about to be stored; asked after looking at the disk, so
                that no folder of a merge that begins now is among those found. Then nothing is
                deleted.

        Returns:
            How many folders were deleted.
        """
        sessions = list((self.settings.data_dir / "sessions").glob("*"))
        parts = {s: [*s.glob("merges/*"), *s.glob("exports/*")] for s in sessions}
        if busy():
            return 0
        gone: list[Path] = []
        for folder, inside in parts.items():
            if not self.sessions.known(folder.name):
                gone.append(folder)
                continue
            known = {merge.id for merge in self.merges.list(folder.name)}
            gone += [path for path in inside if path.name not in known]
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        return len(gone)

    def adapter_paths(self, merge: MergeRecord) -> list[Path]:
        """Folders of a merge's adapters.

        Raises:
            SamError: one has been deleted from the disk.
        """
        paths = [self.settings.data_dir / part for part in merge.paths]
        for path in paths:
            if not (path / "adapter_config.json").is_file():
                raise SamError("The files of this merge are gone.", "Merge again.")
        return paths


def _without_vectors(card: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in card.items() if key not in ("mean", "exemplars")}
