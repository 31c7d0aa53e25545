"""What each expert said of the sampled sentences, side by side, and how to correct it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sam_ui.markup import emphasis, empty, esc, tag
from sam_ui.services.views import MatchView, ProbeSentence, Span
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.match_editor import editor_words
from sam_ui.words import _, _n, figure, mark

__all__ = ["GOLD", "STAYS", "answers_html"]

GOLD = "*"
"""In place of an expert's name: what the file said. No expert can have this name."""
NAMED = 3  # experts named for an answer that several gave; the others are counted
STAYS = mark("You have chosen experts yourself, so your choice stays as it is.")

Keys = tuple[tuple[int, int, str], ...]


def answers_html(
    match: MatchView, colors: Mapping[str, str], *, own: bool = False, fixed: bool = False
) -> str:
    """The sampled sentences, each with the experts' answers below it; equal answers are one row.

    Args:
        colors: of the session's types, which a sentence can be corrected with.
        own: the person has chosen experts themselves, so that a new recommendation changes nothing.
        fixed: the person may look but not correct.
    """
    if not match.probe:
        return empty(_("No sentence was sampled"), _("Compare again with more samples."))
    if fixed:
        probe = tuple(replace(p, present=False, sentence_id=None) for p in match.probe)
        match = replace(match, probe=probe)
    first = next((i for i, p in enumerate(match.probe) if p.correction is None), 0)
    cards = "".join(
        _card(match, probe, i + 1, colors, opened=i == first) for i, probe in enumerate(match.probe)
    )
    used = {s.label for p in match.probe for spans in p.answers.values() for s in spans}
    used |= {s.label for p in match.probe for s in p.correction or ()}
    legend = legend_html({n: c for n, c in colors.items() if n in used})
    kinds = json.dumps(list(colors.items()))
    words = json.dumps(editor_words())
    answers = tag("div", cards, data_types=kinds, data_words=words)
    return f"{_progress(match, own, fixed)}{legend}{answers}"


def _progress(match: MatchView, own: bool, fixed: bool) -> str:
    count = sum(probe.correction is not None for probe in match.probe)
    if fixed and not count:
        return ""
    if not count:
        asked = _(
            "Is one of the answers right? Say so, or mark the entities yourself: the experts are "
            "measured by it at once."
        )
        return tag("p", asked, class_="sam-note")
    said = _n(
        "<b>{done} of {n} sentence corrected.</b>",
        "<b>{done} of {n} sentences corrected.</b>",
        len(match.probe),
        done=figure(count),
    )
    said += " " + emphasis(match.change or _("The recommendation has stayed the same."))
    if own:
        said += " " + _(STAYS)
    return f'<p class="sam-inset sam-progress" role="status">{said}</p>'


def _card(
    match: MatchView, probe: ProbeSentence, place: int, colors: Mapping[str, str], *, opened: bool
) -> str:
    def row(said: str, more: str, spans: Sequence[Span], button: str) -> str:
        found = spans_html(probe.text, spans, colors) if spans else tag("em", _("found nothing"))
        who = tag("th", esc(said), title=more or None)
        return f'<tr>{who}<td>{found}</td><td class="act">{button}</td></tr>'

    rows, state = [], ""
    if probe.correction is not None:
        state = tag("span", _("corrected"), class_="sam-badge")
        rows.append(row(_("You"), "", probe.correction, _take_back(probe)))
    if probe.unasked:
        state = tag("span", _("look again"), class_="sam-badge warn")
    if probe.gold is not None:
        rows.append(
            row(_("In your file"), "", probe.gold, _take(probe, GOLD, probe.gold, _("your file")))
        )
    for names, spans in _grouped(match, probe):
        said, more = _named([title for _name, title in names])
        rows.append(row(said, more, spans, _take(probe, names[0][0], spans, said)))
    return (
        f'<details class="sam-answer" data-key="answer {place}"{" open" * opened}><summary>'
        f'<span class="sam-pos">{place}</span><span class="sam-text" dir="auto">{esc(probe.text)}'
        f"</span>{state}</summary>{_unasked(probe)}<table>{''.join(rows)}</table>"
        f"{_editor(match, probe)}</details>"
    )


def _grouped(
    match: MatchView, probe: ProbeSentence
) -> list[tuple[list[tuple[str, str]], tuple[Span, ...]]]:
    """(name, title) of the experts that gave an answer, best first, with that answer."""
    groups: dict[Keys, tuple[list[tuple[str, str]], tuple[Span, ...]]] = {}
    for score in match.experts:
        spans = probe.answers.get(score.name)
        if spans is not None:
            names = groups.setdefault(_keys(spans), ([], spans))[0]
            names.append((score.name, score.title))
    return list(groups.values())


def _keys(spans: Sequence[Span]) -> Keys:
    return tuple(sorted(span.key for span in spans))


def _named(titles: Sequence[str]) -> tuple[str, str]:
    """Who gave an answer, and all of their names where that says only some."""
    if len(titles) <= NAMED + 1:
        return ", ".join(titles), ""
    first, more = ", ".join(titles[:NAMED]), len(titles) - NAMED
    said = _n("{names} and {n} more", "{names} and {n} more", more, names=first)
    return said, ", ".join(titles)


def _take(probe: ProbeSentence, name: str, spans: Sequence[Span], said: str) -> str:
    if not probe.present:
        return ""
    if probe.correction is not None and _keys(probe.correction) == _keys(spans):
        return tag("span", _("✓ right"), class_="sam-right-one")
    return tag(
        "button", _("This one is right"), data_act="take", data_name=name, class_="sam-small sam-take",
        data_sentence=probe.sentence_id, aria_label=_("This one is right: {whose}", whose=said),
    )  # fmt: skip


def _take_back(probe: ProbeSentence) -> str:
    return tag("button", _("Take it back"), data_act="uncorrect", data_sentence=probe.sentence_id,
               class_="sam-small sam-take")  # fmt: skip


def _unasked(probe: ProbeSentence) -> str:
    if not probe.unasked:
        return ""
    names = ", ".join(f"“{esc(name)}”" for name in probe.unasked)
    said = _(
        "You corrected this sentence before {names} was among your types, so the correction does "
        "not count. Correct it again.",
        names=names,
    )
    return tag("p", said, class_="sam-note")


def _editor(match: MatchView, probe: ProbeSentence) -> str:
    """The place of the editor, which the script builds; it starts from what is known so far."""
    if not probe.present:
        if probe.sentence_id is None:
            return ""
        return tag("p", _("This sentence is no longer among your texts."), class_="sam-note")
    known = probe.correction if probe.correction is not None else probe.gold
    if known is None:
        asked = [score for score in match.experts if score.name in probe.answers]
        best = max(asked, key=lambda s: (s.f1 or 0.0) if s.enough else 0.0, default=None)
        known = probe.answers[best.name] if best else ()
    # As JSON in ASCII: an attribute would lose some of the characters that a text may hold.
    data = {
        "sentence": probe.sentence_id,
        "text": probe.text,
        "spans": [[span.start, span.end, span.label] for span in known],
    }
    label = _("Mark the entities yourself")
    if probe.correction is not None:
        label = _("Change your correction")
    button = tag("button", label, class_="sam-small", data_open="")
    return tag("div", button, class_="sam-edit-host", data_edit=json.dumps(data))
