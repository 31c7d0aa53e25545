"""Real PDF and Word files, made for the tests."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

SCANNED = None
"""A page that is a picture."""


def pdf(pages: Sequence[Sequence[str] | None]) -> bytes:
    """A PDF with these lines on its pages; `SCANNED` is a page with an image and no text."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    pixels = zlib.compress(bytes(64))
    picture = b"<</Type/XObject/Subtype/Image/Width 8/Height 8/ColorSpace/DeviceGray"
    picture += b"/BitsPerComponent 8/Filter/FlateDecode/Length %d>>stream\n" % len(pixels)
    objects += [font, picture + pixels + b"\nendstream"]
    kids = []
    for lines in pages:
        if lines is None:
            content = b"q 500 0 0 700 50 50 cm /Im0 Do Q"
        else:
            shown = b"".join(b"(%s) Tj T* " % _escaped(line) for line in lines)
            content = b"BT /F0 11 Tf 14 TL 50 780 Td " + shown + b"ET"
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
        resources = b"<</Font<</F0 3 0 R>>/XObject<</Im0 4 0 R>>>>"
        if lines is not None:
            resources = b"<</Font<</F0 3 0 R>>>>"
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources%s/Contents %d 0 R>>"
            % (resources, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
    return _assembled(objects)


def _escaped(line: str) -> bytes:
    raw = line.encode("cp1252")
    return raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _assembled(objects: Sequence[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def locked_pdf(pages: Sequence[Sequence[str] | None], *, user: str = "secret") -> bytes:
    """The same, encrypted; an empty `user` password lets everybody read."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(pages))))
    writer.encrypt(user, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def saved(document: object) -> bytes:
    """The bytes of a python-docx document."""
    out = io.BytesIO()
    document.save(out)  # type: ignore[attr-defined]
    return out.getvalue()


def report_docx() -> bytes:
    """Headings, paragraphs, a table, a hyperlink-free letter: what a person's document has."""
    import docx

    document = docx.Document()
    document.add_paragraph("Ada met Grace in Bled. It rained.")
    document.add_heading("Methods", 1)
    document.add_paragraph("Cores were taken from Lake Bled.")
    table = document.add_table(rows=2, cols=2)
    for row, cells in enumerate([("Core", "Depth"), ("LB-1", "12 m")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.add_heading("Results", 1)
    document.add_paragraph("Pollen of Fagus was found.")
    return saved(document)


def with_part(data: bytes, name: str, body: bytes) -> bytes:
    """A zip with one part replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", 8) as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        new.writestr(name, body)
    return out.getvalue()


def bomb_docx(megabytes: int = 300) -> bytes:
    """A Word document of a few hundred kilobytes that unpacks to `megabytes`."""
    out = io.BytesIO(report_docx())
    with (
        zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/media/image1.bmp", "w") as part,
    ):
        for _ in range(megabytes):
            part.write(bytes(1_000_000))
    return out.getvalue()
