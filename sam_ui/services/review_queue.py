"""In which order sentences are best looked at, and why.

The doubt about a sentence is in [0, 1]: 1 − probability of the least sure span that was predicted in
it. Where nothing was found an entity may have been missed: such sentences stand in the middle. It is
raised half-way to 1, at most, where the experts of the probe disagree, and a quarter of the way where
a type was found of which nobody has confirmed an entity yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from db.records import SessionRecord
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.recent import Recent
from sam_ui.services.review_saving import ReviewSaving
from sam_ui.services.review_views import REVIEWED, ReviewQueue
from sam_ui.services.review_votes import NOBODY, Votes, read_votes
from sam_ui.services.store import Store, clean_search
from sam_ui.words import _

__all__ = ["Overview", "Reasons", "ReviewOrder"]

MOST = 5000
ORDERS = ("doubt", "position", "random", "diverse")
FILTERS = ("open", "reviewed", "skipped", "accepted", "changed", "again")
_UNKNOWN = 0.5  # of a span without a probability
_DISAGREEING = 0.5
_UNCONFIRMED = 0.25
_SHOWN = 40  # characters of a mention


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence; `surest`: type -> probability of the least sure of its `spans` of that type."""

    id: int
    position: int
    document: int
    length: int
    surest: Mapping[str, float]
    spans: int


class Overview:
    """All sentences of a session with what a merge has found in them; it never changes."""

    def __init__(self, store: Store, session_id: str, merge_id: str | None) -> None:
        known = {kind.name for kind in store.types.list(session_id)}
        found: dict[int, dict[str, float]] = {}
        counts: dict[int, int] = {}
        if merge_id is not None:
            for ident, label, lowest, count in store.overview.sureness(session_id, merge_id):
                if label in known:
                    found.setdefault(ident, {})[label] = _UNKNOWN if lowest is None else lowest
                    counts[ident] = counts.get(ident, 0) + count
        self.predicted = merge_id is not None
        self.lines = {
            row[0]: _Line(*row, found.get(row[0], {}), counts.get(row[0], 0))
            for row in store.overview.sentences(session_id)
        }
        self.labels = {label for line in self.lines.values() for label in line.surest}
        doubts = [1 - min(line.surest.values()) for line in self.lines.values() if line.surest]
        self.middle = median(doubts) if doubts else _UNKNOWN

    def sure(self, threshold: float) -> dict[int, float]:
        """Sentences of which every span is at least that probable -> probability of the least sure
        one; sentences without spans are left out.
        """
        least = {i: min(line.surest.values()) for i, line in self.lines.items() if line.surest}
        return {ident: lowest for ident, lowest in least.items() if lowest >= threshold}


@dataclass(frozen=True, slots=True)
class Reasons:
    """Doubts, and where they come from.

    Attributes:
        unconfirmed: types of which nobody has confirmed an entity yet.
    """

    overview: Overview
    every_vote: Mapping[int, Votes]
    unconfirmed: set[str]

    def votes(self, sentence_id: int) -> Votes:
        """What the experts said of a sentence."""
        return self.every_vote.get(sentence_id, NOBODY)

    def doubt(self, sentence_id: int) -> float:
        """In [0, 1]."""
        line = self.overview.lines.get(sentence_id)
        if line is None:  # it was added a moment ago
            return self.overview.middle
        doubt = 1 - min(line.surest.values()) if line.surest else self.overview.middle
        doubt += (1 - doubt) * self.votes(sentence_id).disagreement * _DISAGREEING
        if not self.unconfirmed.isdisjoint(line.surest):
            doubt += (1 - doubt) * _UNCONFIRMED
        return doubt

    def why(
        self, sentence_id: int, text: str, predicted: Sequence[Span], unasked: Sequence[str] = ()
    ) -> str:
        """In plain words."""
        parts = [_("“{type}” was added after it was reviewed", type=name) for name in unasked]
        if predicted:
            parts.append(_least_sure(text, predicted))
        elif self.overview.predicted:
            parts.append(_("nothing was found: something may have been missed"))
        disputed = self.votes(sentence_id).disputed
        if disputed is not None:
            span, those, readers = disputed
            parts.append(
                _(
                    "the experts disagree: {those} of {all} found “{mention}” as {type}",
                    those=those, all=readers, mention=shortened(text, span), type=span.label,
                )
            )  # fmt: skip
        labels = {span.label for span in predicted}
        for label in sorted(self.unconfirmed & labels):
            parts.append(_("nobody has confirmed an entity of type “{type}” yet", type=label))
        return "; ".join(parts) or _("nothing has been predicted yet")


