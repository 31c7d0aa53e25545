"""What the card with the scores shows."""

from __future__ import annotations

from collections.abc import Mapping

from experts.evaluate import Score
from experts.scoring import Categories
from experts.spans import Span
from sam_ui.markup import esc, percent, tag
from sam_ui.services.review_scores import ENOUGH_SENTENCES, ENOUGH_SPANS
from sam_ui.services.review_views import Estimate, ReviewError, ReviewScores
from sam_ui.words import _, _n, figure, mark

__all__ = ["PAGE", "scores_html"]

PAGE = 20
"""Errors that are listed at once."""
FEW = 5
"""A share of fewer entities of a type is not given in per cent."""
MIXED = 5
AROUND = 40
"""Characters of the sentence before and after an error."""
KINDS = {
    "missed": mark("missed"),
    "wrong": mark("wrong"),
    "type": mark("wrong type"),
    "boundary": mark("wrong ends"),
}


def scores_html(
    scores: ReviewScores,
    estimate: Estimate,
    *,
    rest: int,
    shown: int = PAGE,
    here: int | None = None,
    view_only: bool = False,
) -> str:
    """The card.

    Args:
        rest: sentences that nobody has reviewed.
        shown: how many errors to list.
        here: the sentence in the editor.
        view_only: for somebody who may only look.
    """
    title = tag("h2", esc(_("How well it does")))
    if not scores.sentences:
        said = _(
            "Accept or change sentences: here you see how much of them the model had found by "
            "itself."
        )
        if view_only:
            said = _("Nobody has corrected a sentence yet.")
        if scores.bulk or scores.learned:
            said = _("No correction can be counted yet.")
        return title + tag("p", esc(said), class_="sam-muted") + _left_out(scores)
    claims = scores.sentences >= ENOUGH_SENTENCES and scores.strict.support >= ENOUGH_SPANS
    return (
        f"{title}{_told(scores, claims, view_only)}{_left_out(scores)}"
        f"{_expected(estimate, rest)}{_errors(scores, shown, here)}{_types(scores)}"
        f"{_ways(scores, claims)}"
    )


def _told(scores: ReviewScores, claims: bool, view_only: bool) -> str:
    strict = scores.strict
    if view_only:
        where = _n("On {n} corrected sentence:", "On {n} corrected sentences:", scores.sentences)
    else:
        where = _n("On your {n} correction:", "On your {n} corrections:", scores.sentences)
    if strict.support:
        said = _found(strict.tp, strict.support, strict.fp)
    elif strict.fp:
        said = _n(
            "there is nothing to find, and {n} was found.",
            "there is nothing to find, and {n} were found.",
            strict.fp,
        )
    else:
        said = _("there is nothing to find, and nothing was found.")
    f1 = f" {_f1(strict.f1)}" if claims else ""
    return f'<p class="sam-score" id="scores-told">{where} {said}{f1}</p>'


def _found(right: int, true: int, wrong: int) -> str:
    return _(
        "found {found} of {all}, {wrong} wrong", found=f"<b>{figure(right)}</b>",
        all=_n("{n} entity", "{n} entities", true), wrong=f"<b>{figure(wrong)}</b>",
    )  # fmt: skip


def _f1(value: float) -> str:
    return f'<span class="f1">({_("F1 {value}", value=f"{value:.2f}")})</span>'


def _left_out(scores: ReviewScores) -> str:
    said = []
    if scores.bulk:
        said.append(_n(
            "{n} more is not counted: it was accepted together with others, and nobody has read it.",
            "{n} more are not counted: they were accepted all at once, and nobody has read them.",
            scores.bulk,
        ))  # fmt: skip
    if scores.learned:
        said.append(_n(
            "{n} is not counted because this model has learned from it.",
            "{n} are not counted because this model has learned from them.",
            scores.learned,
        ))  # fmt: skip
    return "".join(tag("p", each, class_="sam-note") for each in said)


