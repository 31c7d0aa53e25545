"""What a handler sees of its job: payload, progress, whether to stop."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from db.records import JobRecord
from db.repositories import JobRepository
from experts.errors import Cancelled
from sam_ui.jobs.queue import QUICK

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.services.engine import Engine

__all__ = ["JobContext", "Paused", "Progress", "RemainingTime"]

Progress = Callable[[int, int, str], None]
"""Called with (done, total, message)."""

REPORT_EVERY_S = 0.25
ASK_EVERY_S = 0.2
SLICE_S = 20.0
"""How long a job that can pause works before the jobs of other sessions have their turn."""
_NUMBERS = re.compile(r"\d+")


class Paused(Exception):
    """The job goes on later from where it is: others wait."""


class RemainingTime:
    """Seconds left, from how fast the progress went lately: stages differ in speed."""

    def __init__(self, *, window_s: float = 20.0, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._window_s = window_s
        self._points: deque[tuple[float, float]] = deque()

    def update(self, progress: float) -> float | None:
        """Note the progress in [0, 1]; None until two seconds of work have been seen."""
        now = self._clock()
        self._points.append((now, progress))
        while len(self._points) > 2 and self._points[1][0] <= now - self._window_s:
            self._points.popleft()
        seconds = now - self._points[0][0]
        gained = progress - self._points[0][1]
        if seconds < 2.0 or gained <= 0:
            return None
        return (1.0 - progress) * seconds / gained


class JobContext:
    """One run of one job.

    Attributes:
        payload: what was submitted.
        services: for reading and storing; the worker's own.
        engine: the models.
    """

    def __init__(
        self,
        job: JobRecord,
        *,
        worker: str,
        jobs: JobRepository,
        services: Services,
        engine: Engine,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job = job
        self.payload: dict[str, Any] = job.payload
        self.services = services
        self.engine = engine
        self._worker = worker
        self._jobs = jobs
        self._stopping = stopping
        self._stop = False
        self._asked_at = float("-inf")
        self._reported_at = float("-inf")
        self._clock = clock
        self._began = clock()
        self._phase = ""
        self._remaining = RemainingTime(clock=clock)

    @property
    def session_id(self) -> str:
        """The session that the job belongs to."""
        if self.job.session_id is None:
            raise ValueError(f"a job of the kind {self.job.kind!r} needs a session")
        return self.job.session_id

    def progress(self, done: float, total: float, message: str) -> None:
        """Tell the person how far the job is; cheap to call often."""
        self._report(done / total if total > 0 else 0.0, message)

    def _report(self, share: float, message: str, *, last: bool = True) -> None:
        """`last`: what the message says goes on to the end of the job."""
        now = self._clock()
        phase = _NUMBERS.sub("#", message)
        if phase != self._phase:
            # Loading a model, merging and reading differ in speed by far: none foretells another.
            self._phase, self._remaining = phase, RemainingTime(clock=self._clock)
        elif now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        share = min(1.0, max(0.0, share))
        eta_s = self._remaining.update(share) if last else None
        self._jobs.report(self.job.id, self._worker, progress=share, message=message, eta_s=eta_s)

    def stage(self, start: float, end: float) -> Progress:
        """A progress function for the part of the job between two shares in [0, 1].

        The time that is left is told in the last part only: the others say nothing of it.
        """
        self._phase = ""  # what a stage says first is always seen

        def report(done: int, total: int, message: str) -> None:
            share = min(1.0, done / total) if total > 0 else 0.0
            self._report(start + (end - start) * share, message, last=end >= 1.0)

        return report

    def cancelled(self) -> bool:
        """Whether to stop now; asks the database at most five times a second."""
        if self._stop or self._stopping.is_set():
            return True
        now = self._clock()
        if now - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now
            self._stop = self._jobs.must_stop(self.job.id, self._worker)
        return self._stop

    def check(self) -> None:
        """Raise `Cancelled` when the job is to stop; always asks the database."""
        self._asked_at = float("-inf")
        if self.cancelled():
            raise Cancelled

    def give_way(self) -> None:
        """Raise `Paused` when somebody waits for a quick job, or has waited long enough, and
        `Cancelled` when the job is to stop; to be called where what is done is kept.
        """
        self.check()
        quick, others = self._jobs.others_wait(self.job, first=QUICK)
        if quick or (others and self._clock() - self._began >= SLICE_S):
            raise Paused
