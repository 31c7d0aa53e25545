"""Annotations from other tools: what is read, and what is said about what cannot be."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from experts.corpus import read_bytes, read_examples, read_records
from experts.errors import SamError
from experts.formats import Options, ReadFile, read_file
from experts.formats import bundle as bundles
from experts.spans import Span


def zipped(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(name: str, data: bytes | str, **options: Any) -> ReadFile:
    raw = data.encode() if isinstance(data, str) else data
    return read_file(name, raw, Options(**options))


def refusal(name: str, data: bytes | str) -> SamError:
    with pytest.raises(SamError) as caught:
        read(name, data)
    assert caught.value.hint.rstrip("]").endswith((".", "?"))
    return caught.value


# --- offsets of doccano ------------------------------------------------------------------------


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TEXT = "😀😀 Ada met Bo"


@pytest.mark.parametrize(
    ("label", "spans", "units"),
    [
        ([[5, 8, "p"], [13, 15, "p"]], [(3, 6), (11, 13)], True),  # as doccano's page counts
        ([[3, 6, "p"], [11, 13, "p"]], [(3, 6), (11, 13)], False),  # as Python does
        ([{"start_offset": 13, "end_offset": 15, "label": "p"}], [(11, 13)], True),
        ([{"start_offset": 11, "end_offset": 13, "label": "p"}], [(11, 13)], False),
    ],
)
def test_the_way_of_counting_is_told_by_the_words(
    label: list[Any], spans: list[tuple[int, int]], units: bool
) -> None:
    parsed = read("a.jsonl", lines({"text": "Bo."}, {"text": TEXT, "label": label})).parsed
    assert [(s.start, s.end) for s in parsed.records[1].spans or ()] == spans
    assert [note.startswith("positions in 1 of the texts") for note in parsed.notes] == [
        True
    ] * units


def test_sams_own_offsets_are_code_points_even_inside_words() -> None:
    row = {"text": "😀 unhappy", "entities": [{"start": 4, "end": 9, "label": "p"}]}
    (record,) = read("a.jsonl", lines(row)).parsed.records
    assert record.spans == (Span(4, 9, "p"),)


def test_a_line_may_say_how_it_counts_and_is_held_to_it() -> None:
    row = {"text": "😀 Ada", "label": [[3, 6, "p"]], "offsets": "utf-16"}
    assert read("a.jsonl", lines(row)).parsed.records[0].spans == (Span(2, 5, "p"),)
    for label in ([1, 6, "p"], [3, 7, "p"]):
        error = refusal("a.jsonl", lines({"text": "Bo"}, {**row, "label": [label]}))
        assert "line 2 of a.jsonl" in error.what
        assert "an emoji is two" in error.hint


def test_predictions_that_nobody_reviewed_are_no_gold(tmp_path: Path) -> None:
    found = {"start": 0, "end": 3, "label": "p", "score": 0.5}
    text = lines(
        {"text": "Ada", "entities": [found], "reviewed": False},
        {"text": "Bob", "entities": [], "reviewed": True, "predicted": [found]},
    )
    first, second = read("a.jsonl", text).parsed.records
    assert (first.spans, first.predicted) == (None, (Span(0, 3, "p", 0.5),))
    assert (second.spans, second.predicted) == ((), (Span(0, 3, "p", 0.5),))
    assert read_bytes("a.jsonl", text.encode()).gold == [None, ()]
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(SamError, match=r"Line 1 of a\.jsonl holds only predictions"):
        read_examples(tmp_path / "a.jsonl")


# --- Label Studio ------------------------------------------------------------------------------


def task(text: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": list(results)}], **more}


def region(start: object, end: object, label: str = "p", **value: Any) -> dict[str, Any]:
    return {
        "id": "x", "from_name": "label", "to_name": "text", "type": "labels",
        "value": {"start": start, "end": end, "labels": [label], **value},
    }  # fmt: skip


def test_label_studio_export() -> None:
    choice = {"from_name": "c", "to_name": "text", "type": "choices", "value": {"choices": ["x"]}}
    prediction = {"result": [region(0, 2) | {"score": 0.5}], "model_version": "m"}
    tasks = [
        task("😀 Ada", region(2, 5, text="Ada"), choice),
        task("Nothing."),
        {"data": {"text": "Bo left"}, "annotations": [], "predictions": [prediction]},
        task("Skipped") | {"annotations": [{"was_cancelled": True, "result": []}]},
        task("Ada") | {"annotations": [
            {"updated_at": "2026-02-01", "result": [region(0, 3, "new")]},
            {"updated_at": "2026-01-01", "result": [region(0, 3, "old")]},
        ]},
    ]  # fmt: skip
    for indent in (None, 1):
        parsed = read("project.json", json.dumps(tasks, indent=indent)).parsed
        assert [r.spans for r in parsed.records] == [
            (Span(2, 5, "p"),), (), None, None, (Span(0, 3, "new"),),
        ]  # fmt: skip
        assert parsed.records[2].predicted == (Span(0, 2, "p", 0.5),)
        assert parsed.notes == [
            "1 task has several annotations: the last one was taken",
            "1 other result left out",
        ]
    assert read("x.json", json.dumps(tasks), gold=False).parsed.records[0].spans is None


def test_label_studio_json_min() -> None:
    rows = [
        {"text": "Ada", "id": 1, "annotation_id": 1,
         "label": [{"start": 0, "end": 3, "text": "Ada", "labels": ["p", "q"]}]},
        {"text": "Nothing.", "id": 2, "annotation_id": 2},
    ]  # fmt: skip
    found = read("x.json", json.dumps(rows)).parsed.records
    assert [r.spans for r in found] == [(Span(0, 3, "p"), Span(0, 3, "q")), ()]


def test_label_studio_before_2021_counted_units() -> None:
    found = read("x.json", json.dumps([task("😀 Ada", region(3, 6, text="Ada"))])).parsed.records
    assert found[0].spans == (Span(2, 5, "p"),)


def test_a_long_export_on_one_line_is_read() -> None:
    tasks = [task("word " * 20_000 + "Ada", region(100_000, 100_003, text="Ada"))] * 20
    records = read("x.json", json.dumps(tasks)).parsed.records
    assert len(records) == 20
    assert records[19].spans == (Span(100_000, 100_003, "p"),)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (region(0, 9), "does not lie inside"),
        (region(3, 3), "does not lie inside"),
        (region(3, 4), "covers only spaces"),
        (region("0", 3), "not whole numbers"),
        (region(0, 3, text="Bob"), "an entity is “Bob”, but at 0–3 the text has “Ada”"),
        (region(0, 3, startOffset=0), "labelled as HTML"),
    ],
)
def test_broken_tasks_are_named(bad: dict[str, Any], message: str) -> None:
    error = refusal("x.json", json.dumps([task("fine"), task("Ada met", bad)]))
    assert message in error.what
    assert "ask 2 of x.json" in error.what


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"data": {"text": "x"}},\n{"data"', "Line 2 of x.json is not valid JSON"),
        ('[{"data": {"text": "x"}}, 7]', "is not a list of tasks"),
        ('[{"data": {"image": 5}, "annotations": []}]', "has no “text” in its data"),
        ('[{"data": {"text": "x"}, "annotations": [{"result": {"a": 1}}]}]', "is not a list"),
    ],
)
def test_broken_label_studio_files(text: str, message: str) -> None:
    assert message in refusal("x.json", text).what


# --- brat --------------------------------------------------------------------------------------

BRAT = {
    "d/one.txt": "Ada Lovelace met\nBo.",
    "d/one.ann": "T1\tPer 0 12\tAda Lovelace\nT2\tPer 13 16;17 19\tmet Bo\nR1\tx Arg1:T1 Arg2:T2\n",
    "d/two.txt": "pain in left arm and leg",
    "d/two.ann": "T1\tBody_part 8 12;21 24\tleft leg\r\n#1\tAnnotatorNotes T1\tsee\r\n",
    "d/three.txt": "unseen",
    "d/visual.conf": "[labels]\nBody_part | body part | BP\nPer | person\n[drawing]\nPer\tbgColor:red\n",
    "d/annotation.conf": "[entities]\nPer\n",
    "d/.stats_cache": b"\x00\x01",
}


def test_a_brat_folder_and_its_zip(tmp_path: Path) -> None:
    for name, data in BRAT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    for found in (read("x.zip", zipped(BRAT)), read_records(tmp_path)):
        assert found.key == "brat"
        spans = {record.part: record.spans for record in found.parsed.records}
        assert spans == {
            "d/one": (Span(0, 12, "person"), Span(13, 19, "person")),
            "d/three": None,
            "d/two": (Span(8, 12, "body part | BP"), Span(21, 24, "body part | BP")),
        }
        assert found.parsed.notes == [
            "1 entity in several pieces was split into 2",
            "2 lines with relations, events, attributes or notes left out",
        ]


def test_brat_sentences_belong_to_their_document() -> None:
    corpus = read_bytes("x.zip", zipped(BRAT))
    assert {document.label for document in corpus.documents} == {
        "x.zip, d/one", "x.zip, d/two", "x.zip, d/three",
    }  # fmt: skip
    for sentence, gold in zip(corpus.sentences, corpus.gold, strict=True):
        whole = corpus.documents[sentence.document].text
        assert whole[sentence.start : sentence.end] == sentence.text
        assert all(0 <= s.start < s.end <= len(sentence.text) for s in gold or ())


def test_brat_offsets_of_other_programs() -> None:
    for at in ("2 5", "3 6"):  # code points, UTF-16
        files = {"a.txt": "😀 Ada", "a.ann": f"T1\tP {at}\tAda\n"}
        assert read("x.zip", zipped(files)).parsed.records[0].spans == (Span(2, 5, "P"),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T2\tP 0 4\tAda", "Line 2 of a.ann says “Ada” at 0–4, but the text has “Ada ” there"),
        ("T2\tP 4 99\tmet", "Line 2 of a.ann says “met” at 4–99"),
        ("T2\tP 5 4\tx", "Line 2 of a.ann says"),
        ("T2 P 0 3 Ada", "Line 2 of a.ann is no annotation"),
        ("T2\tP x 3\tAda", "Line 2 of a.ann is no annotation"),
        ("Ada", "Line 2 of a.ann is no annotation"),
    ],
)
def test_broken_brat_names_file_and_line(line: str, message: str) -> None:
    files = {"a.txt": "Ada met Bo.", "a.ann": f"T1\tP 0 3\tAda\n{line}\n"}
    assert message in refusal("x.zip", zipped(files)).what


def test_annotations_without_their_text() -> None:
    assert (
        "a.ann has no text beside it" in refusal("x.zip", zipped({"a.ann": "", "b.txt": "B"})).what
    )
    assert "without their text" in refusal("a.ann", "T1\tP 0 3\tAda\n").what


# --- zips --------------------------------------------------------------------------------------


def test_a_zip_of_texts_or_of_one_annotated_file() -> None:
    found = read("x.zip", zipped({"b.txt": "Two.", "a.txt": "One.", "README.md": "# x"}))
    assert [(r.text, r.part) for r in found.parsed.records] == [
        ("One.", "a.txt"),
        ("Two.", "b.txt"),
    ]
    corpus = read_bytes(
        "x.zip", zipped({"data/train.jsonl": '{"text": "Ada", "label": [[0,3,"p"]]}'})
    )
    assert corpus.gold == [(Span(0, 3, "p"),)]
    assert corpus.documents[0].label == "x.zip"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no texts in it"),
        ({"README.md": "x", "__MACOSX/a.txt": "x"}, "has no texts in it"),
        ({"a.txt": "x", "b.jsonl": '{"text": "y"}'}, "several kinds (jsonl, txt)"),
        ({"a.txt": "x", "b.zip": "y"}, "b.zip in x.zip is an archive"),
        ({"a.txt": b"\x00\x01"}, "a.txt is not a text file"),
    ],
)
def test_zips_that_are_refused(files: dict[str, str | bytes], message: str) -> None:
    assert message in refusal("x.zip", zipped(files)).what


def test_damaged_locked_and_bursting_zips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zipped({"a.txt": "words " * 5000})
    locked = bytearray(whole)
    locked[6] |= 1
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    for data in (b"PK\x03\x04....", whole[:-40], bytes(locked), b"whatever"):
        assert "damaged or locked" in refusal("x.zip", data).what
    monkeypatch.setattr(bundles, "MAX_BUNDLE", 20_000)
    assert "holds more than" in refusal("x.zip", whole).what
    monkeypatch.setattr(bundles, "MAX_BUNDLE", 200_000)
    monkeypatch.setattr(bundles, "MAX_FILES", 2)
    assert "holds more than" in refusal("x.zip", zipped({f"{i}.txt": "x" for i in range(3)})).what


# --- spaCy -------------------------------------------------------------------------------------


def test_docbins_that_are_none() -> None:
    import srsly

    for data in (
        b"text",
        zlib.compress(b"text"),
        zlib.compress(srsly.msgpack_dumps({"attrs": []})),
    ):
        assert "x.spacy is damaged" in refusal("x.spacy", data).what


def test_spans_outside_a_document_are_never_followed() -> None:
    import spacy
    import srsly
    from spacy.tokens import DocBin

    from experts.formats.docbin import SPAN

    nlp = spacy.blank("en")
    message = srsly.msgpack_loads(zlib.decompress(DocBin(docs=[nlp("Ada")]).to_bytes()))
    row = SPAN.pack(0, 0, nlp.vocab.strings.add("p"), 0, 2_000_000, 0, 3)
    group = srsly.msgpack_dumps({"name": "sc", "attrs": {}, "spans": [row]})
    message["span_groups"] = [srsly.msgpack_dumps({group: ["sc"]})]
    assert "is damaged" in refusal("x.spacy", zlib.compress(srsly.msgpack_dumps(message))).what


# --- CoNLL and tables --------------------------------------------------------------------------


def test_conll_of_label_studio_has_types_of_several_words() -> None:
    text = "-DOCSTART- -X- O\nAda -X- _ B-a person\nL. -X- _ I-a person\nleft -X- _ O\n\n"
    (record,) = read("x.conll", text).parsed.records
    assert (record.text, record.spans) == ("Ada L. left", (Span(0, 6, "a person"),))


def test_conll_of_udpipe_keeps_its_spaces() -> None:
    text = (
        "a _ SpaceAfter=No O\n( _ _ O\nb _ SpacesAfter=\\s\\t\\u00a0 B-P\nc _ SpacesAfter=\\n O\n"
    )
    (record,) = read("x.conll", text).parsed.records
    assert record.text == "a( b \t\u00a0c\n"
    assert record.spans == (Span(3, 4, "P"),)


HEADER = "document,sentence,start,end,type,mention,score\n"


def test_a_table_of_entities() -> None:
    parsed = read(
        "x.csv", f"\ufeff{HEADER}d,Ada met Bo,8,10,p,Bo,0.5\nd,Ada met Bo,0,3,p,Ada,\n"
    ).parsed
    (record,) = parsed.records
    assert record.spans == (Span(0, 3, "p"), Span(8, 10, "p", 0.5))
    assert (record.part, record.number) == ("d", 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("d,Ada,0,3,p", "cells are missing"),
        ("d,Ada,0,x,p,Ada,", "is not a number: “0”, “x”, “”"),
        ("d,Ada,0,3,p,Ada,sure", "is not a number"),
        ("d,Ada,0,4,p,Ada,", "does not lie inside"),
        ("d,Ada,0,2,p,Ada,", "the mention is “Ada”, but at 0–2 the sentence has “Ad”"),
        ("d,Ada,0,3, ,Ada,", "has no type"),
    ],
)
def test_broken_tables_of_entities_name_the_line(row: str, message: str) -> None:
    error = refusal("x.csv", f"{HEADER}d,Bo,0,2,p,Bo,\n{row}\n")
    assert message in error.what
    assert "line 3 of x.csv" in error.what
