"""What each expert said of the sampled sentences, side by side, and how to correct it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sam_ui.markup import emphasis, empty, esc, number, tag
from sam_ui.services.views import MatchView, ProbeSentence, Span
from sam_ui.span_view import legend_html, spans_html

__all__ = ["GOLD", "answers_html"]

GOLD = "*"
"""In place of an expert's name: what the file said. No expert can have this name."""
NAMED = 3  # experts named for an answer that several gave; the others are counted

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
        return empty("No sentence was sampled", "Compare again with more samples.")
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
    return f"{_progress(match, own, fixed)}{legend}{tag('div', cards, data_types=kinds)}"


def _progress(match: MatchView, own: bool, fixed: bool) -> str:
    count = sum(probe.correction is not None for probe in match.probe)
    if fixed and not count:
        return ""
    if not count:
        return (
            '<p class="sam-note">Is one of the answers right? Say so, or mark the entities yourself: '
            "the experts are measured by it at once.</p>"
        )
    said = f"<b>{count:,} of {number(len(match.probe), 'sentence')} corrected.</b> "
    said += emphasis(match.change or "The recommendation has stayed the same.")
    if own:
        said += " You have chosen experts yourself, so your choice stays as it is."
    return f'<p class="sam-inset sam-progress" role="status">{said}</p>'


def _card(
    match: MatchView, probe: ProbeSentence, place: int, colors: Mapping[str, str], *, opened: bool
) -> str:
    def row(said: str, more: str, spans: Sequence[Span], button: str) -> str:
        found = spans_html(probe.text, spans, colors) if spans else "<em>found nothing</em>"
        who = tag("th", esc(said), title=more or None)
        return f'<tr>{who}<td>{found}</td><td class="act">{button}</td></tr>'

    rows, state = [], ""
    if probe.correction is not None:
        state = '<span class="sam-badge">corrected</span>'
        rows.append(row("You", "", probe.correction, _take_back(probe)))
    if probe.unasked:
        state = '<span class="sam-badge warn">look again</span>'
    if probe.gold is not None:
        rows.append(
            row("In your file", "", probe.gold, _take(probe, GOLD, probe.gold, "your file"))
        )
    for names, spans in _grouped(match, probe):
        said, more = _named([title for _, title in names])
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
            names, _ = groups.setdefault(_keys(spans), ([], spans))
            names.append((score.name, score.title))
    return list(groups.values())


def _keys(spans: Sequence[Span]) -> Keys:
    return tuple(sorted(span.key for span in spans))


def _named(titles: Sequence[str]) -> tuple[str, str]:
    """Who gave an answer, and all of their names where that says only some."""
    if len(titles) <= NAMED + 1:
        return ", ".join(titles), ""
    return f"{', '.join(titles[:NAMED])} and {len(titles) - NAMED} more", ", ".join(titles)


def _take(probe: ProbeSentence, name: str, spans: Sequence[Span], said: str) -> str:
    if not probe.present:
        return ""
    if probe.correction is not None and _keys(probe.correction) == _keys(spans):
        return '<span class="sam-right-one">✓ right</span>'
    return tag(
        "button", "This one is right", data_act="take", data_name=name, class_="sam-small sam-take",
        data_sentence=probe.sentence_id, aria_label=f"This one is right: {said}",
    )  # fmt: skip


def _take_back(probe: ProbeSentence) -> str:
    return tag("button", "Take it back", data_act="uncorrect", data_sentence=probe.sentence_id,
               class_="sam-small sam-take")  # fmt: skip


def _unasked(probe: ProbeSentence) -> str:
    if not probe.unasked:
        return ""
    names = ", ".join(f"“{esc(name)}”" for name in probe.unasked)
    return (
        f'<p class="sam-note">You corrected this sentence before {names} was among your types, so '
        "the correction does not count. Correct it again.</p>"
    )


def _editor(match: MatchView, probe: ProbeSentence) -> str:
    """The place of the editor, which the script builds; it starts from what is known so far."""
    if not probe.present:
        if probe.sentence_id is None:
            return ""
        return '<p class="sam-note">This sentence is no longer among your texts.</p>'
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
    button = tag("button", "Mark the entities yourself" if probe.correction is None
                 else "Change your correction", class_="sam-small", data_open="")  # fmt: skip
    return tag("div", button, class_="sam-edit-host", data_edit=json.dumps(data))
