"""The catalogue of all texts of the interface: `make strings` writes it and brings translations up
to date; ``make strings NEW=de`` begins one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from sam_ui.words import LOCALES

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = LOCALES / "sam.pot"
FOLDERS = ("sam_ui", "experts", "db")
KEYWORDS: dict[str, Any] = {"_": None, "_n": (1, 2)}
# What is marked how: name of the function -> which arguments are messages. Errors are translated
# where they are shown: those that are raised with values in them use `_` themselves.
CALLS = {"_": 1, "mark": 1, "_n": 2, "mark_n": 2, "SamError": 2}
PLURAL = ("_n", "mark_n")

Found = tuple[int, str, Any, list[str]]


def messages(file: Any, keywords: Any, comments: Any, options: Any) -> Iterator[Found]:
    """An extraction method of Babel for Python.

    Raises:
        ValueError: a text that is marked is put together, so that no catalogue can hold it.
    """
    calls = [node for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda call: call.lineno):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        arguments = node.args[: CALLS.get(name, 0)]
        if name != "SamError" and any(isinstance(a, (ast.JoinedStr, ast.BinOp)) for a in arguments):
            raise ValueError(f"line {node.lineno}: give values by name, not in an f-string")
        texts = [a.value if isinstance(a, ast.Constant) else None for a in arguments]
        if name in PLURAL and len(texts) == 2 and all(texts):
            yield node.lineno, "_n", tuple(texts), []
        elif name not in PLURAL:
            yield from (
                (node.lineno, "_", text, []) for text in texts if isinstance(text, str) and text
            )


def extracted() -> Catalog:
    """All texts that are marked in the code, and those that merge methods declare."""
    catalog = Catalog(project="SaM", copyright_holder="the makers of SaM", charset="utf-8")
    for folder in FOLDERS:
        found = extract_from_dir(
            ROOT / folder, [("**.py", "tests.catalogue:messages")], keywords=KEYWORDS
        )
        for path, line, text, _comments, _context in found:
            place = (f"{folder}/{Path(path).as_posix()}", line)
            catalog.add(text, locations=[place])
    for text, place in _declared():
        catalog.add(text, locations=[(place, 1)])
    return catalog


def _declared() -> Iterator[tuple[str, str]]:
    """Name, sentence and parameters of every merge method."""
    from experts.merging.registry import methods

    for method in methods():
        place = f"{method.__module__.replace('.', '/')}.py"
        texts = [method.name, method.summary]
        for parameter in method.parameters:
            texts += [parameter.label, parameter.meaning, *parameter.choices]
        yield from ((text, place) for text in texts if text)


def texts(catalog: Catalog) -> set[Any]:
    """The message ids: a text, or the two forms of one."""
    return {message.id for message in catalog if message.id}


def read(path: Path, language: str | None = None) -> Catalog:
    """A catalogue from its file."""
    with path.open("rb") as file:
        return read_po(file, locale=language)


def write(path: Path, catalog: Catalog) -> None:
    """Sorted by place and without line numbers, so that it changes only when a text does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalog, width=100, sort_by_file=True, include_lineno=False)


def rewrite(new: str = "") -> None:
    """Write the template if a text has changed, and bring every translation up to date."""
    catalog = extracted()
    if not TEMPLATE.exists() or texts(read(TEMPLATE)) != texts(catalog):
        write(TEMPLATE, catalog)
    paths = {path.parent.parent.name: path for path in LOCALES.glob("*/LC_MESSAGES/sam.po")}
    if new and new not in paths:
        write(LOCALES / new / "LC_MESSAGES" / "sam.po", _begun(catalog, new))
    for language, path in paths.items():
        translated = read(path, language)
        if texts(translated) != texts(catalog):
            translated.update(catalog)
            write(path, translated)


def _begun(catalog: Catalog, language: str) -> Catalog:
    begun = Catalog(locale=language, project="SaM", charset="utf-8", fuzzy=False)
    begun.update(catalog)
    return begun


def waiting(catalog: Catalog) -> list[Message]:
    """What is not translated yet, or was when its source was another."""
    return [
        message
        for message in catalog
        if message.id and (message.fuzzy or not any(_forms(message.string)))
    ]


def _forms(text: Any) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,)


def pseudo(language: str) -> Catalog:
    """A translation into no language: every text in ⟦brackets⟧, so that what is not translated
    can be seen.
    """
    catalog = _begun(extracted(), language)
    for message in catalog:
        if isinstance(message.id, tuple):
            message.string = tuple(f"⟦{form}⟧" for form in message.id)
        elif message.id:
            message.string = f"⟦{message.id}⟧"
    return catalog


if __name__ == "__main__":
    rewrite(*sys.argv[1:2])
    for path in sorted(LOCALES.glob("*/LC_MESSAGES/sam.po")):
        left = waiting(read(path, path.parent.parent.name))
        print(f"{path.parent.parent.name}: {len(left)} texts to translate")
