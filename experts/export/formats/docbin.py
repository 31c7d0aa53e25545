"""spaCy's DocBin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from experts.export.formats.base import Entry, ExportFormat, Losses, Row
from experts.export.formats.tagging import Tagged, tag, tagging_losses
from experts.formats.docbin import GROUP, SPAN, need_spacy

__all__ = ["DOCBIN"]


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    need_spacy("Writing for spaCy")
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab
    from srsly.msgpack import Packer

    vocab, packer = Vocab(), Packer(use_bin_type=True)
    docs = DocBin(attrs=["ORTH", "ENT_IOB", "ENT_TYPE"])
    for row in rows:
        tagged = tag(row.text, row.best or ())
        words, spaces, index = _words(row.text, tagged.tokens)
        docs.add(_document(vocab, row, tagged, (words, spaces, index)))
        if tagged.aligned:
            # As DocBin does it, which for each document looks for plugins first: a minute in 10,000.
            docs.span_groups[-1] = _group(packer, docs.strings, tagged, index)
    yield "annotations.spacy", docs.to_bytes()


def _document(
    vocab: Any, row: Row, tagged: Tagged, parts: tuple[list[str], list[bool], list[int]]
) -> Any:
    from spacy.tokens import Doc, Span

    words, spaces, index = parts
    doc = Doc(vocab, words=words, spaces=spaces)
    if row.best is None:
        doc.set_ents([], default="missing")
        return doc
    doc.set_ents(
        [
            Span(doc, index[first], index[end - 1] + 1, label=found.label)
            for first, end, found in tagged.chosen
        ]
    )
    return doc


def _group(packer: Any, strings: set[str], tagged: Tagged, index: Sequence[int]) -> bytes:
    """The span group with all entities, and their scores if there are any."""
    from spacy.strings import get_string_id

    spans, scores = [], []
    for first, end, found in tagged.aligned:
        label = get_string_id(found.label)
        at = index[first], index[end - 1] + 1, found.start, found.end
        spans.append(SPAN.pack(0, 0, label, *at))
        scores.append(found.score)
        strings.add(found.label)
    attrs = {"scores": scores} if any(score is not None for score in scores) else {}
    group = packer.pack({"name": GROUP, "attrs": attrs, "spans": spans})
    return bytes(packer.pack({group: [GROUP]}))


def _words(text: str, tokens: Sequence[tuple[int, int]]) -> tuple[list[str], list[bool], list[int]]:
    """Tokens as spaCy keeps a text: one space may follow a word, more is a word of white space.

    Returns:
        Words, whether a space follows each, and the place among them of each token.
    """
    words: list[str] = []
    spaces: list[bool] = []
    index: list[int] = []
    position = 0
    for start, end in [*tokens, (len(text), len(text))]:
        gap = text[position:start]
        if gap.startswith(" ") and words:
            spaces[-1] = True
            gap = gap[1:]
        if gap:
            words.append(gap)
            spaces.append(False)
        if start < end:
            index.append(len(words))
            words.append(text[start:end])
            spaces.append(False)
        position = end
    return words, spaces, index


def _check(rows: Sequence[Row]) -> Losses:
    return tagging_losses(rows, overlaps=False)


DOCBIN = ExportFormat(
    key="spacy",
    title="spaCy DocBin",
    ending=".spacy",
    opens="spaCy train; doc.ents has the likeliest of overlapping entities, "
    f'doc.spans["{GROUP}"] all of them with their scores',
    cannot="entities that begin or end inside a word, what a person has reviewed",
    check=_check,
    build=_build,
    extra="spacy",
)
