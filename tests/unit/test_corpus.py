"""Corpora: sentences, offsets, duplicates, entity types, predictions in and out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.corpus import (
    Corpus,
    list_columns,
    read_bytes,
    read_corpus,
    read_examples,
    read_text,
    read_units,
    split_sentences,
    write_predictions,
)
from experts.errors import SamError
from experts.spans import Span


def pieces(text: str) -> list[str]:
    return [text[a:b] for a, b in split_sentences(text)]


def check_offsets(corpus: Corpus) -> None:
    assert len(corpus.sentences) == len(corpus.gold)
    for sentence, gold in zip(corpus.sentences, corpus.gold, strict=True):
        document = corpus.documents[sentence.document]
        assert document.text[sentence.start : sentence.end] == sentence.text
        assert sentence.text.strip()
        for span in gold or ():
            assert 0 <= span.start < span.end <= len(sentence.text)


# --- splitting ---------------------------------------------------------------------------------

SCRIPTS = st.sampled_from(
    [
        *("Dr. Wu left. ", "Who knew? ", "e.g. this", "No. 5 is U.S. ", "“Stop!” ", "(See 3.) "),
        *(
            "我去了北京。",
            "他没有来！",
            "はい。",
            "यह है। ",
            "مرحبا؟ ",
            "שלום. ",
            "Привет! ",
            "สวัสดี ",
        ),
        *("😀", "👩‍👩‍👧", "e\u0301", "🇳🇴", "\u200b", "\ufeff", "\ud83d", "İ", "ﬁ", "\0"),
        *("\n", "\n\n", "\r\n", "\r", "\t", "\u2028", "\u2029", "\x0c", "\x85", " ", "\u3000"),
        *("- item", "1. ", "word ", ",", ";", ".", "…", "x" * 30),
    ]
)
TEXTS = st.lists(st.one_of(SCRIPTS, st.text(max_size=8)), max_size=40).map("".join)


@given(TEXTS, st.sampled_from([7, 40, 1000]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_sentences_tile_any_text(text: str, limit: int) -> None:
    position = 0
    for start, end in split_sentences(text, max_chars=limit):
        assert position <= start < end <= len(text)
        assert end - start <= limit
        assert text[position:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        position = end
    assert text[position:].strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Wu left. Who knew?", ["Dr. Wu left.", "Who knew?"]),
        (
            "Ms. Wu saw Figs. 3 and 4. It is ca. 4 m.",
            ["Ms. Wu saw Figs. 3 and 4.", "It is ca. 4 m."],
        ),
        ("The U.S. Army left. 😀 J. R. Smith too.", ["The U.S. Army left.", "😀 J. R. Smith too."]),
        ("1. First item. 2. Second item.", ["1. First item.", "2. Second item."]),
        ("我去了北京。他没有来！中文", ["我去了北京。", "他没有来！", "中文"]),
        ("यह है। वह गया।", ["यह है।", "वह गया।"]),
        ("a\r\n\r\nb\x0cc\u2029d", ["a", "b", "c", "d"]),
        ("gold\nsilver\nlead ore", ["gold", "silver", "lead ore"]),
        ("A title\nThe text begins. It goes on", ["A title", "The text begins.", "It goes on"]),
        ("One is here.\nand two is.\nthree", ["One is here.", "and two is.", "three"]),
        ("- gold, \n- silver and\n- lead", ["- gold,", "- silver and", "- lead"]),
        ("", []),
        (" \n\t\u3000", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_wrapped_lines_are_one_text() -> None:
    text = (
        "INTRODUCTION\n\nThe lake lies in a valley that was carved by the last glacier, and its\n"
        "sediments hold a record of nine thousand years. We took a core with\n"
        "George Smith in 1998.\nNext we dated it.\n"
    )
    assert pieces(text) == [
        "INTRODUCTION",
        "The lake lies in a valley that was carved by the last glacier, and its\n"
        "sediments hold a record of nine thousand years.",
        "We took a core with\nGeorge Smith in 1998.",
        "Next we dated it.",
    ]


def test_wrapped_lines_without_capitals_are_one_text() -> None:
    line = "昨天我们去了北京的故宫博物院参观那里的展览非常精彩而且人很"
    assert pieces(f"{line}\n{line}\n多。再见。") == [f"{line}\n{line}\n多。", "再见。"]


def test_overlong_sentences_are_cut_at_spaces_and_never_inside_a_character() -> None:
    words = "word, and more " * 200
    assert max(len(p) for p in pieces(words)) <= 1000
    assert " ".join(pieces(words)).split() == words.split()
    accents = "e\u0301" * 1501
    assert all(not p.startswith("\u0301") for p in pieces(accents))
    numbers = split_sentences("1,000" * 10, max_chars=9)
    assert numbers[0] == (0, 9)
    with pytest.raises(ValueError, match="at least 1"):
        split_sentences("x", max_chars=0)


def test_splitting_a_long_text_takes_windows_without_changing_the_sentences() -> None:
    sentence = "The core was 3.5 m long, as Dr. Farrow said. "
    assert pieces(sentence * 1000) == [sentence.strip()] * 1000


# --- corpora -----------------------------------------------------------------------------------


def test_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "Notes.TXT"
    path.write_bytes("\ufeffFirst sentence. Second one.\r\n\r\nFirst  sentence.\r\n".encode())
    corpus = read_corpus([path])
    assert [s.text for s in corpus.sentences] == ["First sentence.", "Second one."]
    assert corpus.documents[0].text.endswith("First  sentence.\r\n")
    report = corpus.reports[0]
    assert (report.name, report.format, report.encoding) == ("Notes.TXT", "txt", "utf-8-sig")
    assert (report.documents, report.sentences, report.duplicates) == (1, 2, 1)
    assert corpus.gold == [None, None]
    check_offsets(corpus)


def test_duplicates_are_counted_where_they_are_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One. Two.")
    (tmp_path / "b.csv").write_text("id,text\n1,Two.\n2,Three.\n3,Three.\n")
    corpus = read_corpus([tmp_path / "a.txt", str(tmp_path / "b.csv")])
    assert [s.text for s in corpus.sentences] == ["One.", "Two.", "Three."]
    assert [(r.documents, r.sentences, r.duplicates) for r in corpus.reports] == [
        (1, 2, 0),
        (3, 1, 2),
    ]
    assert [d.record for d in corpus.documents] == [1, 2, 3, 4]
    check_offsets(corpus)


def test_pasted_text() -> None:
    corpus = read_text("Hello there. \ud83d Bye.")
    assert [s.text for s in corpus.sentences] == ["Hello there.", "\ufffd Bye."]
    assert corpus.reports[0].name == "pasted text"
    assert (corpus.documents[0].format, corpus.documents[0].encoding) == ("pasted", None)
    check_offsets(corpus)


def test_short_records_stay_whole_and_long_ones_are_split() -> None:
    short, long = " Stop. Look at Ms. Wu. ", "This is a sentence of some length. " * 20
    rows = [{"text": short, "entities": [[15, 21, "p"]]}, {"text": long + "End."}]
    corpus = read_bytes("a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert [s.text for s in corpus.sentences] == [
        "Stop. Look at Ms. Wu.",
        "This is a sentence of some length.",
        "End.",
    ]
    assert corpus.gold == [(Span(14, 20, "p"),), None, None]
    assert corpus.reports[0].duplicates == 19
    check_offsets(corpus)


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_gold_span_is_ever_cut_or_lost(data: st.DataObject) -> None:
    words = ["Ada.", "北京。", "met", "😀", "Bo!", "\n\n", "e\u0301", "(x)", "Then", "यह।"]
    text = " ".join(data.draw(st.lists(st.sampled_from(words), min_size=100, max_size=160)))
    spans = []
    for _ in range(data.draw(st.integers(0, 6))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(start + 1, min(len(text), start + 40)))
        if text[start:end].strip():
            spans.append(Span(start, end, "t"))
    rows = [{"start": s.start, "end": s.end, "label": s.label} for s in spans]
    line = json.dumps({"text": text, "entities": rows})
    corpus = read_bytes("a.jsonl", line.encode())
    check_offsets(corpus)
    found = {
        (g.start + s.start, g.end + s.start)
        for s, gold in zip(corpus.sentences, corpus.gold, strict=True)
        for g in gold or ()
    }
    repeated = corpus.reports[0].duplicates
    assert found <= {(s.start, s.end) for s in spans}
    assert repeated or found == {(s.start, s.end) for s in spans}


def test_gold_can_be_ignored() -> None:
    line = b'{"text": "Ada met Bo.", "entities": [[0, 99, "p"]]}'
    assert read_bytes("a.jsonl", line, gold=False).gold == [None]
    with pytest.raises(SamError, match="does not lie inside"):
        read_bytes("a.jsonl", line)


def test_columns_are_listed_for_tables_only() -> None:
    assert list_columns("a.csv", b"title,text\nx,y\n") == ["title", "text"]
    assert list_columns("a.txt", b"title,text\nx,y\n") == []
    assert [
        s.text for s in read_bytes("a.csv", b"title,text\nx,y\n", column="title").sentences
    ] == ["x"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("gone.txt", None, "There is no file"),
        ("empty.txt", b"", "empty.txt is empty"),
        ("blank.jsonl", b'{"text": " "}\n{"text": ""}\n', "blank.jsonl has no text in it"),
        ("image.txt", b"\x89PNG\0\0", "image.txt is not a text file"),
        ("long.txt", b"x" * 1_000_001, "Line 1 of long.txt is 1,000,001 characters"),
        ("paper.pdf", b"%PDF-1.4", "paper.pdf is damaged"),
        ("head.csv", b"id,text\n", "head.csv has no text in it"),
    ],
)
def test_unreadable_files_are_refused(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SamError, match=message) as caught:
        read_corpus([tmp_path / name])
    assert caught.value.hint


def test_more_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SamError, match="No files"):
        read_corpus([])
    with pytest.raises(SamError, match="is a folder"):
        read_corpus([tmp_path])
    (tmp_path / "a.txt").write_text("Some text.")
    with pytest.raises(SamError, match="the largest file"):
        read_corpus([tmp_path / "a.txt"], max_bytes=5)
    with pytest.raises(SamError, match="There is no file"):
        read_corpus([tmp_path / "a.txt", tmp_path / "b.txt"])
    with pytest.raises(SamError, match="cannot be read"):
        read_corpus(["bad\0name.txt"])
    with pytest.raises(SamError, match="No text"):
        read_text(" \n ")
    with pytest.raises(SamError, match="has a line of"):
        read_text("x" * 1_000_001)

    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(SamError, match="cannot be read: Permission denied"):
        read_corpus([tmp_path / "a.txt"])


# --- records and predictions -------------------------------------------------------------------


def test_records_are_the_lines_as_they_stand(tmp_path: Path) -> None:
    texts = ["Same.", "Same.", "", " outer space ", "Two. Sentences.\nHere \u2028."]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    assert read_units(path) == [(t, None) for t in texts]
    with pytest.raises(SamError, match=r"Line 1 of a.jsonl has no “entities”"):
        read_examples(path)


def test_predictions_are_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "pred.jsonl"
    texts = ["Ada 😀 met Bø.\n", "", "Same"]
    spans = [[Span(10, 12, "person", 0.25), Span(0, 3, "person", 1.0)], [], [Span(0, 4, "x")]]
    path.write_text("old")
    write_predictions(path, texts, spans)
    assert [e.text for e in read_examples(path)] == texts
    assert [list(e.spans) for e in read_examples(path)] == [sorted(s) for s in spans]
    first = json.loads(path.read_text(encoding="utf-8").split("\n")[0])
    assert first["entities"][0] == {"start": 0, "end": 3, "label": "person", "score": 1.0}
    assert os.listdir(tmp_path) == ["pred.jsonl"]


def test_predictions_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SamError, match="is a folder"):
        write_predictions(tmp_path, [], [])
    with pytest.raises(SamError, match="cannot be written"):
        write_predictions(tmp_path / "no" / "pred.jsonl", [], [])
    with pytest.raises(ValueError, match="argument"):
        write_predictions(tmp_path / "pred.jsonl", ["a"], [])

    def fail(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "pred.jsonl"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SamError, match="No space left"):
        write_predictions(path, ["a"], [[]])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["pred.jsonl"]


def test_predictions_go_to_a_pipe_in_place(tmp_path: Path) -> None:
    write_predictions(os.devnull, ["a"], [[]])
    assert Path(os.devnull).is_char_device()
