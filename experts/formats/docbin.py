"""spaCy's DocBin (``.spacy``): documents with their entities and span groups.

The file is read without building a Doc: spaCy trusts the indices in it, and a file of a stranger
could make it read outside its memory. Only its hash of strings and its msgpack are used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, checked, register
from experts.spans import Span

__all__ = ["FORMAT", "GROUP", "SPAN", "need_spacy"]

GROUP = "sc"
"""The span group that holds all spans, overlapping ones too: spaCy's own default name for it."""
MAX_UNPACKED = 1_000_000_000
SPAN = struct.Struct(">QQQllll")
"""A span in a group: id, kb_id, label, first token, last token + 1, first and last character + 1."""
_HINT = "Save the documents again: DocBin(docs=docs).to_disk(path), with ORTH, ENT_IOB, ENT_TYPE."


def need_spacy(what: str) -> Any:
    """The spacy module.

    Raises:
        SamError: it is not installed; `what` cannot be done without it.
    """
    try:
        import spacy
    except ImportError as error:
        raise SamError(
            f"{what} needs spaCy.", "Install it: pip install 'sam-ui[spacy]'."
        ) from error
    return spacy


def _parse(name: str, data: bytes, options: Options) -> Parsed:
    need_spacy(f"Reading {name}")
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, MAX_UNPACKED)
    except zlib.error as error:
        raise SamError(f"{name} is damaged, or no DocBin of spaCy.", _HINT) from error
    if unpacker.unconsumed_tail:
        raise SamError(f"{name} unpacks to more than {MAX_UNPACKED / 1e9:.0f} GB.", "Split it.")
    parsed = Parsed([])
    try:
        for number, (text, spans) in enumerate(_documents(raw), start=1):
            found = None
            if options.gold and spans is not None:
                found = checked(text, spans, where=f"document {number} of {name}")
            parsed.records.append(Record(text, found, number))
    except SamError:
        raise
    except Exception as error:  # whatever a damaged file makes of msgpack and arrays
        raise SamError(f"{name} is damaged, or no DocBin of spaCy.", _HINT) from error
    return parsed


def _documents(raw: bytes) -> Iterator[tuple[str, list[Span] | None]]:
    """Text and spans of each document; None where no entity was ever looked for."""
    import numpy as np
    from spacy.attrs import IDS
    from spacy.strings import StringStore

    message = _unpacked(raw)
    strings = StringStore(message["strings"])
    attributes = list(message["attrs"])
    lengths = np.frombuffer(message["lengths"], dtype="int32").tolist()
    tokens = np.frombuffer(message["tokens"], dtype="uint64").reshape(-1, len(attributes))
    spaces = np.frombuffer(message["spaces"], dtype=bool).tolist()
    columns = {
        key: tokens[:, attributes.index(IDS[key])].tolist()
        for key in ("ORTH", "ENT_IOB", "ENT_TYPE")
        if IDS[key] in attributes
    }
    groups = message.get("span_groups") or [b""] * len(lengths)
    begin = 0
    for length, packed in zip(lengths, groups, strict=True):
        end = begin + length
        words = [strings[value] if value else "" for value in columns["ORTH"][begin:end]]
        text, ranges = _text(words, spaces[begin:end])
        iob = columns.get("ENT_IOB", [0] * len(tokens))[begin:end]
        types = columns.get("ENT_TYPE", [0] * len(tokens))[begin:end]
        listed = list(_listed(packed, ranges, strings))
        spans = listed if listed else list(_entities(iob, types, ranges, strings))
        yield text, None if not listed and words and not any(iob) else spans
        begin = end


def _unpacked(data: bytes) -> Any:
    from srsly import msgpack

    # With a hook of its own it leaves out those for arrays, and does not look for them each time.
    return msgpack.unpackb(data, raw=False, use_list=True, object_pairs_hook=dict)


def _text(words: Sequence[str], spaces: Sequence[bool]) -> tuple[str, list[tuple[int, int]]]:
    parts: list[str] = []
    ranges: list[tuple[int, int]] = []
    position = 0
    for word, spaced in zip(words, spaces, strict=True):
        ranges.append((position, position + len(word)))
        parts += [word, " "] if spaced else [word]
        position += len(word) + bool(spaced)
    return "".join(parts), ranges


def _entities(
    iob: Sequence[int],
    types: Sequence[int],
    ranges: Sequence[tuple[int, int]],
    strings: Any,
) -> Iterator[Span]:
    """ENT_IOB is 0 missing, 1 inside, 2 outside, 3 begins."""
    first: int | None = None
    for i, code in enumerate([*iob, 2]):
        if first is not None and (code != 1 or types[i] != types[first]):
            yield Span(ranges[first][0], ranges[i - 1][1], strings[types[first]])
            first = None
        if i < len(iob) and (code == 3 or (code == 1 and first is None)) and types[i]:
            first = i


def _listed(packed: bytes, ranges: Sequence[tuple[int, int]], strings: Any) -> Iterator[Span]:
    """The spans of the group `GROUP`, with their scores where SaM has written them."""
    if not packed:
        return
    outer = _unpacked(packed)
    named = outer.items() if isinstance(outer, dict) else ((group, None) for group in outer)
    for inner, keys in named:
        group = _unpacked(inner)
        if GROUP not in (keys if keys is not None else [group["name"]]):
            continue
        rows = group["spans"]
        scores = dict(group["attrs"]).get("scores") or []
        for i, row in enumerate(rows):
            _, _, label, start, end, _, _ = SPAN.unpack(row)
            if not 0 <= start < end <= len(ranges):
                raise ValueError("a span outside its document")
            score = scores[i] if len(scores) == len(rows) else None
            yield Span(ranges[start][0], ranges[end - 1][1], strings[label], score)


FORMAT = register(
    Format(
        key="spacy",
        extensions=(".spacy",),
        parse=_parse,
        sniff=lambda text: False,
        binary=True,
    )
)