def _expected(estimate: Estimate, rest: int) -> str:
    """What is to be expected of the sentences that nobody has read."""
    if not rest:
        return ""
    sample = _n("{n} sentence", "{n} sentences", estimate.sentences_reviewed)
    spans = _n("{n} entity", "{n} entities", estimate.spans)
    if not estimate.enough:
        said = _(
            "Too little to say how it does on the rest: that takes {sentences} sentences with "
            "{entities} entities. So far: {sample} with {spans}.",
            sentences=ENOUGH_SENTENCES, entities=ENOUGH_SPANS, sample=sample, spans=spans,
        )  # fmt: skip
        return tag("p", said, class_="sam-score-rest few", id="scores-rest")
    values = {
        "f1": f"<b>{estimate.f1:.2f}</b>",
        "low": f"{estimate.low:.2f}",
        "high": f"{estimate.high:.2f}",
    }
    if estimate.biased:
        said = _n(
            "If the other sentence is like these: F1 {f1}, between {low} and {high}.",
            "If the other {n} sentences are like these: F1 {f1}, between {low} and {high}.",
            rest,
            **values,
        )
        why = _(
            "That is not sure: these were not chosen at random. After “most doubtful first” the "
            "rest is often better. Review at least {sentences} in the order “at random” to know.",
            sentences=ENOUGH_SENTENCES,
        )
        look = "sam-score-rest few"
    else:
        said = _n(
            "On the other sentence expect F1 {f1}, most likely between {low} and {high}.",
            "On the other {n} sentences expect F1 {f1}, most likely between {low} and {high}.",
            rest,
            **values,
        )
        why = _("It rests on {sample} chosen at random, with {spans}.", sample=sample, spans=spans)
        look = "sam-score-rest"
    return f'<div class="{look}" id="scores-rest"><p>{said}</p><p class="why">{why}</p></div>'


# ---- folded away ----


def _folded(key: str, summary: str, inside: str) -> str:
    return f'<details data-key="{key}">{tag("summary", esc(summary))}{inside}</details>'


def _errors(scores: ReviewScores, shown: int, here: int | None) -> str:
    count = len(scores.errors)
    if not count:
        return ""
    rows = "".join(_error(error, error.sentence_id == here) for error in scores.errors[:shown])
    more = ""
    if count > shown:
        said = _n("Show {n} more", "Show {n} more", min(PAGE, count - shown))
        more = tag("button", said, data_act="more", class_="sam-small", type="button")
    return _folded(
        "scores-errors",
        _n("{n} error to look at", "{n} errors to look at", count),
        f'<ol class="sam-errors">{rows}</ol>{more}',
    )


def _error(error: ReviewError, here: bool) -> str:
    span = error.true or error.found
    kind = tag("span", esc(_(KINDS[error.kind])), class_=f"kind {error.kind}")
    what = tag("span", esc(_what(error)), class_="what", dir="auto")
    around = _around(error.text, span) if span else esc(error.text[: 2 * AROUND])
    inner = f'{kind}{what}<span class="around" dir="auto">{around}</span>'
    current = "true" if here else None
    button = tag("button", inner, data_sentence_go=error.sentence_id, type="button")
    return tag("li", button, aria_current=current)


def _what(error: ReviewError) -> str:
    true, found = error.true, error.found
    if true and found:
        if error.kind == "boundary":
            return _(
                "“{found}” instead of “{true}”: {type}", found=_words(error.text, found),
                true=_words(error.text, true), type=true.label,
            )  # fmt: skip
        return _(
            "“{words}”: {true}, not {found}", words=_words(error.text, true), true=true.label,
            found=found.label,
        )  # fmt: skip
    if true:
        return _("“{words}”: {type}", words=_words(error.text, true), type=true.label)
    assert found is not None
    return _("“{words}”: not {type}", words=_words(error.text, found), type=found.label)


def _words(text: str, span: Span) -> str:
    said = text[span.start : span.end]
    return said if len(said) <= 60 else said[:59] + "…"


