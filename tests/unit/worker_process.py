"""A real worker process in which the models alone are a stand-in."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HOLD", "write_worker"]

HOLD = "while before and not Path({go!r}).exists(): time.sleep(0.02)"
"""Statement that lets the first portion be read at once, others when a file is there."""

SCRIPT = """
import os, signal, sys, time
from pathlib import Path

sys.path.insert(0, {root!r})
import sam_ui.jobs.worker as module
from experts.pool import Pool
from sam_ui.services import engine, store
from tests.unit.fakes import BASE, FakeEngine, find


class Slow(FakeEngine):
    def __init__(self, settings, *, pool, answers=None):
        super().__init__(settings, pool)

    def predict(self, texts, types, adapters, **options):
        before = Path({log!r}).read_text("utf-8").splitlines()
        with open({log!r}, "a", encoding="utf-8") as log:
            log.writelines(text + "\\n" for text in texts)
        {body}
        return [find(text, types) for text in texts]


engine.Engine = Slow
store.open_pool = lambda settings: Pool(Path({pool!r}), Path({pool!r}, "own"), base_model=BASE)
module.main(sys.argv[1:])
"""


def write_worker(script: Path, *, log: Path, pool: Path, body: str) -> None:
    """Write a program that runs as the worker.

    Args:
        log: gets a line for every sentence when its reading begins.
        pool: folder of the experts.
        body: a statement that is run while sentences are read; `before` has the lines of `log`.
    """
    root = Path(__file__).resolve().parents[2]
    script.write_text(
        SCRIPT.format(root=str(root), log=str(log), pool=str(pool), body=body), encoding="utf-8"
    )
