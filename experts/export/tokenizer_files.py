"""Where the base model's tokenizer lies on this computer, found without loading anything."""

from __future__ import annotations

from pathlib import Path

from experts.embedded import EMBEDDED_BASE

__all__ = ["tokenizer_folder"]

_SIGN = "tokenizer_config.json"


def tokenizer_folder(base_model: str, data_dir: Path) -> Path | None:
    """The folder with the tokenizer's files; None where they have not been fetched or made yet.

    Args:
        base_model: hub id or folder; empty for the embedded model.
        data_dir: where the converted embedded model is kept.
    """
    if base_model:
        from huggingface_hub import try_to_load_from_cache

        folder = Path(base_model)
        if not folder.is_dir():
            found = try_to_load_from_cache(base_model, _SIGN)
            return Path(found).parent if isinstance(found, str) else None
        return folder if (folder / _SIGN).is_file() else None
    name = EMBEDDED_BASE.split("/")[-1]
    made = [path.parent for path in (data_dir / "models").glob(f"{name}-*/{_SIGN}")]
    return max(made, key=lambda path: path.stat().st_mtime, default=None)