def _around(text: str, span: Span) -> str:
    before, after = text[: span.start], text[span.end :]
    left = "…" * (len(before) > AROUND) + before[-AROUND:]
    right = after[:AROUND] + "…" * (len(after) > AROUND)
    return f"{esc(left)}<b>{esc(_words(text, span))}</b>{esc(right)}"


def _types(scores: ReviewScores) -> str:
    rows = "".join(
        f'<li><b dir="auto">{esc(name)}</b>{_of_type(score)}</li>'
        for name, score in sorted(scores.per_type.items(), key=lambda each: -each[1].support)
    )
    if not rows:
        return ""
    inside = f'<ul class="sam-learn-types">{rows}</ul>{_mixed(scores.confusion)}'
    return _folded("scores-types", _("Each type alone"), inside)


def _of_type(score: Score) -> str:
    found = _("found {found} of {all}", found=f"<b>{figure(score.tp)}</b>",
              all=figure(score.support))  # fmt: skip
    wrong = _("{wrong} wrong", wrong=f"<b>{figure(score.fp)}</b>")
    if score.support >= FEW:
        found += f" ({percent(score.recall)})"
    if score.tp + score.fp >= FEW:
        wrong += f" ({percent(1 - score.precision)})"
    return f"<span>{found}</span><span>{wrong}</span>"


def _mixed(confusion: Mapping[tuple[str, str], int]) -> str:
    """Types taken for each other, the most frequent first."""
    pairs = [(n, *pair) for pair, n in confusion.items() if all(pair) and pair[0] != pair[1]]
    pairs.sort(key=lambda each: (-each[0], each[1:]))
    if not pairs:
        return ""
    rows = "".join(
        tag("li", _n(
            "{true} was taken for {found} once", "{true} was taken for {found} {n} times", n,
            true=f"<b>{esc(true)}</b>", found=f"<b>{esc(found)}</b>",
        ), dir="auto")
        for n, true, found in pairs[:MIXED]
    )  # fmt: skip
    return f"<h3>{esc(_('Mixed up'))}</h3><ul class='sam-mixed'>{rows}</ul>"


def _ways(scores: ReviewScores, claims: bool) -> str:
    partial = scores.partial
    half = _n(", {n} in part", ", {n} in part", partial.partial) if partial.partial else ""
    ways = (
        (
            _("As above"),
            _("Beginning, end and type must be right. F1 is one number for what was missed and what "
              "was wrong: 1 is without a fault."),
            _counted(scores.strict), scores.strict.f1,
        ),
        (
            _("The place only"),
            _("Beginning and end must be right, whatever the type."),
            _counted(scores.boundary), scores.boundary.f1,
        ),
        (
            _("The type only"),
            _("The type must be right, and the entity found at least in part."),
            _counted(scores.type_only), scores.type_only.f1,
        ),
        (
            _("Half counts half"),
            _("As for the place, but an entity that was found in part counts half."),
            _counted(partial) + half, partial.f1,
        ),
        (
            _("The number in papers"),
            _("Whole words, one type a word, as seqeval counts: to compare with others."),
            _counted(scores.standard), scores.standard.f1,
        ),
    )  # fmt: skip
    rows = "".join(
        f"<li><b>{name}</b><span>{counted}{' ' + _f1(f1) if claims else ''}</span><p>{said}</p></li>"
        for name, said, counted, f1 in ways
    )
    return _folded("scores-ways", _("Other ways to count"), f'<ul class="sam-tally">{rows}</ul>')


def _counted(score: Score | Categories) -> str:
    if isinstance(score, Score):
        right, true, wrong = score.tp, score.support, score.fp
    else:
        right, wrong = score.correct, score.incorrect + score.spurious
        true = right + score.incorrect + score.partial + score.missed
    return _("{found} of {all}, {wrong} wrong", found=figure(right), all=figure(true),
             wrong=figure(wrong))  # fmt: skip
