"""What the experts of the probe found in a sentence, and whether they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experts.spans import Span
from sam_ui.services.store import Store, unpack_spans

__all__ = ["NOBODY", "Votes", "read_votes"]


@dataclass(frozen=True, slots=True)
class Votes:
    """Of one sentence.

    Attributes:
        voters: "start:end:type" -> titles of the experts that found it.
        disagreement: in [0, 1]; 1 where half of the experts found a span that the others did not.
        disputed: that span, how many found it, how many read the sentence; None where all agree.
    """

    voters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    disagreement: float = 0.0
    disputed: tuple[Span, int, int] | None = None


NOBODY = Votes()


def read_votes(store: Store, session_id: str) -> dict[int, Votes]:
    """Sentence -> votes, of the sentences that the last match has probed."""
    run = store.latest_match(session_id)
    if run is None:
        return {}
    scores = [score for score in store.runs.scores(session_id, run.id) if score.kind == "probe"]
    seen = store.pool_seen()
    titles = {score.expert: score.expert for score in scores}
    if not titles.keys() <= seen.keys():
        titles |= {e.name: e.title for e in store.experts.all() if e.name in titles}
    titles |= {name: seen[name].info.title for name in titles if name in seen}
    votes = {}
    for number, (sentence_id, _, _) in enumerate(run.details["probe"]):
        answers = [(titles[score.expert], score.details["answers"][number]) for score in scores]
        read = [(title, unpack_spans(spans)) for title, spans in answers if spans is not None]
        if sentence_id is not None:
            votes[sentence_id] = _count(read)
    return votes


def _count(answers: Sequence[tuple[str, tuple[Span, ...]]]) -> Votes:
    """Of the experts that read the sentence: title, and the spans found."""
    voters: dict[tuple[int, int, str], list[str]] = {}
    for title, spans in answers:
        for key in dict.fromkeys(span.key for span in spans):
            voters.setdefault(key, []).append(title)
    readers = len(answers)
    counts = Counter({key: len(titles) for key, titles in voters.items()})
    split = {key: 4 * n * (readers - n) / readers**2 for key, n in counts.items()}
    worst = max(sorted(split), key=lambda key: split[key], default=None)
    disputed = worst is not None and split[worst] > 0
    return Votes(
        voters={f"{s}:{e}:{label}": tuple(titles) for (s, e, label), titles in voters.items()},
        disagreement=split[worst] if worst is not None else 0.0,
        disputed=(Span(*worst), counts[worst], readers) if disputed and worst else None,
    )
