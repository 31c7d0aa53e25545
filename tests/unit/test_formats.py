"""Formats and encodings: what is read, and what is said about what cannot be."""

from __future__ import annotations

import codecs
import json

import pytest

from experts.errors import SamError
from experts.formats import Options, detect_format, read_file
from experts.formats.base import FORMATS, Format, Parsed, Record, register
from experts.formats.conll import decode_tags, join_tokens
from experts.formats.encoding import decode
from experts.formats.table import columns_of
from experts.spans import Span


def parse(name: str, data: bytes | str, **options: object) -> Parsed:
    raw = data.encode() if isinstance(data, str) else data
    return read_file(name, raw, Options(**options)).parsed  # type: ignore[arg-type]


def refusal(name: str, data: bytes | str, **options: object) -> SamError:
    with pytest.raises(SamError) as caught:
        parse(name, data, **options)
    assert name in caught.value.what
    assert caught.value.hint.endswith(".")
    return caught.value


# --- encodings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Plain ASCII.", "utf-8"),
        ("Ünï 😀 中文 עברית", "utf-8"),
        ("Le café est fermé. Où est le musée du château?", "cp1252"),
        ("“Smart quotes” – dash … café", "cp1252"),
        ("La sœur a vu un chef-d’œuvre à Paris.", "cp1252"),
        ("Wystawa w Krakowie była otwarta w środę. Obraz namalował Jan Matejko.", "cp1250"),
        ("Привет мир, как дела сегодня. Мы идем в музей.", "koi8_r"),
        ("Привет мир, как дела сегодня. Мы идем в музей.", "cp1251"),
        ("我去了北京。他没有来！中文文本在这里", "gb18030"),
        ("日本語のテキストです。東京に行きました。", "cp932"),
        ("안녕하세요 서울에서 왔습니다", "cp949"),
        ("UTF-16 with a mark: é 😀", "utf-16"),
        ("UTF-8 with a mark: é", "utf-8-sig"),
    ],
)
def test_encodings_are_found(text: str, encoding: str) -> None:
    decoded = decode("a.txt", text.encode(encoding))
    assert decoded.text == text
    assert decoded.encoding == encoding


def test_the_sample_for_guessing_is_taken_where_the_odd_letters_are() -> None:
    text = "plain line\n" * 20_000 + "Le café est fermé.\n"
    assert decode("a.txt", text.encode("cp1252")).text == text


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_empty_files_are_refused(data: bytes) -> None:
    assert refusal("a.txt", data).what == "a.txt is empty."


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        bytes(range(1, 32)) * 20,
        bytes(range(256)),
        codecs.BOM_UTF16_LE + b"\xfa\xfb\xff\xfe" * 20,
    ],
)
def test_binary_files_are_refused(data: bytes) -> None:
    assert "is not a text file" in refusal("a.txt", data).what


def test_a_wrong_byte_order_mark_is_refused() -> None:
    assert "begins like UTF-16" in refusal("a.jsonl", b"\xff\xfe\xfa hello").what


def test_damaged_utf8_names_the_line() -> None:
    data = "première\ndeuxième à côté\ntroisième né\n".encode() + b"bad \xff byte\n"
    error = refusal("a.txt", data)
    assert "damaged character in line 4" in error.what


def test_undecodable_bytes_are_refused() -> None:
    data = bytes([7, 200, 201, 255, 130, 3, 1, 2, 3, 4, 222] * 30)
    assert "not text in any encoding" in refusal("a.txt", data).what


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.conll"])
def test_an_overlong_line_is_refused_with_its_number(name: str) -> None:
    error = refusal(name, b"first\nsecond\n" + b"x" * 50_000_000)
    assert "Line 3 of" in error.what
    assert "50,000,000 characters" in error.what


