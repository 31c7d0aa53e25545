"""The worker process: ``python -m sam_ui.jobs.worker``, started by the supervisor.

Takes jobs one after the other and keeps the models loaded between them. Its settings come from the
environment. It ends on SIGTERM, and by itself when the process that started it is gone.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from db import DatabaseError
from db.records import JobRecord
from experts.errors import Cancelled, SamError
from sam_ui.jobs.context import JobContext, Paused
from sam_ui.jobs.memory import KILLED, advice, free_memory, out_of_memory
from sam_ui.jobs.queue import QUICK
from sam_ui.settings import Settings

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.services.engine import Engine

__all__ = ["Worker", "main"]

log = logging.getLogger(__name__)

POLL_S = 0.2
BEAT_S = 1.0
SILENT_S = 30.0
"""A worker without a sign of life for so long is dead (its heart beats every second)."""
LOOK_S = 0.25
"""How often to look whether the job is to stop."""
STOP_LOOKS = 2
"""A job that has not noticed after so many looks that it is to stop is cancelled without it."""
GRACE_S = 5.0
"""How long a job may take to notice that its worker stops; less than the supervisor waits."""

Handler = Callable[[JobContext], dict[str, Any]]


class Worker:
    """The loop around the handlers.

    Args:
        parent: process id whose end also ends this worker; None to go on regardless.
    """

    def __init__(
        self,
        services: Services,
        engine: Engine,
        *,
        name: str,
        handlers: Mapping[str, Handler] | None = None,
        parent: int | None = None,
    ) -> None:
        if handlers is None:
            from sam_ui.jobs.handlers import HANDLERS

            handlers = HANDLERS
        self.name = name
        self.stopping = threading.Event()
        self._services = services
        self._engine = engine
        self._jobs = services.queue.jobs
        self._handlers = handlers
        self._parent = parent
        self._current: str | None = None

    def run(self) -> None:
        """Work until told to stop."""
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()
        while not self.stopping.is_set():
            try:
                worked = self.run_one()
            except DatabaseError as error:
                log.error("the database failed: %s", type(error).__name__)
                worked = False
                self.stopping.wait(1.0)
            if not worked:
                self.stopping.wait(POLL_S)

    def run_one(self) -> bool:
        """Run the next queued job, if there is one; returns whether there was."""
        self._jobs.release_orphans(what=KILLED[0], hint=KILLED[1], silent_s=SILENT_S)
        job = self._jobs.take(self.name, first=QUICK)
        if job is None:
            return False
        self._current = job.id
        try:
            self._run(job)
        finally:
            self._current = None
            self._clear_up(job)
        return True

    def _run(self, job: JobRecord) -> None:
        context = JobContext(
            job,
            worker=self.name,
            jobs=self._jobs,
            services=self._services,
            engine=self._engine,
            stopping=self.stopping,
        )
        try:
            handler = self._handlers.get(job.kind)
            if handler is None:
                raise SamError(f"This version of SaM has no work called {job.kind}.", "Update SaM.")
            result = handler(context)
        except Cancelled:
            self._stopped(job)
        except Paused:
            self._jobs.give_way(job.id, self.name)
        except SamError as error:
            self._jobs.fail(job.id, self.name, error.what, error.hint)
        except DatabaseError:
            self._failed(job, "The database could not be read or written.", "Press Try again.")
        except Exception as error:
            short = out_of_memory(error)
            self._failed(job, *(advice(job.kind) if short else UNEXPECTED))
            if short:
                traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
                free_memory()
        else:
            self._jobs.finish(job.id, self.name, result)

    def _stopped(self, job: JobRecord) -> None:
        if self.stopping.is_set() and not self._jobs.must_stop(job.id, self.name):
            self._jobs.give_back(self.name)
        else:
            self._jobs.set_cancelled(job.id, self.name)

    def _failed(self, job: JobRecord, what: str, hint: str) -> None:
        """Must be called while the exception is handled."""
        kind, _, trace = sys.exc_info()
        # Where, but not the message: it may quote the person's texts.
        frames = traceback.extract_tb(trace)
        where = "\n".join(f"  {f.filename}:{f.lineno} in {f.name}" for f in frames)
        log.error("job %s (%s): %s\n%s", job.id, job.kind, kind.__name__ if kind else "", where)
        self._jobs.fail(job.id, self.name, what, hint)

    def _clear_up(self, job: JobRecord) -> None:
        """A session that was deleted while its job ran must leave no files."""
        if job.session_id and not self._services.sessions.exists(job.session_id):
            folder = self._services.settings.session_dir(job.session_id)
            shutil.rmtree(folder, ignore_errors=True)

    def _beat(self) -> None:
        looks, asked = 0, 0
        while not self.stopping.wait(LOOK_S):
            if self._parent is not None and os.getppid() != self._parent:
                log.info("the app is gone, the worker stops")
                self.stopping.set()
                break
            job, looks = self._current, looks + 1
            if job is None:
                asked = 0
                continue
            try:
                if looks % round(BEAT_S / LOOK_S) == 0:
                    self._jobs.beat(job, self.name)
                asked = asked + 1 if self._jobs.must_stop(job, self.name) else 0
                if asked == STOP_LOOKS:  # it is loading a model, say: nobody is to wait for that
                    self._jobs.set_cancelled(job, self.name)
            except DatabaseError as error:
                log.warning("no sign of life could be given: %s", type(error).__name__)
        # The main thread ends by itself unless its job does not notice.
        if self._parent is not None:
            threading.Event().wait(GRACE_S)
            try:
                self._jobs.give_back(self.name)
            finally:
                os._exit(0)


UNEXPECTED = (
    "Something went wrong that SaM did not expect.",
    "Press Try again; if it happens again, report it with the lines of the log.",
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="python -m sam_ui.jobs.worker")
    parser.add_argument("--name", default=f"worker-{uuid.uuid4().hex[:8]}")
    parser.add_argument("--parent", type=int, default=None)
    options = parser.parse_args(arguments)
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("alembic", "sentence_transformers", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress goes to the job, not to the log
    from sam_ui.services import Services
    from sam_ui.services.engine import Engine
    from sam_ui.services.probing import StoredAnswers

    try:
        services = Services(settings)
    except SamError as error:
        log.error("the worker cannot start: %s", error)
        sys.exit(1)
    worker = Worker(
        services,
        Engine(
            settings,
            pool=lambda: services.pool,
            answers=StoredAnswers(services.store.answers),
        ),
        name=options.name,
        parent=options.parent,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    try:
        worker.run()
    finally:
        services.close()


if __name__ == "__main__":
    main()
