"""Texts in and out: files or pasted text to sentences with offsets, predictions to JSON Lines.

Offsets count Unicode code points of the decoded document; all ranges are half-open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experts.entity_types import EntityType, check_types, parse_types
from experts.errors import SamError
from experts.files import read_whole
from experts.formats import (
    FORMATS,
    Options,
    Parsed,
    ReadFile,
    Record,
    decode,
    read_file,
    read_files,
    refuse_unsupported,
)
from experts.formats.base import MAX_LINE
from experts.formats.table import columns_of
from experts.sentences import split_sentences
from experts.spans import Example, Span

__all__ = [
    "Corpus",
    "Document",
    "EntityType",
    "FileReport",
    "Sentence",
    "check_labelled",
    "check_types",
    "duplicate_key",
    "list_columns",
    "parse_types",
    "read_bytes",
    "read_corpus",
    "read_examples",
    "read_records",
    "read_text",
    "read_units",
    "split_sentences",
    "write_predictions",
]

MAX_BYTES = 200_000_000
WHOLE_RECORD = 300
"""A record (line of a jsonl, row of a table) up to this many characters is one sentence."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text as it was read: a whole txt file, one record of a jsonl, table or CoNLL file, a page
    of a PDF or a section of a Word document.

    Attributes:
        name: the file's name.
        encoding: as Python names it; None for pasted text and for what is no text file.
        format: "txt", "csv", "jsonl", "conll", "pdf", "docx" or "pasted".
        record: line, row or page of the file where the text begins, from 1.
        part: where in the file it stands, in words: "page 4"; "" where the file has no parts.
    """

    name: str
    text: str
    encoding: str | None
    format: str
    record: int = 1
    part: str = ""

    @property
    def label(self) -> str:
        """Where the text is from: "report.pdf, page 4"."""
        return f"{self.name}, {self.part}" if self.part else self.name


@dataclass(frozen=True, slots=True)
class Sentence:
    """``documents[document].text[start:end] == text``, always.

    Without outer whitespace, unless a gold span begins or ends with it.
    """

    text: str
    document: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file: `duplicates` counts the sentences left out as repeated."""

    name: str
    format: str
    encoding: str | None
    documents: int
    sentences: int
    duplicates: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Corpus:
    """Documents, their sentences without repetitions, and a report for each file.

    ``gold[i]`` holds the spans of ``sentences[i]``, offsets relative to the sentence; None where
    the file says nothing about entities.
    """

    documents: list[Document] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)
    gold: list[tuple[Span, ...] | None] = field(default_factory=list)
    reports: list[FileReport] = field(default_factory=list)


# --- reading -----------------------------------------------------------------------------------


def read_corpus(
    paths: Sequence[Path | str],
    *,
    column: str | None = None,
    gold: bool = True,
    max_bytes: int = MAX_BYTES,
) -> Corpus:
    """Read files of any supported format into one corpus.

    Args:
        paths: files; the format follows from ending and content.
        column: column of a csv/tsv that holds the texts, by name or by number from 1. Default: one
            named text, sentence, content or body, else the one with the longest texts.
        gold: read the entities of labelled files. False ignores them, right or wrong.
        max_bytes: largest file that is read.

    Raises:
        SamError: no files; a file that is missing, a folder, empty, too big, not text, of an
            unsupported format or broken; an unknown column; no sentences at all.
    """
    if not paths:
        raise SamError("No files are given.", "Choose at least one file with texts.")
    files = [(Path(path).name, read_whole(Path(path), max_bytes)) for path in paths]
    return _corpus(files, Options(column, gold))


def read_bytes(name: str, data: bytes, *, column: str | None = None, gold: bool = True) -> Corpus:
    """Like :func:`read_corpus`, for one uploaded file."""
    return _corpus([(name, data)], Options(column, gold))