# --- which format ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("a.txt", "Some prose.", "txt"),
        ("a.md", "Some prose.", "txt"),
        ("a", '{"text": "x"}\n', "jsonl"),
        ("a.txt", '{"text": "x"}\n', "jsonl"),
        ("a.txt", "Ada B-PER\nmet O\n\nBo B-PER\n", "conll"),
        ("a.tsv", "Ada\tB-PER\nmet\tO\n", "conll"),
        ("a.tsv", "id\ttext\n1\tHello\n", "csv"),
        ("a.csv", "text\nHello\n", "csv"),
        ("A.JSONL", "", "jsonl"),
        ("a.iob2", "", "conll"),
        ("a.unknown", "Words O\nand words", "txt"),
        ("a.txt", "{curly} braces begin this prose", "txt"),
    ],
)
def test_format_by_ending_and_content(name: str, text: str, key: str) -> None:
    assert detect_format(name, text).key == key


@pytest.mark.parametrize("ending", ["doc", "docm", "odt", "rtf", "xlsx", "xls", "gz"])
def test_unsupported_kinds_are_refused_by_name(ending: str) -> None:
    assert "cannot read yet" in refusal(f"a.{ending}", b"whatever").what


def test_unsupported_kinds_are_refused_by_first_bytes() -> None:
    assert "an old Word document" in refusal("a", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1...").what
    assert "an archive" in refusal("a", b"PK\x03\x04....").what


def test_a_column_makes_no_sense_outside_tables() -> None:
    assert "has no columns" in refusal("a.txt", "Text.", column="body").what


def test_a_format_is_registered_once() -> None:
    fmt = Format("txt", (), lambda n, t, o: Parsed([]), lambda t: False)
    with pytest.raises(ValueError, match="twice"):
        register(fmt)
    text = {"txt", "jsonl", "conll", "csv", "label_studio", "brat"}
    assert set(FORMATS) == text | {"spacy"}


# --- jsonl -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entities",
    [
        {"entities": [{"start": 0, "end": 3, "label": "person"}]},
        {"entities": [{"start_offset": 0, "end_offset": 3, "label": "person", "id": 7}]},
        {"entities": [[0, 3, "person"]]},
        {"label": [[0, 3, "person"]]},
        {"labels": [[0, 3, "person"]]},
        {"label": None, "entities": [{"start": 0, "end": 3, "type": " person "}]},
        {"entities": [[0, 3, "person"], [0, 3, "person"]]},
    ],
)
def test_jsonl_dialects(entities: dict[str, object]) -> None:
    parsed = parse("a.jsonl", json.dumps({"text": "Ada met Bo.", **entities}))
    assert parsed.records == [Record("Ada met Bo.", (Span(0, 3, "person"),), 1)]


def test_jsonl_keeps_scores_sorts_spans_and_counts_lines() -> None:
    row = {"text": "Ada met Bo.", "entities": [[8, 10, "p"], {"start": 0, "end": 3, "label": "p"}]}
    row["entities"][1]["score"] = 0.5  # type: ignore[index,call-overload]
    text = '{"text": ""}\r\n\n' + json.dumps(row) + "\n"
    parsed = parse("a.jsonl", text)
    assert [r.number for r in parsed.records] == [1, 3]
    assert parsed.records[0].spans is None
    assert parsed.records[1].spans == (Span(0, 3, "p", 0.5), Span(8, 10, "p"))


def test_jsonl_texts_may_hold_line_separators_and_half_characters() -> None:
    parsed = parse("a.jsonl", '{"text": "one\u2028two\u0085 \\ud83d\\ude00 \\ud83d!"}')
    assert parsed.records[0].text == "one\u2028two\u0085 😀 \ufffd!"
    assert "half characters" in parsed.notes[0]


