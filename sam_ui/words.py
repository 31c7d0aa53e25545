"""The words of the interface, in the language of whoever reads them: gettext with one catalogue.

English texts stand in the code and are the message ids. `_` and `_n` mark and translate them, with
values by name: ``_("Copied as “{name}”.", name=name)``, ``_n("{n} file", "{n} files", count)``.
`mark` only marks, for constants that ``_(TITLES[key])`` translates where they are shown. A text with
tags in it is HTML: values that go into it are escaped by whoever gives them.

`make strings` gathers all of them in assets/locale/sam.pot; a translation is the file
assets/locale/<language>/LC_MESSAGES/sam.po beside it. Where no language is set, as in the worker
and on the command line, everything stays English.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

from experts.assets import assets_dir
from experts.errors import SamError

__all__ = [
    "AUTO",
    "SOURCE",
    "Later",
    "_",
    "_n",
    "check_language",
    "chosen",
    "day",
    "figure",
    "languages",
    "mark",
    "mark_n",
    "moment",
    "speaking",
    "spoken",
]

SOURCE = "en"
"""The language of the texts in the code."""
AUTO = "auto"
"""In place of a language: the one of those present that the browser asks for."""
LOCALES = assets_dir() / "locale"
_spoken: ContextVar[str] = ContextVar("language", default=SOURCE)


def _(text: str, /, **values: object) -> str:
    """`text` in the language of now, with `values` in place of their names in braces."""
    said = _translations().gettext(text) if text else ""
    return _filled(said, text, values) if values else said


def _n(one: str, many: str, count: int, /, **values: object) -> str:
    """The form that fits `count`, which is ``{n}`` in it, thousands grouped."""
    said = _translations().ngettext(one, many, count)
    return _filled(said, one if count == 1 else many, {"n": figure(count), **values})


def mark(text: str) -> str:
    """The same text, marked to be translated; `_` does that where it is shown."""
    return text


def mark_n(one: str, many: str) -> tuple[str, str]:
    """The same two forms, marked; ``_n(*forms, count)`` translates them."""
    return one, many


class Later:
    """A text that is put into words whenever it is shown: for what is kept between visits."""

    def __init__(self, say: Callable[[], str]) -> None:
        self._say = say

    def __str__(self) -> str:
        return self._say()


def figure(number: int) -> str:
    """A whole number with its thousands grouped as in the language of now."""
    if spoken() == SOURCE:
        return f"{number:,}"
    from babel.numbers import format_decimal

    return format_decimal(number, locale=spoken())


def day(then: date) -> str:
    """A date in words: "3 November 2026"."""
    if spoken() == SOURCE:
        return f"{then.day} {then:%B %Y}"
    from babel.dates import format_date

    return format_date(then, "long", locale=spoken())


def moment(then: datetime) -> str:
    """A date with its time of day in UTC."""
    if spoken() == SOURCE:
        return f"{then:%d %B %Y, %H:%M} UTC"
    return f"{day(then)}, {then:%H:%M} UTC"


def spoken() -> str:
    """The language of now."""
    return _spoken.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Say everything inside in `language`, one of `languages`."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def languages() -> list[str]:
    """English, and every language that has a catalogue."""
    found = {path.parent.parent.name for path in LOCALES.glob("*/LC_MESSAGES/sam.po")}
    return sorted(found | {SOURCE})


def check_language(language: str) -> None:
    """Read the catalogues that a setting asks for.

    Raises:
        SamError: there is no such catalogue, or it cannot be read.
    """
    known = languages()
    if language not in (AUTO, *known):
        raise SamError(
            f"SAM_LANGUAGE is “{language}”, and there is no catalogue of that name.",
            f"Set it to one of {', '.join([*known, AUTO])}.",
        )
    for name in known if language == AUTO else [language]:
        if name != SOURCE:
            _check_code(name)
        with speaking(name):
            _translations()


def _check_code(language: str) -> None:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        raise SamError(
            f"“{language}” is no code of a language.", "Name its folder as in “de” or “pt_BR”."
        ) from None


def chosen(setting: str, wishes: str | None = None) -> str:
    """The language of a visit: the one that is set, or else what the browser asks for.

    Args:
        wishes: the browser's Accept-Language: ``chosen("auto", "de-AT, fr;q=0.8")`` is "de" where
            German and French are there. English where none fits.
    """
    if setting != AUTO:
        return setting
    known = {name.replace("_", "-").lower(): name for name in languages()}
    parts = [part.partition(";") for part in (wishes or "").lower().split(",")]
    for tag, _semicolon, weight in sorted(parts, key=lambda part: -_weight(part[2])):
        for name in (tag.strip(), tag.strip().partition("-")[0]):
            if name in known and _weight(weight):
                return known[name]
    return SOURCE


def _weight(said: str) -> float:
    try:
        return float(said.strip().removeprefix("q=") or 1)
    except ValueError:
        return 0.0


def _filled(said: str, source: str, values: Mapping[str, object]) -> str:
    try:
        return said.format(**values)
    except (LookupError, ValueError):  # a translation with a placeholder that the source lacks
        return source.format(**values)


def _translations() -> gettext.NullTranslations:
    language = spoken()
    return _ENGLISH if language == SOURCE else _read(LOCALES / language / "LC_MESSAGES" / "sam.po")


_ENGLISH = gettext.NullTranslations()


@cache
def _read(path: Path) -> gettext.NullTranslations:
    """A catalogue; it is read as its translators write it, nobody has to compile it."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import PoFileError, read_po

    compiled = BytesIO()
    try:
        write_mo(compiled, read_po(BytesIO(path.read_bytes()), abort_invalid=True))
        compiled.seek(0)
        return gettext.GNUTranslations(compiled)
    except (OSError, PoFileError, ValueError) as problem:
        where = "/".join(path.parts[-3:])
        raise SamError(
            f"The catalogue {where} cannot be read: {problem}.", "Correct it, or set SAM_LANGUAGE."
        ) from None
