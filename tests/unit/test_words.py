"""The words of the interface: how they are translated, and the catalogue that holds them."""

from __future__ import annotations

import ast
import io
import re
import threading
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from experts.errors import SamError
from sam_ui import words
from sam_ui.markup import skeleton
from sam_ui.services.job_words import SAYINGS, doing
from sam_ui.words import (
    Later,
    _,
    _n,
    check_language,
    chosen,
    day,
    figure,
    languages,
    mark,
    moment,
    speaking,
    spoken,
)
from tests.catalogue import ROOT, TEMPLATE, extracted, messages, pseudo, read, texts, waiting, write

THEN = datetime(2026, 11, 3, 9, 5, tzinfo=UTC)


def catalogue(folder: Path, language: str, forms: dict[str | tuple[str, str], object]) -> None:
    made = Catalog(locale=language)
    for source, said in forms.items():
        made.add(source, said)
    write(folder / language / "LC_MESSAGES" / "sam.po", made)


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A German and a French catalogue."""
    monkeypatch.setattr(words, "LOCALES", tmp_path)
    forms = {
        "Working": "Arbeitet",
        "Copied as “{name}”.": "Als „{name}“ kopiert.",
        ("{n} sentence", "{n} sentences"): ("{n} Satz", "{n} Sätze"),
        "Merge {n}": "Vereine {count}",
    }
    catalogue(tmp_path, "de", forms)
    catalogue(tmp_path, "fr", {})
    return tmp_path


# -- the catalogue ------------------------------------------------------------------------------


def test_the_catalogue_has_every_text() -> None:
    written, now = texts(read(TEMPLATE)), texts(extracted())
    assert (sorted(map(str, now - written)), sorted(map(str, written - now))) == ([], []), (
        "run `make strings`"
    )
    assert len(now) > 500


def test_every_translation_fits_its_source() -> None:
    for path in words.LOCALES.glob("*/LC_MESSAGES/sam.po"):
        translated = read(path, path.parts[-3])
        assert texts(translated) == texts(read(TEMPLATE)), "run `make strings`"
        assert wrong(translated) == [], path


def wrong(translated: Catalog) -> list[object]:
    """The messages with other placeholders or tags than their source."""
    left = {message.id for message in waiting(translated)}
    found = []
    for message in translated:
        if not message.id or message.id in left:
            continue
        plural = isinstance(message.id, tuple)
        sources = message.id if plural else (message.id,)
        forms = message.string if plural else (message.string,)
        allowed = [parts(source) for source in sources]
        found += [form for form in forms if parts(form) not in allowed]
    return found


def parts(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w*\}|</?\w+>", text))


def test_a_placeholder_that_is_lost_is_found() -> None:
    made = Catalog(locale="de")
    made.add("Use {name} <b>now</b>", "{nmae} <b>jetzt</b> nutzen")
    made.add("Keep {n}", "{n} behalten")
    made.add("Not yet", "")
    made.add(("{n} file", "{n} files"), ("eine Datei", "{n} Dateien"))
    assert wrong(made) == ["{nmae} <b>jetzt</b> nutzen", "eine Datei"]


def test_what_is_marked_is_extracted() -> None:
    code = """
from sam_ui.words import _, _n, mark
TITLE = mark("A title")
_("One " "text")
_(TITLE)
_n("{n} file", "{n} files", 2)
raise SamError("What", "Hint")
raise SamError(f"What {x}", "Other hint")
other("nothing")
"""
    found = [text for _line, _name, text, _ in messages(io.BytesIO(code.encode()), {}, [], {})]
    assert found == ["A title", "One text", ("{n} file", "{n} files"), "What", "Hint", "Other hint"]
    for put_together in ('_(f"{x} files")', '_("a" + x)', 'mark(f"{x}")'):
        with pytest.raises(ValueError, match="line 1"):
            list(messages(io.BytesIO(put_together.encode()), {}, [], {}))


def test_the_pseudo_language_has_all_texts() -> None:
    made = pseudo("eo")
    assert texts(made) == texts(extracted())
    assert waiting(made) == []
    assert wrong(made) == []


def test_what_jobs_say_is_what_the_worker_says() -> None:
    said = set()
    for folder in ("jobs", "services"):
        for path in (ROOT / "sam_ui" / folder).glob("*.py"):
            if path.name != "job_words.py":
                said |= set(map(shape, ast.walk(ast.parse(path.read_text("utf-8")))))
    assert [text for text in SAYINGS if re.sub(r"{\w+}", "{}", text) not in said] == []


def shape(node: ast.AST) -> str:
    """A string in code, with its values left out: ``f"{x} of {y}"`` is "{} of {}"."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(shape, node.values))
    return "{}"