def test_jsonl_entities_can_be_ignored_even_if_wrong() -> None:
    parsed = parse("a.jsonl", '{"text": "Ada", "entities": [[0, 99, "p"]]}', gold=False)
    assert parsed.records == [Record("Ada", None, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'text': 'x'}", "Line 2 of a.jsonl is not valid JSON"),
        ("[" * 100_000, "Line 2 of a.jsonl is not valid JSON"),
        ('"text"', "is not a JSON object"),
        ('{"txt": "x"}', "has no “text”; it has “txt”"),
        ("{}", "it has no keys at all"),
        ('{"text": 7}', "“text” is not a string"),
        ('{"text": "Ada", "entities": {"a": 1}}', "“entities” is not a list"),
        ('{"text": "Ada", "entities": ["person"]}', "not start, end and label"),
        ('{"text": "Ada", "label": ["positive"]}', "not start, end and label"),
        ('{"text": "Ada", "entities": [[0, "3", "p"]]}', "not start, end and label"),
        ('{"text": "Ada", "entities": [[true, 3, "p"]]}', "not start, end and label"),
        ('{"text": "Ada", "entities": [[0, 3, " "]]}', "no readable label"),
        ('{"text": "Ada", "entities": [[0, 4, "p"]]}', "does not lie inside"),
        ('{"text": "Ada", "entities": [[2, 2, "p"]]}', "does not lie inside"),
        ('{"text": "Ada", "entities": [[-1, 2, "p"]]}', "does not lie inside"),
        ('{"text": "A  b", "entities": [[1, 3, "p"]]}', "covers only spaces"),
    ],
)
def test_broken_jsonl_names_line_and_cause(line: str, message: str) -> None:
    error = refusal("a.jsonl", '{"text": "fine"}\n' + line)
    assert message in error.what
    assert "ine 2 of a.jsonl" in error.what


@pytest.mark.parametrize("text", ['[{"text": "x"}]', '[\n  {"text": "x"}\n]'])
def test_a_json_array_is_refused(text: str) -> None:
    assert "is a JSON array" in refusal("a.json", text).what


# --- CoNLL -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-P I-P O", [(1, 3, "P")]),  # IOB2
        ("I-P I-P B-P O", [(0, 2, "P"), (2, 3, "P")]),  # IOB1
        ("I-P I-Q", [(0, 1, "P"), (1, 2, "Q")]),
        ("B-P E-P S-P S-P", [(0, 2, "P"), (2, 3, "P"), (3, 4, "P")]),  # BIOES
        ("B-P I-P L-P U-Q", [(0, 3, "P"), (3, 4, "Q")]),  # BILOU
        ("E-P I-P", [(0, 1, "P"), (1, 2, "P")]),
        ("B-GPE-loc I-GPE-loc", [(0, 2, "GPE-loc")]),
        ("O O", []),
        ("", []),
    ],
)
def test_tag_schemes(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert decode_tags(tags.split()) == expected


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("Ada met ( old ) Bo , who did n't care .", "Ada met (old) Bo, who didn't care."),
        ('She said " no " and left', 'She said "no" and left'),
        ("It costs $ 5 , the boss 's money", "It costs $5, the boss's money"),
        ("我 去 了 北京 。", "我去了北京。"),
        ("He saw 北京 today", "He saw 北京 today"),
    ],
)
def test_tokens_are_joined_as_people_write(tokens: str, text: str) -> None:
    joined, ranges = join_tokens(tokens.split())
    assert joined == text
    assert [joined[a:b] for a, b in ranges] == tokens.split()


def test_conll_2003_file() -> None:
    data = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP B-MISC\n"
        ". . O O\n\n# NN B-NP O\nPeter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n"
    )
    parsed = parse("eng.testb", data)
    assert [r.text for r in parsed.records] == ["EU rejects German.", "#Peter Blackburn"]
    assert parsed.records[0].spans == (Span(0, 2, "ORG"), Span(11, 17, "MISC"))
    assert parsed.records[1].spans == (Span(1, 16, "PER"),)
    assert [r.number for r in parsed.records] == [3, 8]
    ignored = parse("eng.testb", data, gold=False)
    assert [r.spans for r in ignored.records] == [None, None]


