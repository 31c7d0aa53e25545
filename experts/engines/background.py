"""Asynchronous work of many requests, with its results in the caller's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TypeVar

from experts.errors import Cancelled

__all__ = ["results"]

_POLL_S = 0.1
_LEAVE_S = 2.0

T = TypeVar("T")


class _End:
    """The last thing in the queue."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def results(
    work: Callable[[Callable[[T], None]], Coroutine[None, None, None]],
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[T]:
    """Run a coroutine in an event loop of its own, and yield what it hands over.

    The caller may itself be in an event loop (a notebook is) or hold objects that belong to its
    thread (a database session), so the loop gets a thread, and the callbacks do not.

    Args:
        work: called with the function that hands a result over.
        cancelled: asked ten times a second.

    Raises:
        Cancelled: `cancelled` said so; the requests under way are dropped.
        BaseException: whatever `work` raised.
    """
    handed: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None] | None]] = []
    leave = threading.Event()

    async def body() -> None:
        running.append((asyncio.get_running_loop(), asyncio.current_task()))
        if not leave.is_set():
            await work(handed.put)

    def thread_main() -> None:
        try:
            asyncio.run(body())
        except BaseException as error:  # carried to the caller's thread
            handed.put(_End(error))
        else:
            handed.put(_End(None))

    thread = threading.Thread(target=thread_main, name="engine-requests", daemon=True)
    thread.start()
    try:
        yield from _drain(handed, cancelled)
    finally:
        leave.set()
        for loop, task in running:
            if task is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                    loop.call_soon_threadsafe(task.cancel)
        thread.join(_LEAVE_S)


def _drain(
    handed: queue.SimpleQueue[T | _End], cancelled: Callable[[], bool] | None
) -> Iterator[T]:
    asked = -_POLL_S
    while True:
        if cancelled is not None and time.monotonic() - asked >= _POLL_S:
            if cancelled():
                raise Cancelled
            asked = time.monotonic()
        try:
            item = handed.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item
