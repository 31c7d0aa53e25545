"""Two people who annotate the same texts without seeing each other's work, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from db.records import AnnotationRecord
from experts.agreement import agree
from experts.errors import SamError
from experts.evaluate import Score
from experts.spans import Span
from sam_ui.services.review_saving import ReviewSaving, checked_spans, keys, sentence_gone
from sam_ui.services.review_views import Conflict, Saved
from sam_ui.services.store import Store, unpack_spans
from sam_ui.services.views import SessionInfo
from sam_ui.words import _

__all__ = ["Agreement", "AgreementService", "Annotation", "Annotator", "Disagreement"]

MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Annotator:
    """Somebody who annotates, and how many sentences that are."""

    name: str
    sentences: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """What an annotator says of a sentence; `types`: those that were looked for."""

    spans: tuple[Span, ...]
    types: tuple[str, ...]
    revision: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two annotators agree.

    Attributes:
        sentences: that both have annotated.
        words: in these sentences.
        strict_f1: of spans with the same offsets and type, in [0, 1].
        low, high: its 95 % interval.
        partial_f1: a span that only overlaps counts half; types are not compared.
        kappa: Cohen's, over words; None where it is not defined: `reason` says why.
        per_type: type -> counts in the session's order; `tp`: both, `fn`: only `a`, `fp`: only `b`.
    """

    a: str
    b: str
    sentences: int
    words: int
    strict_f1: float
    low: float
    high: float
    partial_f1: float
    kappa: float | None
    reason: str
    per_type: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A sentence of which two annotators say different things; `decided`: the spans of its
    correction, None until there is one that somebody has made for this very sentence.
    """

    sentence_id: int
    position: int
    text: str
    a: tuple[Span, ...]
    b: tuple[Span, ...]
    decided: tuple[Span, ...] | None = None


class AgreementService:
    """Annotations of a session by name. They are nobody's truth until they are adjudicated."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._saving = ReviewSaving(store)

    def name_of(self, session: SessionInfo) -> str:
        """What the link is called that a session was opened with: the name of whoever was invited
        by it; "" without one.
        """
        links = self._store.links.list(session.id)
        return next((link.label for link in links if link.id == session.link_id), "")

    def annotate(
        self,
        session_id: str,
        sentence_id: int,
        spans: Sequence[Span],
        *,
        who: str,
        revision: int,
    ) -> Saved:
        """Keep what an annotator says of a sentence.

        Args:
            spans: all of them; none says that there is nothing to find.
            who: the annotator's name.
            revision: `Annotation.revision` or `Saved.revision` as last seen, 0 at first. Where the
                same annotator has said something else since, on another screen, nothing is kept:
                `Saved.conflict` says what.

        Raises:
            SamError: the sentence is gone, the annotator has no name, or a span does not fit.
        """
        who = _name(who)
        self._store.session(session_id)
        types = self._saving.types(session_id)
        newer: list[AnnotationRecord] = []

        def said(text: str, before: AnnotationRecord | None) -> list[list[object]] | None:
            packed = checked_spans(text, spans, types)
            if before is None:
                return packed
            same = keys(packed) == keys(before.spans)
            if before.revision > revision and not same:
                newer.append(before)
                return None
            return None if same and before.types == types else packed

        kept = self._store.annotations.put(session_id, sentence_id, who, said, types=types)
        if kept is None:
            raise sentence_gone()
        theirs = [
            Conflict(who, before.updated_at, unpack_spans(before.spans), before.revision)
            for before in newer
        ]
        return Saved(kept, "changed", next(iter(theirs), None))

    def annotation(self, session_id: str, sentence_id: int, *, who: str) -> Annotation | None:
        """What an annotator has said of a sentence, None for nothing yet."""
        record = self._store.annotations.get(session_id, sentence_id, _name(who))
        if record is None:
            return None
        spans, types = unpack_spans(record.spans), tuple(record.types)
        return Annotation(spans, types, record.revision, record.updated_at)

    def done(self, session_id: str, *, who: str) -> tuple[int, ...]:
        """The sentences that somebody has annotated, in the order of the texts."""
        return tuple(self._store.annotations.by(session_id, _name(who)))

    def annotators(self, session_id: str) -> list[Annotator]:
        """By name."""
        self._store.session(session_id)
        counts = self._store.annotations.counts(session_id)
        return [Annotator(name, count) for name, count in counts.items()]

    def agreement(self, session_id: str, a: str, b: str) -> Agreement:
        """Compare two annotators over the sentences that both have annotated, by the types that
        both looked for.

        Raises:
            SamError: there is no such sentence.
        """
        both = self._both(session_id, a, b)
        if not both:
            raise SamError(
                _("There is no sentence that both {a} and {b} have annotated.", a=a, b=b),
                "Let both annotate some of the same sentences.",
            )
        found = agree([d.text for d in both], [d.a for d in both], [d.b for d in both])
        types = [name for name in self._saving.types(session_id) if name in found.per_type]
        return Agreement(
            a=a,
            b=b,
            sentences=len(both),
            words=found.words,
            strict_f1=found.strict,
            low=found.low,
            high=found.high,
            partial_f1=found.partial,
            kappa=found.kappa,
            reason=found.reason,
            per_type={name: found.per_type[name] for name in types},
        )

    def disagreements(self, session_id: str, a: str, b: str) -> list[Disagreement]:
        """Sentences of which two annotators say different things, in the order of the texts."""
        return [both for both in self._both(session_id, a, b) if _keys(both.a) != _keys(both.b)]

    def adjudicate(
        self, session_id: str, sentence_id: int, spans: Sequence[Span], *, who: str
    ) -> Saved:
        """Decide what is right: it becomes the session's correction; the annotations stay.

        Raises:
            SamError: the sentence is gone, or a span does not fit.
        """
        return self._saving.put(
            session_id, sentence_id, spans, action="adjudicate", revision=None, who=who
        )

    def _both(self, session_id: str, a: str, b: str) -> list[Disagreement]:
        """Every sentence that both have annotated."""
        self._store.session(session_id)
        if _name(a) == _name(b):
            raise SamError("These are the same person.", "Choose two annotators.")
        known = set(self._saving.types(session_id))
        first = self._store.annotations.by(session_id, _name(a))
        second = self._store.annotations.by(session_id, _name(b))
        shared = [ident for ident in first if ident in second]
        decided = {row.id: unpack_spans(row.spans) for row in self._store.reviews.read(session_id)}
        both = []
        for row in self._store.history.sentences(session_id, shared):
            mine, theirs = first[row.id], second[row.id]
            types = known & set(mine.types) & set(theirs.types)
            spans = [
                tuple(span for span in unpack_spans(record.spans) if span.label in types)
                for record in (mine, theirs)
            ]
            both.append(
                Disagreement(
                    row.id, row.position, row.text, spans[0], spans[1], decided.get(row.id)
                )
            )
        return both


def _keys(spans: Sequence[Span]) -> set[tuple[int, int, str]]:
    return {span.key for span in spans}


def _name(who: str) -> str:
    name = " ".join(who.split())[:MAX_NAME]
    if not name:
        raise SamError("An annotator needs a name.", "Type yours first.")
    return name