def read_text(text: str, *, name: str = "pasted text") -> Corpus:
    """Like :func:`read_corpus`, for text that a person pasted."""
    if not text.strip():
        raise SamError("No text is given.", "Paste some text or choose a file.")
    longest = max(len(line) for line in text.split("\n"))
    if longest > MAX_LINE:
        raise SamError(
            f"The {name} has a line of {longest:,} characters; the longest is {MAX_LINE:,}.",
            "Break the text into lines or paragraphs and try again.",
        )
    corpus = Corpus()
    parsed = Parsed([Record("".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text))])
    _add(corpus, set(), name, ReadFile("pasted", None, parsed))
    return _not_empty(corpus, name)


def list_columns(name: str, data: bytes) -> list[str]:
    """Columns of a csv or tsv file, for the person to choose from; empty for other formats."""
    if Path(name).suffix.lower() not in FORMATS["csv"].extensions:
        return []
    refuse_unsupported(name, data)
    return columns_of(name, decode(name, data).text)


def read_units(
    path: Path | str, *, column: str | None = None, gold: bool = True
) -> list[tuple[str, tuple[Span, ...] | None]]:
    """The texts to predict for, with their true spans (None where the file says nothing of them).

    A jsonl file, whatever its ending, gives one text for each line that is not blank, in order and
    unchanged, so that input and output go together line by line; other files give their sentences.

    Raises:
        SamError: as :func:`read_corpus`; an empty ``text`` in a jsonl is allowed.
    """
    name = Path(path).name
    read = read_file(name, read_whole(Path(path), MAX_BYTES), Options(column, gold))
    if read.key == "jsonl":
        return [(record.text, record.spans) for record in read.parsed.records]
    corpus = Corpus()
    _add(corpus, set(), name, read)
    texts = (sentence.text for sentence in _not_empty(corpus, name).sentences)
    return list(zip(texts, corpus.gold, strict=True))


def read_records(path: Path | str, *, max_bytes: int = MAX_BYTES) -> ReadFile:
    """The records of a labelled file as they stand there, or of a folder of brat or of a dataset.

    Raises:
        SamError: as :func:`read_corpus`, and for a folder with files of several kinds.
    """
    if Path(path).is_dir():
        return read_files(Path(path), Options())
    return read_file(Path(path).name, read_whole(Path(path), max_bytes), Options())


def check_labelled(path: Path | str, gold: Iterable[tuple[Span, ...] | None]) -> None:
    """Refuse a file that says nothing about entities where they are to be used.

    Raises:
        SamError: naming the file, if every entry is None.
    """
    if all(spans is None for spans in gold):
        raise SamError(
            f"{Path(path).name} says nothing about its entities.",
            "Leave out --gold, or give a labelled file (jsonl with “entities”, or CoNLL).",
        )


def read_examples(path: Path | str, *, max_bytes: int = MAX_BYTES) -> list[Example]:
    """The records of a labelled file, for training and evaluation.

    Raises:
        SamError: as :func:`read_units`, and for a record that says nothing about its entities
            (an empty list says that there are none).
    """
    name = Path(path).name
    parsed = _parse(Path(path), Options(), max_bytes)
    for record in parsed.records:
        if record.spans is None and record.predicted is not None:
            raise SamError(
                f"Line {record.number} of {name} holds only predictions that nobody has reviewed.",
                "Leave such lines out, or review them first.",
            )
        if record.spans is None:
            raise SamError(
                f"Line {record.number} of {name} has no “entities”.",
                'Label it, or write "entities": [] if there are none in it.',
            )
    return [Example(record.text, record.spans or ()) for record in parsed.records]


def _parse(path: Path, options: Options, max_bytes: int) -> Parsed:
    return read_file(path.name, read_whole(path, max_bytes), options).parsed


def _corpus(files: Iterable[tuple[str, bytes]], options: Options) -> Corpus:
    corpus, seen = Corpus(), set[str]()
    names = []
    for name, data in files:
        _add(corpus, seen, name, read_file(name, data, options))
        names.append(name)
    return _not_empty(corpus, ", ".join(names))


