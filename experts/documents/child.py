"""The process that parses one document: a line of JSON that says what is asked, then the document's
bytes, on standard input; JSON on standard output.

Started by :func:`experts.documents.sandbox.read_apart`; nothing but the document reaches it.
"""

from __future__ import annotations

import json
import sys
import time

from experts.documents.sandbox import GRACE_S, Limits
from experts.errors import SamError

__all__ = ["main"]


def _limit(limits: Limits) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's clock holds there, too
        return
    wanted = {
        resource.RLIMIT_AS: limits.memory_mb * 1024 * 1024,
        resource.RLIMIT_CPU: int(limits.seconds + GRACE_S),
    }
    for kind, most in wanted.items():
        try:
            hard = resource.getrlimit(kind)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (least, hard))
        except (ValueError, OSError):  # macOS refuses the first at times
            continue


def _answer(name: str, key: str, limits: Limits) -> dict[str, object]:
    _limit(limits)
    deadline = time.process_time() + limits.seconds
    data = sys.stdin.buffer.read()
    try:
        if key == "pdf":
            from experts.documents.pdf import read_pdf

            pieces, notes = read_pdf(name, data, deadline=deadline, most=limits.characters)
        else:
            from experts.documents.word import read_docx

            pieces, notes = read_docx(
                name, data, most=limits.characters, unpacked=limits.unpacked_mb * 1_000_000
            )
    except SamError as error:
        return {"what": error.what, "hint": error.hint}
    except MemoryError:
        return {
            "what": f"{name} needs more than {limits.memory_mb:,} MB of memory to be read.",
            "hint": "Split it into smaller files, or save it as plain text.",
        }
    return {"pieces": pieces, "notes": notes}


def main() -> None:
    """Entry point of the process."""
    asked = json.loads(sys.stdin.buffer.readline())
    answer = _answer(asked.pop("name"), asked.pop("key"), Limits(**asked))
    sys.stdout.buffer.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
