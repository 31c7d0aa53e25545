"""PDF and Word documents: pages, sections, what is left out, what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.corpus import Corpus, read_bytes, read_corpus, read_units
from experts.documents import sandbox
from experts.documents.pages import flow, page_list, without_running_lines
from experts.documents.reading import DOCUMENTS, Limits, read_document
from experts.errors import SamError
from tests.unit.documents_support import (
    SCANNED,
    bomb_docx,
    locked_pdf,
    pdf,
    report_docx,
    saved,
    with_part,
)

PAGES = [
    ["Lake report", "Ada met Grace in Bled. Cores were taken from the", "deepest sedi-", "1"],
    [
        "Lake report",
        "ments of Lake Bled, which froze in winter",
        "of 1962. Bob left.",
        "2",
    ],
    SCANNED,
    ["Lake report", "Professor Hubble was not seen again.", "4"],
]


def read(name: str, data: bytes) -> Corpus:
    corpus = read_bytes(name, data)
    for sentence in corpus.sentences:
        document = corpus.documents[sentence.document]
        assert document.text[sentence.start : sentence.end] == sentence.text
    return corpus


def refusal(name: str, data: bytes) -> SamError:
    with pytest.raises(SamError) as caught:
        read_bytes(name, data)
    assert name in caught.value.what
    assert caught.value.hint
    return caught.value


def found(corpus: Corpus) -> list[tuple[str, str]]:
    return [(corpus.documents[s.document].label, s.text) for s in corpus.sentences]


# --- PDF ---------------------------------------------------------------------------------------


def test_sentences_of_a_pdf_know_their_page() -> None:
    corpus = read("lakes.pdf", pdf(PAGES))
    assert found(corpus) == [
        ("lakes.pdf, page 1", "Ada met Grace in Bled."),
        (
            "lakes.pdf, page 1",
            "Cores were taken from the deepest sediments of Lake Bled, which froze in winter of 1962.",
        ),
        ("lakes.pdf, page 2", "Bob left."),
        ("lakes.pdf, page 4", "Professor Hubble was not seen again."),
    ]
    (report,) = corpus.reports
    assert (report.format, report.encoding, report.documents) == ("pdf", None, 3)
    assert report.notes == (
        "4 pages",
        "no text on page 3: probably scanned",
        "left out, as it repeats from page to page: “Lake report”, page numbers",
    )


def test_a_pdf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "upload.txt"
    path.write_bytes(pdf([["Ada met Grace."]]))
    assert read_corpus([path]).reports[0].format == "pdf"
    assert read_units(path) == [("Ada met Grace.", None)]


def test_a_pdf_of_pictures_says_that_it_is_scanned() -> None:
    error = refusal("scan.pdf", pdf([SCANNED, SCANNED]))
    assert "all 2 pages are probably scanned" in error.what
    assert "OCR" in error.hint
    assert "its only page is empty" in refusal("blank.pdf", pdf([[]])).what


def test_a_locked_pdf_is_refused_unless_everybody_may_read_it() -> None:
    assert "is locked" in refusal("secret.pdf", locked_pdf(PAGES)).what
    assert len(read("open.pdf", locked_pdf(PAGES, user="")).sentences) == 4


@pytest.mark.parametrize(
    "data",
    [b"%PDF-1.7\nnothing more", pdf(PAGES)[: len(pdf(PAGES)) // 8], b"%PDF-1.4\n%%EOF"],
    ids=["bare", "cut", "end"],
)
def test_a_damaged_pdf_is_refused(data: bytes) -> None:
    assert "is damaged" in refusal("broken.pdf", data).what


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_empty_and_misnamed_documents_are_refused(name: str) -> None:
    assert refusal(name, b"").what == f"{name} is empty."
    assert "in spite of its name" in refusal(name, b"Just some text.").what


def test_a_broken_page_does_not_cost_the_others() -> None:
    data = pdf([["Ada met Grace."], ["Bob left."]])
    first = data.index(b"/Contents")
    data = data[:first] + b"/Contentz" + data[first + 9 :]
    assert found(read("a.pdf", data)) == [("a.pdf, page 2", "Bob left.")]


def test_time_and_memory_of_a_document_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    many = pdf([["Ada met Grace."]] * 3)
    with pytest.raises(SamError, match=r"a\.pdf needs more than|a\.pdf could not be read"):
        read_document("a.pdf", many, DOCUMENTS["pdf"], limits=Limits(memory_mb=30))
    with pytest.raises(SamError, match=r"a\.pdf took too long to open"):
        read_document("a.pdf", many, DOCUMENTS["pdf"], limits=Limits(seconds=0))
    pieces, notes = read_document("a.pdf", many, DOCUMENTS["pdf"], limits=Limits(characters=1))
    assert "only the first 1 of 3 pages" in notes[1]
    assert len(pieces) == 1
    monkeypatch.setattr(sandbox, "GRACE_S", 0.001)
    with pytest.raises(SamError, match=r"a\.pdf could not be read within 0 seconds"):
        read_document("a.pdf", many, DOCUMENTS["pdf"], limits=Limits(seconds=0))


def test_a_column_of_a_document_cannot_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([["Ada."]]))
    with pytest.raises(SamError, match=r"a\.pdf has no columns"):
        read_corpus([path], column="body")


# --- pages to text -----------------------------------------------------------------------------


LEFT = ["", "Ada", "Bob", "Grace", "Hubble", "Jo", "Kim", "Lou", "Max"]


@pytest.mark.parametrize(
    ("pages", "said"),
    [([4], "page 4"), ([1, 2, 3, 7], "pages 1–3 and 7"), ([1, 3, 4, 9], "pages 1, 3–4 and 9")],
)
def test_page_lists(pages: list[int], said: str) -> None:
    assert page_list(pages) == said


def test_chapter_titles_with_their_page_numbers_are_left_out() -> None:
    pages = [
        (
            n,
            [
                f"Chapter {n // 4}: Lakes and ponds {n + 10}",
                f"Rain on {LEFT[n]}.",
                f"{LEFT[n]} left.",
            ],
        )
        for n in range(1, 9)
    ]
    assert without_running_lines(pages) == ["“Chapter 0: Lakes and ponds 11”"]
    assert [lines[1] for _, lines in pages] == [f"{LEFT[n]} left." for n in range(1, 9)]


def test_page_numbers_may_jump() -> None:
    pages = [
        (n, [f"Rain on {LEFT[n]}.", f"{LEFT[n]} left.", f"Page {n + 3 * (n > 2)}"])
        for n in range(1, 9)
    ]
    assert without_running_lines(pages) == ["page numbers"]
    assert [lines[-1] for _, lines in pages] == [f"{LEFT[n]} left." for n in range(1, 9)]


def test_left_and_right_pages_may_have_headers_of_their_own() -> None:
    pages = [(n, ["The Lakes" if n % 2 else "A. Author", f"{LEFT[n]} left."]) for n in range(1, 9)]
    assert set(without_running_lines(pages)) == {"“The Lakes”", "“A. Author”"}


def test_text_that_repeats_on_few_pages_or_inside_them_stays() -> None:
    pages = [(n, ["First line", "Same text.", f"End of {n * n}."]) for n in (1, 2)]
    before = [list(lines) for _, lines in pages]
    assert without_running_lines(pages) == []
    assert [lines for _, lines in pages] == before
    more = [
        (n, [f"Title {n * n}", "Same text.", f"Nothing of {n * n} metres."]) for n in range(1, 6)
    ]
    without_running_lines(more)
    assert all("Same text." in lines for _, lines in more)


def test_hyphens_are_joined_as_the_rest_of_the_text_writes_the_word() -> None:
    lines = ["A well-known lake.", "It is a well-", "known and beauti-", "ful one. Smith-", "Jones"]
    assert flow([(1, lines)])[0][1] == (
        "A well-known lake.\n\nIt is a well-known and beautiful one. Smith-Jones"
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text("aB-1. \u00ad", min_size=1, max_size=12), max_size=4), max_size=5))
def test_no_letter_is_lost_between_pages(pages: list[list[str]]) -> None:
    numbered = [(n, [x for x in lines if x.strip()]) for n, lines in enumerate(pages, start=1)]
    numbered = [(n, lines) for n, lines in numbered if lines]
    text = "".join(text for _, text in flow(numbered))
    letters = [c for _, lines in numbered for line in lines for c in line if c.isalnum()]
    assert sorted(c for c in text if c.isalnum()) == sorted(letters)


# --- Word --------------------------------------------------------------------------------------


def test_sentences_of_a_word_document_know_their_section() -> None:
    corpus = read("report.docx", report_docx())
    assert found(corpus) == [
        ("report.docx", "Ada met Grace in Bled."),
        ("report.docx", "It rained."),
        ("report.docx, “Methods”", "Methods"),
        ("report.docx, “Methods”", "Cores were taken from Lake Bled."),
        ("report.docx, “Methods”", "Core\tDepth"),
        ("report.docx, “Methods”", "LB-1\t12 m"),
        ("report.docx, “Results”", "Results"),
        ("report.docx, “Results”", "Pollen of Fagus was found."),
    ]
    assert corpus.reports[0].notes == ("1 table, a row a line",)


def test_tracked_insertions_are_read_and_deletions_are_not() -> None:
    import docx
    from docx.oxml import parse_xml

    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = docx.Document()
    paragraph = document.add_paragraph("Ada met ")
    for name, text in (("del", "w:delText"), ("ins", "w:t")):
        word = "Bob" if name == "del" else "Grace"
        paragraph._p.append(
            parse_xml(f"<w:{name} {space}><w:r><{text}>{word}</{text}></w:r></w:{name}>")
        )
    control = f"<w:sdt {space}><w:sdtContent><w:p><w:r><w:t>In a form.</w:t></w:r></w:p>"
    document.element.body.insert(0, parse_xml(control + "</w:sdtContent></w:sdt>"))
    texts = [text for _, text in found(read("a.docx", saved(document)))]
    assert texts == ["In a form.", "Ada met Grace"]


def test_cells_with_running_text_are_paragraphs() -> None:
    import docx

    document = docx.Document()
    table = document.add_table(rows=1, cols=2)
    long = "Cores were taken from the deepest part of the lake in the winter of 1962. It froze."
    table.cell(0, 0).text, table.cell(0, 1).text = long, "Bled"
    texts = [text for _, text in found(read("a.docx", saved(document)))]
    assert texts == [long[:-10], "It froze.", "Bled"]


def test_footnotes_are_read() -> None:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    notes = f"<w:footnotes {space}><w:footnote w:type='separator'><w:p/></w:footnote>"
    notes += "<w:footnote><w:p><w:r><w:t>See Smith.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    data = with_part(report_docx(), "word/footnotes.xml", notes.encode())
    rels = "word/_rels/document.xml.rels"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        known, types = archive.read(rels), archive.read("[Content_Types].xml")
    kind = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    link = b'<Relationship Id="rId99" Type="%s" Target="footnotes.xml"/></Relationships>' % kind
    data = with_part(data, rels, known.replace(b"</Relationships>", link))
    override = b'<Override PartName="/word/footnotes.xml" ContentType="application/xml"/></Types>'
    data = with_part(data, "[Content_Types].xml", types.replace(b"</Types>", override))
    assert found(read("a.docx", data))[-1] == ("a.docx, footnotes", "See Smith.")


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    data = bomb_docx()
    assert len(data) < 1_000_000
    error = refusal("bomb.docx", data)
    assert "holds 301 MB" in error.what


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is locked with a password"),
        (report_docx()[:9000], "is damaged"),
        (with_part(report_docx(), "word/document.xml", b"<not xml"), "is damaged"),
        (with_part(report_docx(), "[Content_Types].xml", b"<Types/>"), "is damaged"),
    ],
    ids=["locked", "cut", "broken", "untyped"],
)
def test_locked_and_damaged_word_documents_are_refused(data: bytes, said: str) -> None:
    assert said in refusal("a.docx", data).what


def test_an_archive_named_docx_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("letter.txt", "Dear Ada")
    assert "a.docx" in refusal("a.docx", out.getvalue()).what


def test_a_word_document_without_words_is_refused() -> None:
    import docx

    assert "no text" in refusal("a.docx", saved(docx.Document())).what


def test_entities_of_xml_are_not_expanded() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "ha">'
    for one, ten in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += b'<!ENTITY %s "%s">' % (ten.encode(), b"&%s;" % one.encode() * 10)
    space = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    bomb += b"]><w:document %s><w:body><w:p><w:r><w:t>&i;</w:t></w:r></w:p></w:body>" % space
    refusal("a.docx", with_part(report_docx(), "word/document.xml", bomb + b"</w:document>"))
