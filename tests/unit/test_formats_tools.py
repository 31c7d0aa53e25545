"""What SaM writes, opened with the library of the tool that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from experts.export.formats import Row, check, get, write
from experts.formats import Options, read_file
from experts.spans import Span

TEXT = "😀 Ada L. met Bo  in 東京\nand e\u0301te\u0301."
ROWS = [
    Row(
        TEXT,
        (Span(2, 8, "a person"), Span(2, 5, "first name"), Span(13, 15, "a person")),
        (Span(2, 8, "a person", 0.9), Span(20, 22, "city", 0.6125)),
        "report.pdf, page 1",
        f"{TEXT}\n\nBo and Ada.\n",
    ),
    Row(
        "Bo and Ada.",
        None,
        (Span(0, 2, "a person", 0.25), Span(7, 10, "a person", 0.75)),
        "report.pdf, page 1",
        f"{TEXT}\n\nBo and Ada.\n",
        len(TEXT) + 2,
    ),
    Row("Nobody here.", (), None, "letter.txt", "Nobody here."),
]


# --- spaCy -------------------------------------------------------------------------------------


def test_spacy_opens_the_docbin(tmp_path: Path) -> None:
    import spacy
    from spacy.tokens import DocBin

    write("spacy", [*ROWS, Row("Unseen.", None, None)], tmp_path / "train.spacy")
    docs = list(DocBin().from_disk(tmp_path / "train.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == [row.text for row in ROWS] + ["Unseen."]
    assert [(e.text, e.label_) for e in docs[0].ents] == [
        ("Ada L.", "a person"),
        ("Bo", "a person"),
    ]
    group = docs[0].spans["sc"]
    assert {(s.start_char, s.end_char, s.label_) for s in group} == {
        s.key for s in ROWS[0].spans or ()
    }
    assert docs[1].spans["sc"].attrs["scores"] == [0.25, 0.75]
    assert [doc.has_annotation("ENT_IOB") for doc in docs] == [True, True, True, False]


def test_a_docbin_of_spacy_is_read(tmp_path: Path) -> None:
    import spacy
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ada Lovelace"}])  # type: ignore[attr-defined]
    docs = [nlp("Yesterday Ada Lovelace  didn't laugh 😀."), nlp("Nothing."), nlp.make_doc("New.")]
    data = DocBin(docs=docs, store_user_data=True).to_bytes()
    records = read_file("x.spacy", data, Options()).parsed.records
    assert [record.text for record in records] == [doc.text for doc in docs]
    assert [record.spans for record in records] == [(Span(10, 22, "PERSON"),), (), None]


# --- CoNLL -------------------------------------------------------------------------------------


def test_spacy_and_seqeval_read_the_columns(tmp_path: Path) -> None:
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import IOB2, Entities
    from spacy.training.converters import conll_ner_to_docs

    assert check("conll", ROWS).lines == ("1 entity overlaps a likelier one and is left out",)
    write("conll", ROWS, tmp_path / "x.conll")
    written = (tmp_path / "x.conll").read_text("utf-8")
    docs = list(conll_ner_to_docs(written, no_print=True))
    assert [[(e.text, e.label_) for e in doc.ents] for doc in docs] == [
        [("Ada L .", "a_person"), ("Bo", "a_person"), ("Bo", "a_person"), ("Ada", "a_person")],
        [],
    ]
    sentences = [block.split("\n") for block in written.split("\n\n") if "DOCSTART" not in block]
    tags = [[line.split(" ")[-1] for line in sentence if line] for sentence in sentences]
    strict = Entities([t for t in tags if t], IOB2)
    assert [e.to_tuple()[1:] for e in strict.entities[0]] == [
        ("a_person", 1, 4),
        ("a_person", 5, 6),
    ]
    assert get_entities(tags[1]) == [("a_person", 0, 0), ("a_person", 2, 2)]
    assert all(len(line.split(" ")) == 4 for s in sentences for line in s if line)


# --- Hugging Face datasets ---------------------------------------------------------------------

_LOAD = """
import json, sys, datasets
loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])["train"]
names = loaded.features["ner_tags"].feature.names
print(json.dumps({"names": names, "rows": list(loaded)}))
"""


def test_datasets_loads_the_folder(tmp_path: Path) -> None:
    write("datasets", ROWS, tmp_path / "out")
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD, str(tmp_path / "out"), str(tmp_path / "cache")],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = json.loads(ran.stdout)
    assert [row["text"] for row in loaded["rows"]] == [row.text for row in ROWS]
    first = loaded["rows"][0]
    tags = [loaded["names"][number] for number in first["ner_tags"]]
    assert list(zip(first["tokens"], tags, strict=True))[:6] == [
        ("😀", "O"), ("Ada", "B-a_person"), ("L", "I-a_person"), (".", "I-a_person"), ("met", "O"),
        ("Bo", "B-a_person"),
    ]  # fmt: skip
    assert {(e["start"], e["end"], e["label"]) for e in first["entities"]} == {
        span.key for span in ROWS[0].spans or ()
    }
    assert [entity["score"] for entity in loaded["rows"][1]["entities"]] == [0.25, 0.75]
    assert [row["reviewed"] for row in loaded["rows"]] == [True, False, True]


# --- brat --------------------------------------------------------------------------------------


def test_a_library_for_brat_reads_the_folder(tmp_path: Path) -> None:
    from bratly.io import read_and_load_ann_file

    spanning = Row("Ada\nLovelace\tand\r\nBo", (Span(0, 12, "a person"), Span(13, 20, "x y")), None)
    write("brat", [*ROWS, spanning], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1-report-pdf-page-1.ann", "1-report-pdf-page-1.txt", "2-letter-txt.ann",
        "2-letter-txt.txt", "3.ann", "3.txt", "annotation.conf", "visual.conf",
    ]  # fmt: skip
    text = (tmp_path / "out" / "1-report-pdf-page-1.txt").read_bytes().decode()
    assert text == ROWS[0].whole
    read = read_and_load_ann_file(str(tmp_path / "out" / "1-report-pdf-page-1.ann"))
    found = {
        (a.fragments[0].start, a.fragments[-1].end, a.label, a.content) for a in read.annotations
    }
    assert (2, 8, "a_person", "Ada L.") in found
    assert {(text.index("Bo and"), "a_person"), (text.index("Ada.\n"), "a_person")} <= {
        (start, label) for start, _, label, _ in found
    }
    assert all(text[start:end] == content for start, end, _, content in found)
    lines = read_and_load_ann_file(str(tmp_path / "out" / "3.ann")).annotations
    assert [[(f.start, f.end) for f in entity.fragments] for entity in lines] == [
        [(0, 3), (4, 12)],
        [(13, 16), (18, 20)],
    ]


# --- Label Studio ------------------------------------------------------------------------------
# Its SDK needs OpenCV and a code generator, too much for tests: here is what its LabelInterface
# checks of a task (`validate_annotation`, `validate_prediction`), which it was held to by hand.


def test_label_studio_tasks_fit_their_labelling_interface(tmp_path: Path) -> None:
    write("label-studio", ROWS, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["tasks.json", "labeling-config.xml"]
        tasks = json.loads(archive.read("tasks.json"))
        config = ElementTree.fromstring(archive.read("labeling-config.xml"))
    control, shown = config.find("Labels"), config.find("Text")
    assert control is not None
    assert shown is not None
    assert control.get("toName") == shown.get("name")
    allowed = {label.get("value") for label in control}
    assert allowed == {"a person", "first name", "city"}
    for task in tasks:
        text = task["data"][(shown.get("value") or "").removeprefix("$")]
        for part in (*task.get("annotations", []), *task.get("predictions", [])):
            assert 0 <= part.get("score", 0) <= 1
            for region in part["result"]:
                value = region["value"]
                assert (region["from_name"], region["to_name"]) == (
                    control.get("name"),
                    shown.get("name"),
                )
                assert region["type"] == control.tag.lower()
                assert text[value["start"] : value["end"]] == value["text"]  # code points
                assert set(value["labels"]) <= allowed
            assert len({region["id"] for region in part["result"]}) == len(part["result"])
    assert ["annotations" in task for task in tasks] == [True, False, True]
    assert tasks[1]["predictions"][0]["score"] == 0.25
    assert [r["score"] for r in tasks[0]["predictions"][0]["result"]] == [0.9, 0.6125]


def test_label_studio_tasks_alone(tmp_path: Path) -> None:
    write("label-studio", ROWS, tmp_path / "mine.json")
    (main, _) = get("label-studio").build(ROWS)
    assert (tmp_path / "mine.json").read_bytes() == main[1]


# --- doccano -----------------------------------------------------------------------------------


def test_doccano_lines_are_those_of_its_own_example(tmp_path: Path) -> None:
    """``label`` is a list of [start, end, type], the offsets count as JavaScript does."""
    write("doccano", ROWS, tmp_path / "x.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").splitlines()]
    for line, row in zip(lines, ROWS, strict=True):
        units = line["text"].encode("utf-16-le")
        for start, end, label in line["label"]:
            assert units[2 * start : 2 * end].decode("utf-16-le") in {
                row.text[s.start : s.end] for s in row.best or () if s.label == label
            }
        assert "id" not in line  # doccano gives one
    keys = [set(line) for line in lines]
    assert all({"text", "label", "offsets", "document"} <= each for each in keys)


@pytest.mark.parametrize("shape", ["label", "entities"])
def test_what_comes_back_from_doccano_is_a_persons_word(tmp_path: Path, shape: str) -> None:
    """doccano keeps keys that it does not know, and exports the labels in two shapes."""
    write("doccano", ROWS[1:2], tmp_path / "x.jsonl")
    line = json.loads((tmp_path / "x.jsonl").read_text("utf-8"))
    spans = [[0, 2, "a person"], [7, 10, "city"]]
    if shape == "entities":
        del line["label"]
        line["entities"] = [
            {"id": i, "label": label, "start_offset": start, "end_offset": end}
            for i, (start, end, label) in enumerate(spans)
        ]
        line["relations"] = [{"id": 1, "from_id": 0, "to_id": 1, "type": "lives in"}]
    else:
        line["label"] = spans
    back = json.dumps({"id": 7, **line, "Comments": []}) + "\n"
    read = read_file("admin.jsonl", back.encode(), Options()).parsed
    assert read.records[0].spans == (Span(0, 2, "a person"), Span(7, 10, "city"))
    assert read.records[0].predicted == ROWS[1].predicted
    assert read.notes == (["1 relation left out"] if shape == "entities" else [])
