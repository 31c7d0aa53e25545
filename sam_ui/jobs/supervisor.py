"""Starts the worker as a child process of the app, again when it dies, and ends it at exit."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from db import DatabaseError
from sam_ui.jobs.memory import KILLED

if TYPE_CHECKING:
    from sam_ui.services import Services

__all__ = ["Supervisor"]

log = logging.getLogger(__name__)

WORKER = ["-m", "sam_ui.jobs.worker"]
"""What Python runs as the worker: a process of its own, spawned, never forked."""
WATCH_S = 0.25
TERMINATE_S = 8.0
MAX_STARTS = 5
PER_S = 60.0
TIDY_EVERY_S = 24 * 3600.0


class Supervisor:
    """One worker process for one app.

    Example:
        >>> with Supervisor(services):  # doctest: +SKIP
        ...     demo.launch()
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._process: subprocess.Popen[bytes] | None = None
        self._name = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._starts: deque[float] = deque(maxlen=MAX_STARTS)
        self._tidied_at = 0.0

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None when none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the worker and watch over it; does nothing when already started."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._tidy()
        self._spawn()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="supervisor")
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the worker: politely, then by force. What it was doing is queued again."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            self._end(process)
            with contextlib.suppress(DatabaseError):
                self._services.queue.jobs.give_back(self._name)
        atexit.unregister(self.stop)

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self) -> None:
        self._name = f"worker-{uuid.uuid4().hex[:8]}"
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        environment = {**os.environ, **self._services.settings.as_env(), "PYTHONPATH": path}
        command = [sys.executable, *WORKER]
        command += ["--name", self._name, "--parent", str(os.getpid())]
        # Its own group: Ctrl+C in the terminal is for the app, which then ends the worker.
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._starts.append(time.monotonic())

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_S):
            if time.monotonic() - self._tidied_at >= TIDY_EVERY_S:
                self._tidy()
            process = self._process
            if process is not None:
                if process.poll() is None:
                    continue
                log.warning("the worker ended with the code %s", process.returncode)
                self._release()
            if self._too_often():
                log.error("the worker ended %d times within a minute", MAX_STARTS)
                self._rest()
            if not self._stopping.is_set():
                self._try_spawn()

    def _tidy(self) -> None:
        self._tidied_at = time.monotonic()
        with contextlib.suppress(DatabaseError):  # tomorrow is another day
            self._services.queue.submit(None, "tidy", {})

    def _try_spawn(self) -> None:
        """The watch must go on when the system refuses a process (memory, too many of them)."""
        self._process = None
        try:
            self._spawn()
        except OSError as error:
            log.error("the worker process could not be made: %s", error)
            self._starts.append(time.monotonic())

    def _rest(self) -> None:
        """Start nothing for a while, and tell everybody who asks for work meanwhile."""
        until = time.monotonic() + PER_S
        while time.monotonic() < until:
            self._give_up_queue()
            if self._stopping.wait(WATCH_S):
                return
        self._starts.clear()

    def _too_often(self) -> bool:
        full = len(self._starts) == MAX_STARTS
        return full and time.monotonic() - self._starts[0] < PER_S

    def _release(self) -> None:
        with contextlib.suppress(DatabaseError):  # else the next worker finds them by silence
            self._services.queue.jobs.release_orphans(
                what=KILLED[0], hint=KILLED[1], worker=self._name
            )

    def _give_up_queue(self) -> None:
        with contextlib.suppress(DatabaseError):
            self._services.queue.jobs.fail_queued(
                "The worker process cannot be started.",
                "Look at the log for the cause, then press Try again.",
            )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
