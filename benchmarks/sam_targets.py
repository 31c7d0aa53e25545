"""What `benchmarks.sam` is run on: labelled corpora, and experts' own domains without the expert."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.corpus import read_examples
from experts.errors import SamError
from experts.pool import Expert, Pool
from experts.spans import Span

__all__ = ["PartPool", "Target", "domain_corpora", "leave_one_out", "read_target"]


@dataclass(frozen=True)
class Target:
    """A corpus with known entities.

    Attributes:
        name: in the results.
        texts, gold: parallel lists; `gold` holds spans of `types` only.
        types: what is asked for.
        all_types: how many types the corpus has.
        without: experts that may not take part, since they were trained on this domain.
        mixed: experts that have read a share of the corpus beside their own domain.
        split: "dev" or "test".
    """

    name: str
    texts: tuple[str, ...]
    gold: tuple[tuple[Span, ...], ...]
    types: tuple[str, ...]
    all_types: int
    split: str
    without: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()

    @property
    def hash(self) -> str:
        """Of texts, gold spans and types."""
        gold = [[span.key for span in spans] for spans in self.gold]
        content = json.dumps([self.texts, gold, self.types])
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def left_out(self) -> bool:
        """Whether an expert's own domain is the target."""
        return bool(self.without)


class PartPool(Pool):
    """Some experts as a pool."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        super().__init__(None, Path())
        self._experts = sorted(experts, key=lambda expert: expert.name)

    def list(self) -> list[Expert]:
        """As in `Pool`."""
        return list(self._experts)


def read_target(
    folder: Path,
    split: str,
    sentences: int,
    *,
    max_types: int = 0,
    leave_out: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    **more: Any,
) -> Target:
    """The first sentences of a corpus.

    Args:
        folder: with `split`.jsonl.
        max_types: ask for the most frequent types only; 0 for all.
        leave_out: labels that are not asked for.
        names: label → name under which it is asked for; others under their own.
        more: fields of the target.

    Raises:
        SamError: there is no such file, or nothing is labelled.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        raise SamError(f"There is no {path}.", "A target is a folder with dev.jsonl or test.jsonl.")
    named, examples = names or {}, read_examples(path)
    spans = [
        [
            Span(span.start, span.end, named.get(span.label, span.label))
            for span in example.spans
            if span.label not in leave_out
        ]
        for example in examples
    ]
    counts = Counter(span.label for found in spans for span in found)
    if not counts:
        raise SamError(f"{path} has no labelled entities.", "Choose a labelled corpus.")
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    types = sorted(ranked[:max_types] if max_types else ranked)
    return Target(
        name=more.pop("name", folder.name),
        texts=tuple(example.text for example in examples[:sentences]),
        gold=tuple(tuple(s for s in found if s.label in types) for found in spans[:sentences]),
        types=tuple(types),
        all_types=len(counts),
        split=split,
        **more,
    )


def domain_corpora(expert: Expert, role: str = "domain") -> dict[str, float]:
    """Corpora that an expert was trained on in some role → share; the largest first."""
    shares: dict[str, float] = {}
    for entry in expert.card.recipe.get("data") or []:
        if entry.get("role", "domain") == role:
            shares[entry["corpus"]] = float(entry.get("share", 1.0))
    if not shares:
        shares = {data.name: 1.0 for data in expert.card.data if data.role == role}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def leave_one_out(
    experts: Sequence[Expert],
    data: Path,
    *,
    split: str,
    sentences: int,
    max_types: int = 0,
    corpora: int = 1,
) -> Iterator[Target]:
    """Each expert's own domain as a target, the expert itself and its kin left out.

    Kin are experts that share a corpus of role "domain" with it.

    Args:
        data: folder of the corpora.
        split: where a corpus lacks it, dev is taken.
        corpora: how many of an expert's domain corpora, the largest shares first.

    Raises:
        SamError: a corpus of an expert is not there.
    """
    seen: set[str] = set()
    for expert in experts:
        own = domain_corpora(expert)
        for corpus in list(own)[:corpora]:
            if corpus in seen:  # two experts of one corpus
                continue
            seen.add(corpus)
            folder = data / corpus
            found = split if (folder / f"{split}.jsonl").is_file() else "dev"
            entry = next(
                (e for e in expert.card.recipe.get("data") or [] if e["corpus"] == corpus), {}
            )
            yield read_target(
                folder,
                found,
                sentences,
                max_types=max_types,
                leave_out=entry.get("leave_out", ()),
                names={label: usual[0] for label, usual in entry.get("types", {}).items()},
                name=f"{expert.name} ({corpus})",
                without=frozenset(e.name for e in experts if own.keys() & domain_corpora(e).keys()),
                mixed=frozenset(e.name for e in experts if corpus in domain_corpora(e, "mix")),
            )