def test_conll_comments_and_tabs() -> None:
    parsed = parse("a.conll", "# id = 1\nNew York\tB-P\r\nrocks\tO\r\n\r\n")
    assert parsed.records == [Record("New York rocks", (Span(0, 8, "P"),), 2)]


def test_conll_with_names_of_columns() -> None:
    data = "Token\tTag\nAda\tB-P\nmet\tO\n"
    assert detect_format("a.tsv", data).key == "conll"
    assert parse("a.tsv", data).records == [Record("Ada met", (Span(0, 3, "P"),), 2)]


@pytest.mark.parametrize("line", ["alone", "Bo PER", "Bo B-"])
def test_broken_conll_names_the_line(line: str) -> None:
    error = refusal("a.conll", f"Ada B-PER\n{line}\n")
    assert error.what.startswith("Line 2 of a.conll is not a token and a tag")


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("a.csv", "id,text\n1,Hello there\n2,Bye\n", ["Hello there", "Bye"]),
        ("a.csv", "id;Body\r\n1;Hello, there\r\n2;Bye\r\n", ["Hello, there", "Bye"]),
        ("a.csv", 'id,text\n1,"He said ""no"",\nand left"\n', ['He said "no",\nand left']),
        ("a.tsv", "id\ttext\n1\tHello, there\n", ["Hello, there"]),
        ("a.csv", "id,comment\n1,A rather long text here\n", ["A rather long text here"]),
        ("a.csv", "text\nHello, world\nBye, all, of you\n", ["Hello, world", "Bye, all, of you"]),
        ("a.csv", "1,A first long sentence.\n2,A second one.\n", None),
        (
            "a.tsv",
            'text\tn\n"Stop" he said\t1\nHe said "no\t2\n',
            ['"Stop" he said', 'He said "no'],
        ),
        ("a.tsv", 'text\tn\n"He said ""no"""\t1\n"a\nb"\t2\n', ['He said "no"', "a\nb"]),
        ("a.csv", "text,note\nHi,\n,empty\nBye,x\n", ["Hi", "Bye"]),
    ],
)
def test_tables(name: str, data: str, texts: list[str] | None) -> None:
    expected = texts or ["A first long sentence.", "A second one."]
    assert [r.text for r in parse(name, data).records] == expected


@pytest.mark.parametrize("column", ["Title", " title ", "1"])
def test_the_column_can_be_chosen(column: str) -> None:
    data = "title,text\nShort,A much longer text\n"
    assert [r.text for r in parse("a.csv", data, column=column).records] == ["Short"]


def test_an_unknown_column_names_the_columns_there_are() -> None:
    error = refusal("a.csv", "title,text\nShort,Long\n", column="body")
    assert "has no column “body”" in error.what
    assert "“title”, “text”" in error.hint


def test_tables_report_what_they_left_out() -> None:
    notes = parse("a.csv", "id,text\n1,One\n2,\n3,Two,and more\n").notes
    assert notes[0] == "texts from “text”, comma-separated"
    assert notes[1] == "1 row without a text left out"
    assert "more cells than the header" in notes[2]


def test_row_numbers_are_lines_of_the_file() -> None:
    parsed = parse("a.csv", 'text\n"two\nlines"\n\nnext\n')
    assert [(r.number, r.text) for r in parsed.records] == [(2, "two\nlines"), (5, "next")]


def test_big_fields_are_read_and_bigger_ones_refused() -> None:
    big = "word " * 150_000
    assert parse("a.csv", f"text\n{big}\n").records[0].text == big
    lines = "a line of an unclosed cell\n" * 50_000
    error = refusal("a.csv", f'id,text\n1,"{lines}')
    assert "row at line 2" in error.what


def test_columns_for_the_person_to_choose_from() -> None:
    assert columns_of("a.csv", "id,,text\n1,2,Hello\n") == ["id", "column 2", "text"]
    assert columns_of("a.csv", "1,Hello there.\n2,Bye.\n") == ["column 1", "column 2"]
    assert columns_of("a.csv", "") == []
