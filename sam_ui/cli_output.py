"""How the command line speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam_ui.services.engine import MatchResult

__all__ = [
    "expert_rows",
    "fail_politely",
    "print_experts",
    "print_json",
    "print_table",
    "progress_line",
]


def print_json(value: Any) -> None:
    """One valid JSON document on standard output, whatever its encoding can hold.

    Raises:
        ValueError: for a number that JSON does not have; nothing is printed then.
    """
    document = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        document.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a plain ASCII terminal, a file name that is no text
        document = json.dumps(value, indent=2, allow_nan=False)
    sys.stdout.write(document + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table on standard output; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [all(_is_number(row[i]) for row in rows) and bool(rows) for i in range(len(header))]
    for row in [list(header), *cells]:
        parts = [
            value.rjust(width) if numeric else value.ljust(width)
            for value, width, numeric in zip(row, widths, right, strict=True)
        ]
        print("  ".join(parts).rstrip())


def expert_rows(result: MatchResult) -> list[dict[str, Any]]:
    """The experts of a match, recommended ones first, then those that were probed.

    `sentences` counts the probe sentences that the expert has read; `note` says why those are not
    all of them.
    """
    from sam_ui.services.probing import probe_note

    rows = []
    for e in result.experts:
        answers = result.answers.get(e.name)
        rows.append(
            {
                "name": e.name,
                "similarity": e.similarity,
                "f1": e.f1 if e.enough else None,
                "low": e.low if e.enough else None,
                "high": e.high if e.enough else None,
                "support": e.support,
                "enough": e.enough,
                "sentences": sum(answer is not None for answer in answers or ()),
                "note": probe_note(answers, len(result.answers)),
                "per_type": e.per_type,
                "weight": result.single.get(e.name, 0.0),
            }
        )
    return sorted(
        rows, key=lambda r: (-r["weight"], not r["sentences"], -r["similarity"], r["name"])
    )


def print_experts(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `sam-ui match`; it has a column of notes only where there is one."""
    columns = {
        "name": "expert",
        "similarity": "similarity",
        "f1": "probe F1",
        "low": "low",
        "high": "high",
        "support": "spans",
        "weight": "weight",
    }
    if any(row["note"] for row in rows):
        columns["note"] = "note"
    print_table(list(columns.values()), [[row[key] for key in columns] for row in rows])


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@contextmanager
def progress_line() -> Iterator[Callable[[int, int, str], None]]:
    """A line on standard error that says how far the work is; silent when that is no terminal."""
    shown = sys.stderr.isatty()
    last = ""

    def tell(done: int, total: int, message: str) -> None:
        nonlocal last
        line = f"{message} ({100 * done // max(total, 1)} %)"
        if shown and line != last:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            last = line

    try:
        yield tell
    finally:
        if shown and last:
            sys.stderr.write("\r\x1b[K")


def fail_politely(run: Callable[[], Any]) -> int:
    """Run a command; a mistake becomes one message and an exit code, never a traceback.

    Returns:
        0; 2 for an error that the person can mend; 1 for one of the system (disk, permissions) or
        of SaM itself; 130 if interrupted.
    """
    from pydantic import ValidationError

    from experts.errors import Cancelled, SamError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        run()
        sys.stdout.flush()
        return 0
    except SamError as error:
        return _say(f"{error.what}\n{error.hint}".strip(), 2)
    except ValidationError as error:  # of the settings: everything else is a SamError by now
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        return _say(f"The setting SAM_{name} is wrong: {first['msg']}.\nSee the README's table.", 2)
    except (KeyboardInterrupt, Cancelled):
        return _say("Stopped.", 130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains when it flushes
        return 0
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _say(f"The system refused{where}: {error.strerror or error}.", 1)
    except MemoryError:
        return _say("There is not enough memory.\nTry with fewer or shorter texts.", 1)
    except Exception as error:
        if os.environ.get("SAM_LOG_LEVEL", "").upper() == "DEBUG":
            traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
        hint = "Set SAM_LOG_LEVEL=DEBUG to see where, and report it."
        return _say(f"SaM failed unexpectedly: {reason}\n{hint}", 1)


def _say(message: str, code: int) -> int:
    with suppress(OSError):
        sys.stdout.flush()
    print(message, file=sys.stderr)
    return code
