"""The registry of export formats, what is said before anything is lost, and how files appear."""

from __future__ import annotations

import builtins
import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from experts.errors import SamError
from experts.export.annotations import SpanRow, write_spans_csv
from experts.export.formats import Row, check, formats, get, write
from experts.export.formats.brat import stored_names
from experts.export.formats.documents import assemble
from experts.spans import Span

ADA = Row("Ada met Bo.", (Span(0, 3, "person"), Span(8, 10, "person")), None, "a.txt")
KEYS = [fmt.key for fmt in formats()]


@pytest.mark.parametrize("key", KEYS)
def test_every_format_says_what_it_is(key: str) -> None:
    fmt = get(key)
    assert fmt.title
    assert fmt.opens
    assert fmt.ending.startswith(".")
    assert not fmt.cannot.endswith(".")
    assert fmt.extra in {"", "spacy"}
    entries = list(fmt.build([ADA]))
    assert entries
    assert len({name for name, _ in entries}) == len(entries)
    assert not fmt.main or entries[0][0] == fmt.main
    assert (len(entries) > 1) == (fmt.ending == ".zip")


def test_keys_are_distinct_and_an_unknown_one_names_them() -> None:
    assert len(set(KEYS)) == len(KEYS)
    with pytest.raises(SamError) as caught:
        check("xml", [ADA])
    assert all(key in caught.value.hint for key in KEYS)


# --- losses ------------------------------------------------------------------------------------

OVERLAPS = Row("New York City", (Span(0, 8, "city", 0.4), Span(4, 13, "place"), Span(0, 13, "x")))
INSIDE = Row("unhappy Ada", (Span(2, 7, "mood"), Span(7, 11, "person")))
UNSEEN = Row("Nobody has read this.")


@pytest.mark.parametrize(
    ("key", "row", "lines"),
    [
        ("conll", OVERLAPS, ["2 entities overlap likelier ones and are left out"]),
        ("conll", INSIDE, [
            "1 entity begins or ends inside a word and is left out",
            "1 entity loses the white space at its edges",
        ]),
        ("conll", UNSEEN, [
            "1 text that nobody has looked at comes out as a text without entities"
        ]),
        ("conll", Row(" \n", ()), ["1 text without words is left out"]),
        ("conll", Row("a b", (Span(0, 1, "x y"), Span(2, 3, "x_y"))), [
            "1 type is no longer told from another, which differs in spaces only"
        ]),
        ("spacy", OVERLAPS, []),
        ("spacy", INSIDE, [
            "1 entity begins or ends inside a word and is left out",
            "1 entity loses the white space at its edges",
        ]),
        ("spacy", UNSEEN, []),
        ("datasets", OVERLAPS, [
            "2 entities overlap likelier ones and are left out of the tags (not of “entities”)"
        ]),
        ("brat", OVERLAPS, []),
        ("brat", INSIDE, []),
        ("brat", Row("Ada\nmet", (Span(0, 4, "p"),)), [
            "1 entity loses the line breaks at its edges"
        ]),
        ("brat", UNSEEN, [
            "1 text that nobody has looked at comes out as a text without entities"
        ]),
        ("csv", OVERLAPS, []),
        ("csv", UNSEEN, ["1 text without entities has no row"]),
        ("doccano", Row("", ()), ["1 empty text is left out"]),
        *[(key, row, []) for key in ("jsonl", "doccano", "label-studio")
          for row in (OVERLAPS, INSIDE, UNSEEN)],
    ],
)  # fmt: skip
def test_what_is_lost_is_counted(key: str, row: Row, lines: list[str]) -> None:
    losses = check(key, [row, ADA])
    assert list(losses.lines) == lines
    assert bool(losses) == bool(lines)


