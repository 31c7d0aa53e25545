"""Plain text: the whole file is one record."""

from __future__ import annotations

from experts.formats.base import Format, Options, Parsed, Record, register

__all__ = ["FORMAT"]


def _parse(name: str, text: str, options: Options) -> Parsed:
    return Parsed([Record(text)])


FORMAT = register(
    Format(
        key="txt",
        extensions=(".txt", ".text", ".md", ".log"),
        parse=_parse,
        sniff=lambda text: True,
        split=True,
    )
)
