"""Runs a parser in a fresh process with limits, and brings back what it has read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from experts.errors import SamError

__all__ = ["Limits", "Piece", "read_apart"]

GRACE_S = 30.0
"""For starting and for the last page that was begun in time."""
PATIENCE = 4.0
"""How much longer a process may take by the clock than it works: others use the computer, too."""
AT_ONCE = 2
_places = threading.BoundedSemaphore(AT_ONCE)
"""However many people upload: together they may use AT_ONCE times the memory limit."""

Piece = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost.

    Attributes:
        seconds: after so much work (processor time) no further page is begun; `GRACE_S` later the
            process is ended.
        memory_mb: address space of the process.
        unpacked_mb: largest size of all that a Word document holds, unpacked.
        characters: longest text.
    """

    seconds: float = 60.0
    memory_mb: int = 2048
    unpacked_mb: int = 256
    characters: int = 20_000_000


def read_apart(
    name: str, data: bytes, key: str, noun: str, limits: Limits
) -> tuple[list[Piece], list[str]]:
    """Pieces (number, part, text) of a document, and notes on the reading.

    Raises:
        SamError: what the parser says of the file, or that it ran out of time or memory.
    """
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAM_")}
    command = [sys.executable, "-m", "experts.documents.child"]
    asked = json.dumps({"name": name, "key": key, **asdict(limits)}).encode() + b"\n"
    with _places:
        try:
            ran = subprocess.run(
                command, input=asked + data, capture_output=True,
                timeout=PATIENCE * (limits.seconds + GRACE_S), env={**environment, "PYTHONPATH": path},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _too_long(name, limits) from None
        except OSError as error:
            raise SamError(
                f"{name} could not be read: no process could be started ({error.strerror}).",
                "Close other programs and try again.",
            ) from error
    if ran.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
        raise _too_long(name, limits)
    try:
        answer = json.loads(ran.stdout)
    except ValueError:
        raise SamError(
            f"{name} could not be read: the {noun} is damaged, or needs more than "
            f"{limits.memory_mb:,} MB of memory.",
            "Open it and export it again, or split it into smaller files.",
        ) from None
    if "what" in answer:
        raise SamError(answer["what"], answer["hint"])
    return [(number, part, text) for number, part, text in answer["pieces"]], answer["notes"]


def _too_long(name: str, limits: Limits) -> SamError:
    return SamError(
        f"{name} could not be read within {limits.seconds:.0f} seconds.",
        "Split it into smaller files, or save it as plain text.",
    )