def test_what_a_job_does_is_said_in_every_language(german: Path) -> None:
    catalogue(german, "de", {"Probing expert {done} of {all}": "Prüft {done} von {all} Experten"})
    message = "Probing expert 4 of 1,200"
    assert doing(message) == message
    with speaking("de"):
        assert doing(message) == "Prüft 4 von 1,200 Experten"
        assert doing("Merging the experts") == "Merging the experts"
        assert doing("Something else") == "Something else"


# -- at run time --------------------------------------------------------------------------------


def test_english_needs_no_catalogue() -> None:
    assert spoken() == "en"
    assert _("Copied as “{name}”.", name="{x}") == "Copied as “{x}”."
    assert _("100 {percent}") == "100 {percent}"
    assert _("") == ""
    assert _n("{n} sentence", "{n} sentences", 1) == "1 sentence"
    assert _n("{n} sentence", "{n} sentences", 1234) == "1,234 sentences"
    assert day(THEN) == "3 November 2026"
    assert moment(THEN) == "03 November 2026, 09:05 UTC"


def test_texts_follow_the_language(german: Path) -> None:
    later = Later(lambda: _("Working"))
    with speaking("de"):
        assert _("Copied as “{name}”.", name="Karte") == "Als „Karte“ kopiert."
        assert [_n("{n} sentence", "{n} sentences", n) for n in (0, 1, 2000)] == [
            "0 Sätze", "1 Satz", "2.000 Sätze",
        ]  # fmt: skip
        assert _("Not translated") == "Not translated"
        assert _("") == ""
        assert _(mark("Working")) == str(later) == "Arbeitet"
        assert 'aria-label="Arbeitet"' in skeleton()
        assert figure(12345) == "12.345"
        assert day(THEN) == "3. November 2026"
        assert moment(THEN) == "3. November 2026, 09:05 UTC"
    assert _("Working") == str(later) == "Working"


def test_a_wrong_placeholder_breaks_nothing(german: Path) -> None:
    with speaking("de"):
        assert _("Merge {n}", n=3) == "Merge 3"


def test_a_language_is_one_visits_own(german: Path) -> None:
    said = []
    with speaking("de"):
        threading.Thread(target=lambda: said.append(_("Working"))).run()
        other = threading.Thread(target=lambda: said.append(_("Working")))
        other.start()
        other.join()
        carried = threading.Thread(target=copy_context().run, args=(lambda: said.append(spoken()),))
        carried.start()
        carried.join()
    assert said == ["Arbeitet", "Working", "de"]


def test_an_unknown_language_says_which_there_are(german: Path) -> None:
    assert languages() == ["de", "en", "fr"]
    for known in ("de", "en", "auto"):
        check_language(known)
    with pytest.raises(SamError, match=r"“nl”.*one of de, en, fr, auto"):
        check_language("nl")


def test_a_broken_catalogue_is_named(german: Path) -> None:
    (german / "fr" / "LC_MESSAGES" / "sam.po").write_text("nonsense\n")
    for setting in ("fr", "auto"):
        with pytest.raises(SamError, match=r"fr/LC_MESSAGES/sam.po cannot be read"):
            check_language(setting)
    check_language("de")


def test_a_language_that_nobody_knows_is_refused(german: Path) -> None:
    catalogue(german, "de", {})
    (german / "de").rename(german / "dutsch")
    with pytest.raises(SamError, match="“dutsch” is no code of a language"):
        check_language("dutsch")


@pytest.mark.parametrize(
    ("setting", "wishes", "language"),
    [
        ("en", "de", "en"),
        ("de", "fr", "de"),
        ("auto", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("auto", "nl, en;q=0.5, fr;q=0.8", "fr"),
        ("auto", "EN-us, de", "en"),
        ("auto", "de;q=0, fr;q=0.1", "fr"),
        ("auto", "nl", "en"),
        ("auto", "*;q=x, ;;", "en"),
        ("auto", None, "en"),
    ],
)
def test_the_browser_may_choose(
    german: Path, setting: str, wishes: str | None, language: str
) -> None:
    assert chosen(setting, wishes) == language