def _not_empty(corpus: Corpus, name: str) -> Corpus:
    if not corpus.sentences:
        raise SamError(f"{name} has no text in it.", "Choose a file with some sentences in it.")
    return corpus


# --- sentences ---------------------------------------------------------------------------------


def duplicate_key(text: str) -> str:
    """Texts with the same key are duplicates: they differ in whitespace at most."""
    return " ".join(text.split())


def _add(corpus: Corpus, seen: set[str], name: str, read: ReadFile) -> None:
    """Append one file's documents and sentences; `seen` holds the keys of earlier sentences."""
    before = len(corpus.sentences), len(corpus.documents)
    duplicates = 0
    key, encoding = read.key, read.encoding
    split = key not in FORMATS or FORMATS[key].split
    for record in read.parsed.records:
        if not record.text.strip():
            continue
        document = len(corpus.documents)
        corpus.documents.append(
            Document(name, record.text, encoding, key, record.number, record.part)
        )
        for start, end in _ranges(record, split):
            text = record.text[start:end]
            normal = duplicate_key(text)
            if normal in seen:
                duplicates += 1
                continue
            seen.add(normal)
            corpus.sentences.append(Sentence(text, document, start, end))
            corpus.gold.append(_inside(record.spans, start, end))
    corpus.reports.append(
        FileReport(
            name=name,
            format=key,
            encoding=encoding,
            documents=len(corpus.documents) - before[1],
            sentences=len(corpus.sentences) - before[0],
            duplicates=duplicates,
            notes=tuple(read.parsed.notes),
        )
    )


def _ranges(record: Record, split: bool) -> list[tuple[int, int]]:
    text = record.text
    if split or len(text) > WHOLE_RECORD:
        ranges = split_sentences(text)
    else:
        start = len(text) - len(text.lstrip())
        ranges = [(start, len(text.rstrip()))]
    return _keep_whole(ranges, record.spans or ())


def _keep_whole(ranges: list[tuple[int, int]], spans: Iterable[Span]) -> list[tuple[int, int]]:
    """Join sentences that a span runs across, so that no span is cut."""
    edges = sorted([*ranges, *((s.start, s.end) for s in spans)])
    joined: list[tuple[int, int]] = []
    for start, end in edges:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _inside(spans: tuple[Span, ...] | None, start: int, end: int) -> tuple[Span, ...] | None:
    if spans is None:
        return None
    return tuple(
        Span(s.start - start, s.end - start, s.label, s.score)
        for s in spans
        if start <= s.start and s.end <= end
    )


# --- writing -----------------------------------------------------------------------------------


def write_predictions(
    path: Path | str, texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> None:
    """Write one JSON object a line: ``text``, ``entities`` (start, end, label, score if known).

    The file appears complete or not at all: it is written beside its place and then moved there.

    Raises:
        SamError: the place cannot be written to.
        ValueError: `texts` and `spans` differ in length.
    """
    target = Path(path)
    if target.is_dir():
        raise SamError(f"{target} is a folder.", "Name a file in it, such as predictions.jsonl.")
    lines = (_line(text, found) for text, found in zip(texts, spans, strict=True))
    body = "".join(lines).encode()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(body)  # a pipe or terminal such as /dev/stdout: nothing to replace
            return
        target = target.resolve()
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(body)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SamError(
            f"{path} cannot be written: {reason}.", "Choose a folder that exists and is yours."
        ) from error


def _line(text: str, spans: Iterable[Span]) -> str:
    entities: list[dict[str, int | str | float]] = []
    for span in sorted(spans, key=lambda s: s.key):
        entity: dict[str, int | str | float] = {
            "start": span.start,
            "end": span.end,
            "label": span.label,
        }
        if span.score is not None:
            entity["score"] = float(f"{span.score:.6g}")  # never 0 for what is only unlikely
        entities.append(entity)
    return json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n"
