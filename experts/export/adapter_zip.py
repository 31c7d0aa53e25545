"""The merged adapter as a zip that loads wherever PEFT does."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experts.errors import SamError
from experts.export.licences import MergedExpert
from experts.export.model_card import CardScores, hub_name, model_card
from experts.export.predict_script import SCRIPT, predict_script
from experts.files import written_whole

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe

__all__ = ["CardScores", "MergedExpert", "adapter_files", "fingerprint", "write_zip"]

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
QUICKLY = 2**20  # larger files are packed less: twice as quick
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the same adapter makes the same zip

Files = dict[str, bytes | Path]
"""Name in the zip → its content, or the file that has it."""


def adapter_files(
    *,
    adapters: Sequence[Path],
    recipes: Sequence[Recipe],
    types: Mapping[str, str],
    experts: Sequence[MergedExpert],
    title: str,
    retained_energy: float,
    scores: CardScores | None = None,
    tokenizer: Path | None = None,
) -> Files:
    """What the zip holds: adapter, recipe.json, labels.json, predict.py, tokenizer and README.md.

    A dual merge has two adapters, in the folders ``similarity`` and ``probe``, each with its
    recipe; their predictions are to be united.

    Args:
        adapters: folders in PEFT's format, parallel to `recipes`.
        types: name → definition of the entity types.
        scores: on the maker's corrections, for the card.
        tokenizer: the base model's folder; None leaves the tokenizer out.

    Raises:
        SamError: an adapter's file is missing.
    """
    files: Files = {}
    folders: list[str] = []
    for folder, recipe in zip(adapters, recipes, strict=True):
        inside = f"{recipe.criterion}/" if len(recipes) > 1 else ""
        folders.append(inside.rstrip("/") or ".")
        for name in ADAPTER_FILES:
            if not (folder / name).is_file():
                raise SamError(f"The merged adapter lacks {name}.", "Merge again.")
            files[inside + name] = folder / name
        files[f"{inside}recipe.json"] = recipe.to_json().encode()
    learned = recipes[0].learned
    least = learned[-1].thresholds if learned else {}
    labels = [
        {"name": name, "definition": text} | ({"threshold": least[name]} if least.get(name) else {})
        for name, text in types.items()
    ]
    files["labels.json"] = (json.dumps(labels, indent=2, ensure_ascii=False) + "\n").encode()
    files[SCRIPT] = predict_script(hub_name(recipes[0].base_model), folders).encode()
    if tokenizer is not None:
        for name in TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                files[name] = tokenizer / name
    card = model_card(
        title=title,
        recipes=recipes,
        types=types,
        experts=experts,
        retained_energy=retained_energy,
        scores=scores,
    )
    files["README.md"] = card.encode()
    return files


def fingerprint(files: Files) -> str:
    """The same for the same content: what was written is hashed, files count by name, size and
    time.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"\0{name}\0".encode())
        if isinstance(content, Path):
            state = content.stat()
            digest.update(f"{content}\0{state.st_size}\0{state.st_mtime_ns}".encode())
        else:
            digest.update(content)
    return digest.hexdigest()[:32]


def write_zip(path: Path, files: Files) -> None:
    """Write the files into one folder of a zip, which appears complete or not at all.

    Raises:
        SamError: the zip cannot be written.
    """
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(f"{path.stem}/{name}", EARLIEST)
            info.external_attr = 0o644 << 16
            # bf16 weights hardly compress: storing them is far quicker.
            packed = name.endswith(".safetensors")
            info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(info, data, compresslevel=1 if len(data) > QUICKLY else 6)
