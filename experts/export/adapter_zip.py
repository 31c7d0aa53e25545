"""The merged adapter as a zip that loads wherever PEFT does."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experts.errors import SamError
from experts.export.notices import base_notice
from experts.files import written_whole

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe

__all__ = ["MergedExpert", "write_adapter_zip"]

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the same adapter makes the same zip


@dataclass(frozen=True, slots=True)
class MergedExpert:
    """What the card says of an expert that went into the merge; `data`: one line a corpus."""

    name: str
    title: str
    licence: str
    data: tuple[str, ...] = ()


def write_adapter_zip(
    path: Path,
    *,
    adapters: Sequence[Path],
    recipes: Sequence[Recipe],
    types: Mapping[str, str],
    experts: Sequence[MergedExpert],
    title: str,
    retained_energy: float,
) -> None:
    """Write the zip: one folder with adapter, recipe.json, labels.json and README.md.

    A dual merge has two adapters, in the folders ``similarity`` and ``probe``, each with its
    recipe; their predictions are to be united.

    Args:
        path: of the zip; it appears complete or not at all.
        adapters: folders in PEFT's format, parallel to `recipes`.
        types: name -> definition of the entity types.

    Raises:
        SamError: an adapter's file is missing, or the zip cannot be written.
    """
    files: dict[str, bytes | Path] = {}
    for folder, recipe in zip(adapters, recipes, strict=True):
        inside = f"{recipe.criterion}/" if len(recipes) > 1 else ""
        for name in ADAPTER_FILES:
            if not (folder / name).is_file():
                raise SamError(f"The merged adapter lacks {name}.", "Merge again.")
            files[inside + name] = folder / name
        files[f"{inside}recipe.json"] = recipe.to_json().encode()
    labels = [{"name": name, "definition": text} for name, text in types.items()]
    files["labels.json"] = (json.dumps(labels, indent=2, ensure_ascii=False) + "\n").encode()
    card = _card(recipes, types, experts, title=title, retained_energy=retained_energy)
    files["README.md"] = card.encode()
    _write(path, files, root=path.stem)


def _write(path: Path, files: Mapping[str, bytes | Path], *, root: str) -> None:
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(f"{root}/{name}", EARLIEST)
            info.external_attr = 0o644 << 16
            # bf16 weights hardly compress: storing them is far quicker.
            packed = name.endswith(".safetensors")
            info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(info, data)


def _card(
    recipes: Sequence[Recipe],
    types: Mapping[str, str],
    experts: Sequence[MergedExpert],
    *,
    title: str,
    retained_energy: float,
) -> str:
    base = recipes[0].base_model
    parts = [
        _front_matter(base),
        f"# {title}",
        "A named-entity adapter merged from LoRA experts with SaM (Select and Merge).",
        "## Entity types",
        "\n".join(f"- {name}" + (f": {text}" if text else "") for name, text in types.items()),
        "## How to load it",
        _snippet(base, recipes),
        "The adapter answers SaM's own prompt, with grounded decoding: "
        '`sam-ui predict TEXTS --types "…" --adapter FOLDER --out PRED.jsonl` does both.',
        "## Recipe",
        _recipe_table(recipes),
        f"Method: {recipes[0].method}. {retained_energy:.1%} of the merged update is kept at the "
        "adapter's rank.",
        "## Experts, their data and licences",
        "\n".join(_expert_lines(experts)),
        "Check that these licences allow what you plan to do with the adapter.",
    ]
    notice = base_notice(base)
    if notice:
        parts += [
            "## Base model",
            f"{base}. {notice}. The embedded copy was dequantised from Q4_K_M weights, which the "
            "experts were trained on.",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(base: str) -> str:
    lines = ["---", f"base_model: {json.dumps(base)}", "library_name: peft"]
    if base_notice(base):
        lines.append("license: gemma")
    return "\n".join([*lines, "tags:", "- token-classification", "- lora", "- merge", "---"])


def _snippet(base: str, recipes: Sequence[Recipe]) -> str:
    folder = f"FOLDER/{recipes[0].criterion}" if len(recipes) > 1 else "FOLDER"
    code = f"""```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base!r})
tokenizer = AutoTokenizer.from_pretrained({base!r})
model = PeftModel.from_pretrained(base, {folder!r})
```"""
    if len(recipes) > 1:
        code += (
            "\n\nThis is a dual merge: the folders `similarity` and `probe` each hold an adapter. "
            "Run both and unite what they find."
        )
    return code


def _recipe_table(recipes: Sequence[Recipe]) -> str:
    lines = ["| adapter | expert | weight |", "|---|---|---|"]
    for recipe in recipes:
        lines += [f"| {recipe.criterion} | {e.name} | {e.weight:.3f} |" for e in recipe.experts]
    return "\n".join(lines)


def _expert_lines(experts: Sequence[MergedExpert]) -> list[str]:
    lines: list[str] = []
    for expert in experts:
        lines.append(
            f"- **{expert.title}** ({expert.name}): {expert.licence or 'no licence noted'}"
        )
        lines += [f"  - {line}" for line in expert.data]
    return lines
