"""What every extraction engine offers, whether it runs here or on a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from experts.merging.adapters import Adapter
    from experts.spans import Span

__all__ = ["SpanExtractor", "each_in_turn"]


class SpanExtractor(Protocol):
    """Texts and types in, spans with offsets and probabilities out.

    `experts.extract.Extractor` and `experts.engines.served.ServedExtractor` are of this kind.
    """

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | Adapter | None = None,
        threshold: float | Mapping[str, float] = 0.0,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """For each text its spans, sorted by position; see `experts.extract.Extractor.extract`."""

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | Adapter],
        *,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[list[Span]]]:
        """For each adapter, for each text, its spans."""


def each_in_turn(
    extractor: SpanExtractor,
    texts: Sequence[str],
    types: Sequence[str],
    adapters: Sequence[Path | Adapter],
    *,
    progress: Callable[[int, int], None] | None,
    **options: Any,
) -> list[list[list[Span]]]:
    """`extract_each` for engines that read one adapter after the other.

    Args:
        options: of `SpanExtractor.extract`.
    """
    answers: list[list[list[Span]]] = []
    for number, adapter in enumerate(adapters):

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(adapters) * total)

        answers.append(extractor.extract(texts, types, adapter=adapter, progress=report, **options))
    return answers