class ReviewOrder:
    """Queues, doubts and their reasons."""

    def __init__(self, store: Store, saving: ReviewSaving) -> None:
        self._store = store
        self._saving = saving
        self._overviews: Recent[tuple[object, ...], Overview] = Recent(8)
        self._votes: Recent[str, Mapping[int, Votes]] = Recent(8)

    def overview(self, session: SessionRecord, merge_id: str | None) -> Overview:
        """Made once for the texts, types and predictions that there are."""
        run = self._store.runs.latest(session.id, "predict", merge_id=merge_id)
        revisions = (session.corpus_revision, session.types_revision)
        key = (session.id, merge_id, run.id if run and merge_id else None, *revisions)
        return self._overviews.get(key, lambda: Overview(self._store, session.id, merge_id))

    def votes(self, session_id: str) -> Mapping[int, Votes]:
        """Sentence -> what the experts of the last match said of it."""
        run_id = self._store.runs.latest_id(session_id, "match")
        if run_id is None:
            return {}
        return self._votes.get(run_id, lambda: read_votes(self._store, session_id))

    def queue(
        self,
        session_id: str,
        *,
        order: str,
        status: str | None,
        types: Sequence[str] | None,
        search: str,
        seed: int,
        offset: int,
        merge_id: str | None,
    ) -> ReviewQueue:
        session = self._store.session(session_id)
        if order not in ORDERS or status not in (None, *FILTERS):
            raise SamError("Sentences cannot be listed like that.", "Choose one of those shown.")
        overview = self.overview(session, self._saving.merge_id(session_id, merge_id))
        statuses = self._store.reviews.statuses(session_id)
        passes = self._filter(session_id, overview, statuses, status, types, clean_search(search))
        ranks = self._ranks(session_id, overview, order, seed)
        chosen = [ident for ident in ranks if passes(ident)]
        shown = [statuses[ident] for ident in statuses if ident in overview.lines]
        return ReviewQueue(
            ids=tuple(chosen[max(0, offset) :][:MOST]),
            total=len(chosen),
            reviewed=sum(value in REVIEWED for value in shown),
            skipped=shown.count("skipped"),
            sentences=len(overview.lines),
        )

    def _filter(
        self,
        session_id: str,
        overview: Overview,
        statuses: Mapping[int, str],
        status: str | None,
        types: Sequence[str] | None,
        search: str,
    ) -> Callable[[int], bool]:
        wanted = {None: None, "reviewed": REVIEWED, "again": REVIEWED}.get(status, (status,))
        matching = self._store.overview.matching(session_id, search) if search else None
        asked, known = set(types or ()), set(self._saving.types(session_id))
        again = status == "again"
        said = self._store.overview.corrected(session_id) if asked or again else {}

        def passes(ident: int) -> bool:
            if wanted is not None and statuses.get(ident, "open") not in wanted:
                return False
            if again and (ident not in said or known <= set(said[ident][1])):
                return False
            if matching is not None and ident not in matching:
                return False
            if not asked:
                return True
            if ident in said:
                return any(span[2] in asked for span in said[ident][0])
            return not asked.isdisjoint(overview.lines[ident].surest)

        return passes

    def _ranks(self, session_id: str, overview: Overview, order: str, seed: int) -> Iterable[int]:
        """All sentences; those that are filtered out later leave the others' order as it is."""
        if order == "position":
            return overview.lines
        if order == "doubt":
            doubts = self.doubts(session_id, overview)
            return sorted(doubts, key=lambda ident: -doubts[ident])
        shuffled = sorted(
            overview.lines, key=lambda ident: _chance(seed, overview.lines[ident].position)
        )
        return shuffled if order == "random" else _spread(overview, shuffled)

    def doubts(self, session_id: str, overview: Overview) -> dict[int, float]:
        """Sentence -> doubt, in the order of the texts."""
        reasons = self.reasons(session_id, overview, overview.labels)
        return {ident: reasons.doubt(ident) for ident in overview.lines}

    def reasons(self, session_id: str, overview: Overview, labels: set[str]) -> Reasons:
        """For sentences in which no other types than `labels` were found."""
        unconfirmed = self._store.overview.unconfirmed(session_id, labels) if labels else set()
        return Reasons(overview, self.votes(session_id), unconfirmed)


def _chance(seed: int, position: int) -> bytes:
    """As good as random; the same for a copy of the session."""
    return hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()


def _spread(overview: Overview, shuffled: Sequence[int]) -> list[int]:
    """One sentence after the other of each group: of the same document (where there are not about
    as many as sentences), of about the same length, in which the same types were found.
    """
    documents = {line.document for line in overview.lines.values()}
    whole = len(documents) * 4 <= len(overview.lines)
    turn: dict[object, int] = {}
    rounds: dict[int, int] = {}
    for ident in shuffled:
        line = overview.lines[ident]
        document = line.document if whole else None
        group = (document, line.length.bit_length(), frozenset(line.surest))
        rounds[ident] = turn[group] = turn.get(group, -1) + 1
    return sorted(shuffled, key=lambda ident: rounds[ident])


def _least_sure(text: str, predicted: Sequence[Span]) -> str:
    least = min(predicted, key=lambda s: (_UNKNOWN if s.score is None else s.score, s.start))
    mention = shortened(text, least)
    if least.score is None:
        return _("least sure: “{mention}” as {type}", mention=mention, type=least.label)
    return _(
        "least sure: “{mention}” as {type}, {percent}",
        mention=mention, type=least.label, percent=percent(least.score),
    )  # fmt: skip


def percent(share: float) -> str:
    """“41 %”; never 100 % of what is not certain."""
    return f"{min(99, round(100 * share)) if share < 1 else 100} %"


def shortened(text: str, span: Span) -> str:
    """The words of a span, cut where they are many."""
    words = " ".join(text[span.start : span.end].split())
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1].rstrip() + "…"