def test_corrections_count_over_predictions() -> None:
    row = Row("Ada met Bo.", (Span(8, 10, "p"),), (Span(0, 3, "p", 0.9),))
    assert row.best == row.spans
    assert Row("x", None, (Span(0, 1, "p"),)).best == (Span(0, 1, "p"),)
    assert Row("x", ()).best == ()
    assert Row("x").best is None


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "'=", "''+"])
def test_no_cell_of_a_table_runs_as_a_formula(start: str) -> None:
    text = f"{start}cmd|' /C calc'!A0 Ada"
    row = Row(text, (Span(0, len(text), f"{start.strip()}type"),), None, f"{start}doc")
    ((_, data),) = get("csv").build([row])
    cells = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))[1]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert cells[1] == f"'{text}"


def test_the_older_way_to_a_table_writes_the_same(tmp_path: Path) -> None:
    write("csv", [ADA], tmp_path / "a.csv")
    spans = [SpanRow(ADA.document, ADA.text, span) for span in ADA.spans or ()]
    write_spans_csv(tmp_path / "b.csv", spans)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_text("utf-8-sig").splitlines()[1] == (
        "a.txt,Ada met Bo.,0,3,person,Ada,"
    )


# --- brat --------------------------------------------------------------------------------------


def test_documents_are_put_together_again() -> None:
    whole = "Ada met Bo. Then Bo left."
    second = Row("Then Bo left.", (Span(5, 7, "p"),), None, "a.txt", whole, 12)
    first = Row("Ada met Bo.", (Span(0, 3, "p"),), None, "a.txt", whole, 0)
    again = assemble([first, second, first])
    assert [(d.text, d.spans) for d in again] == [
        (whole, [Span(0, 3, "p"), Span(17, 19, "p")]),
        (whole, [Span(0, 3, "p")]),
    ]
    lines = assemble([Row("One.", (), None, "a"), Row("Two.", (Span(0, 3, "n"),), None, "a")])
    assert [(d.name, d.text, d.spans) for d in lines] == [("a", "One.\nTwo.", [Span(5, 8, "n")])]
    assert [d.name for d in assemble([ADA, Row("x", (), None, "b"), ADA])] == [
        "a.txt",
        "b",
        "a.txt",
    ]


def test_types_in_brat_are_plain_and_distinct() -> None:
    names = stored_names(["a b", "a_b", "a  b", "政党", "城市", "ANY", "Ä"])
    assert len(set(names.values())) == len(names)
    assert all(name.isascii() and " " not in name for name in names.values())
    assert "ANY" not in names.values()


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_equal_rows_give_equal_zips(key: str, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write(key, [ADA], tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None


def test_folders_are_new_or_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write("brat", [ADA], tmp_path / "empty")
    assert (tmp_path / "empty" / "annotation.conf").is_file()
    kept = (tmp_path / "empty" / "annotation.conf").read_bytes()
    with pytest.raises(SamError, match="not empty"):
        write("datasets", [ADA], tmp_path / "empty")
    assert (tmp_path / "empty" / "annotation.conf").read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("key", KEYS)
def test_a_place_that_cannot_be_written_is_named(key: str, tmp_path: Path) -> None:
    ending = get(key).ending
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / f"x{ending}", tmp_path / "file" / "folder"):
        with pytest.raises(SamError) as caught:
            write(key, [ADA], place)
        assert str(place) in caught.value.what
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(SamError, match="is a folder"):
        write(key, [ADA], tmp_path / f"folder{ending}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"folder{ending}"]


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(SamError, match="no texts to export"):
        write("jsonl", [], tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()


def test_without_spacy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "spacy":
            raise ImportError(name)
        return real(name, *rest, **more)

    write("spacy", [ADA], tmp_path / "there.spacy")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SamError, match=r"sam-ui\[spacy\]"):
        write("spacy", [ADA], tmp_path / "x.spacy")
    from experts.corpus import read_records

    with pytest.raises(SamError, match=r"sam-ui\[spacy\]"):
        read_records(tmp_path / "there.spacy")
    assert not (tmp_path / "x.spacy").exists()
