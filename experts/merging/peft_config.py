"""Read and write PEFT's ``adapter_config.json`` without importing PEFT.

Only what plain LoRA needs is understood; every other feature is refused by name, because a feature
that is silently ignored makes a merge that is silently wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.errors import SamError

__all__ = ["CONFIG_NAME", "LoraSettings", "config_to_write", "read_config"]

CONFIG_NAME = "adapter_config.json"
_MAX_BYTES = 5_000_000
_PLAIN = "Train or export it as plain LoRA on linear layers."

# Fields that either are read below or do not change what the stored factors mean.
_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
    "lora_ga_config", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip

# Names for people; a field that is neither here nor harmless is refused under its own name.
_FEATURES = {
    "use_dora": "DoRA",
    "modules_to_save": "fully trained modules",
    "target_parameters": "LoRA on single parameters",
    "trainable_token_indices": "trainable tokens",
    "layer_replication": "layer replication",
    "lora_bias": "a bias in LoRA's B",
    "alora_invocation_tokens": "activated LoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron layers",
    "ensure_weight_tying": "tied LoRA weights",
}

# The others (pissa, olora, corda, loftq, lora_ga) change the base model's own weights when loaded,
# so the factors are not an update of the base that everybody else has.
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")


@dataclass(frozen=True)
class LoraSettings:
    """What ``adapter_config.json`` says about the factors.

    Attributes:
        base_model: hub id as written, "" if none is.
        revision: of the base model (a commit, tag or branch of its repository); None if none is.
        rank, alpha: defaults of all modules.
        rslora: scaling is alpha/√r instead of alpha/r (Kalajdzievski 2023, arXiv:2312.03732).
        rank_pattern, alpha_pattern: regular expressions of module names → other values.
        fan_in_fan_out: the base stores weights as (in, out); the factors do not.
        targets: names of ``target_modules`` where they alone decide which modules are adapted, so
            that naming them again means the same modules; empty otherwise.
    """

    base_model: str
    revision: str | None
    rank: int
    alpha: float
    rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    fan_in_fan_out: bool
    targets: frozenset[str]

    def rank_of(self, module: str) -> int:
        """Rank that PEFT gives to a module."""
        return self.rank_pattern.get(_pattern_key(self.rank_pattern, module), self.rank)

    def scaling_of(self, module: str) -> float:
        """Scaling that PEFT gives to a module."""
        alpha = self.alpha_pattern.get(_pattern_key(self.alpha_pattern, module), self.alpha)
        rank = self.rank_of(module)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def _pattern_key(patterns: Iterable[str], module: str) -> str:
    """The first pattern that matches the whole name or its end after a dot, as PEFT does it."""
    for pattern in patterns:
        if re.match(rf"(.*\.)?({pattern})$", module):
            return pattern
    return module


def read_config(folder: Path, name: str) -> LoraSettings:
    """Read and check the config of an adapter folder.

    Args:
        folder: contains ``adapter_config.json``.
        name: the expert's, for messages.

    Raises:
        SamError: missing, unreadable, not plain LoRA; names the expert and the feature.
    """
    config = _read_json(folder / CONFIG_NAME, name)
    _refuse_unsupported(config, name)
    rank = config.get("r", 8)
    if not _is_rank(rank):
        raise _bad(name, "r", rank, "a whole number of at least 1")
    alpha = config.get("lora_alpha", 8)
    if not _is_number(alpha):
        raise _bad(name, "lora_alpha", alpha, "a finite number")
    base = config.get("base_model_name_or_path") or ""
    if not isinstance(base, str):
        raise _bad(name, "base_model_name_or_path", base, "text")
    revision = config.get("revision") or None
    if revision is not None and not isinstance(revision, str):
        raise _bad(name, "revision", revision, "text")
    return LoraSettings(
        base_model=base,
        revision=revision,
        rank=rank,
        alpha=float(alpha),
        rslora=bool(config.get("use_rslora")),
        rank_pattern=_read_pattern(config, "rank_pattern", name),
        alpha_pattern=_read_pattern(config, "alpha_pattern", name),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
        targets=_targets(config),
    )


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SamError(
                f"{CONFIG_NAME} of the expert '{name}' is too large.", "Export the adapter again."
            )
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SamError(
            f"The expert '{name}' has no {CONFIG_NAME} in {path.parent}.",
            "Choose the folder that PEFT's save_pretrained wrote.",
        ) from None
    except OSError as error:
        raise SamError(
            f"{CONFIG_NAME} of the expert '{name}' cannot be read ({error.strerror}).",
            "Check the path and its permissions.",
        ) from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise SamError(
            f"{CONFIG_NAME} of the expert '{name}' is not a JSON object.",
            "Export the adapter again.",
        )
    return content


def _refuse_unsupported(config: Mapping[str, Any], name: str) -> None:
    peft_type = config.get("peft_type")
    if peft_type != "LORA":
        raise SamError(f"The expert '{name}' is not LoRA but {peft_type or 'unknown'}.", _PLAIN)
    bias = config.get("bias", "none")
    if bias not in ("none", None):
        raise SamError(f"The expert '{name}' trains biases (bias={bias}).", _PLAIN)
    for field, value in config.items():
        if field not in _HARMLESS and value:
            feature = _FEATURES.get(field, "a feature unknown here")
            raise SamError(f"The expert '{name}' uses {feature} ({field}).", _PLAIN)
    init = config.get("init_lora_weights", True)
    if init not in _PLAIN_INITS:
        raise SamError(
            f"The expert '{name}' was initialised with '{init}', which changes the base model.",
            "Convert it with save_pretrained(path_initial_model_for_weight_conversion=…).",
        )


def _read_pattern(config: Mapping[str, Any], field: str, name: str) -> dict[str, Any]:
    pattern = config.get(field) or {}
    valid = _is_rank if field == "rank_pattern" else _is_number
    if not isinstance(pattern, dict) or not all(valid(value) for value in pattern.values()):
        raise _bad(name, field, pattern, "names with numbers")
    for key in pattern:
        try:
            re.compile(key)
        except re.error:
            raise _bad(name, field, key, "a regular expression") from None
    return pattern


def _targets(config: Mapping[str, Any]) -> frozenset[str]:
    restricted = config.get("layers_to_transform") is not None or config.get("exclude_modules")
    names = config.get("target_modules")
    if restricted or not isinstance(names, list):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str))


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _bad(name: str, field: str, value: object, wanted: str) -> SamError:
    return SamError(
        f"In {CONFIG_NAME} of the expert '{name}', {field} is {str(value)[:80]!r}.",
        f"It must be {wanted}.",
    )


def config_to_write(
    *,
    base_model: str,
    revision: str | None,
    rank: int,
    targets: Iterable[str],
    fan_in_fan_out: bool,
) -> str:
    """``adapter_config.json`` of an adapter whose factors carry their scale (lora_alpha == r)."""
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "revision": revision,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": sorted(targets),
        "bias": "none",
        "fan_in_fan_out": fan_in_fan_out,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "init_lora_weights": True,
    }
    return json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
