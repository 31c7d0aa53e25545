"""What every extraction engine offers, whether it runs here or on a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from experts.merging.adapters import Adapter
    from experts.spans import Span

__all__ = ["SpanExtractor"]


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
