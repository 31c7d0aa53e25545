"""What the steps call: no Gradio, no SQL; testable without a browser.

Every method takes the id of a session, which the interface gets once from the token in the URL
(`Services.sessions.by_token`). A session that is gone raises `SamError`, as does everything that a
person can mend. Methods return the frozen dataclasses of `sam_ui.services.views` at once; long work
is started with ``….start(…)``, which returns the id of a job to follow with `Services.jobs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.records import SentenceRecord, SessionRecord
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.agreement import AgreementService
from sam_ui.services.corpus import CorpusService
from sam_ui.services.corrections import CorrectionService
from sam_ui.services.drafts import DraftService
from sam_ui.services.incoming import Incoming
from sam_ui.services.jobs import JobService
from sam_ui.services.learning import LearningService
from sam_ui.services.links import LinkService
from sam_ui.services.match import MatchService
from sam_ui.services.merge import MergeService
from sam_ui.services.pool import ExpertService
from sam_ui.services.predict import PredictService
from sam_ui.services.preview import PreviewService
from sam_ui.services.review import ReviewService
from sam_ui.services.sessions import SessionService
from sam_ui.services.share import ShareService
from sam_ui.services.state import step_states
from sam_ui.services.store import Store, unpack_spans
from sam_ui.services.suggesting import SuggestService
from sam_ui.services.types import TypeService
from sam_ui.services.views import BaseInfo, StepState

if TYPE_CHECKING:
    from experts.pool import Pool
    from sam_ui.jobs.queue import JobQueue
    from sam_ui.settings import Settings

__all__ = ["Services", "Work"]


@dataclass(frozen=True)
class Work:
    """A session's input to a run; `session` is as it was before the rest was read, so that a
    change in between makes the result stale rather than wrong.
    """

    session: SessionRecord
    sentences: list[SentenceRecord]
    types: list[str]

    @property
    def texts(self) -> list[str]:
        return [sentence.text for sentence in self.sentences]

    @staticmethod
    def gold(sentence: SentenceRecord) -> tuple[Span, ...] | None:
        return None if sentence.gold is None else unpack_spans(sentence.gold)


class Services:
    """One for the whole process; safe to share among threads.

    Args:
        pool: the experts; None opens the bundled pool and the added experts.
    """

    def __init__(self, settings: Settings, *, pool: Pool | None = None) -> None:
        self.settings = settings
        self.store = Store(settings, pool=pool)
        self.experts = ExpertService(self.store)
        self.corpus = CorpusService(self.store)
        self.incoming = Incoming(self.corpus)
        self.types = TypeService(self.store, self.experts)
        self.suggesting = SuggestService(self.store, self.experts, self.types)
        self.sessions = SessionService(self.store, self.corpus, self.types)
        self.links = LinkService(self.store)
        self.drafts = DraftService(self.store)
        self.corrections = CorrectionService(self.store)
        self.match = MatchService(self.store, self.experts)
        self.merge = MergeService(self.store)
        self.preview = PreviewService(self.store, self.merge)
        self.predict = PredictService(self.store)
        self.review = ReviewService(self.store)
        self.agreement = AgreementService(self.store)
        self.share = ShareService(self.store, self.predict, self.experts, self.corrections)
        self.jobs = JobService(self.store)
        self.learning = LearningService(
            self.store, self.merge, self.predict, self.corrections, self.jobs
        )

    @property
    def queue(self) -> JobQueue:
        """The job queue of all sessions, for the worker and its supervisor."""
        return self.store.queue

    @property
    def pool(self) -> Pool:
        return self.store.pool

    def state(self, session_id: str) -> dict[str, StepState]:
        """Of each of `views.STEPS`: "todo", "running", "done" or "stale"."""
        return step_states(self.store, session_id)

    def begin(self, session_id: str) -> Work:
        """What a run over the whole session needs.

        Raises:
            SamError: there are no sentences or no types any more.
        """
        session = self.store.session(session_id)
        sentences = self.store.corpus.sentences(session_id)
        types = [t.name for t in self.store.types.list(session_id)]
        if not sentences or not types:
            raise SamError("The texts or types were removed.", "Add some in step 1.")
        return Work(session, sentences, types)

    def base_info(self) -> BaseInfo:
        """The base model's name, with the notice to show beside it."""
        from experts.embedded import EMBEDDED_BASE
        from experts.export.notices import base_notice

        name = self.settings.base_model or EMBEDDED_BASE
        return BaseInfo(name=name, notice=base_notice(name))

    def close(self) -> None:
        """Close the database."""
        self.store.database.close()
