"""The model card of a merged adapter, as Hugging Face's hub reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experts.export.licences import MergedExpert, resulting_licence
from experts.export.notices import base_notice

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe

__all__ = ["CardScores", "hub_name", "model_card"]


@dataclass(frozen=True, slots=True)
class CardScores:
    """How the adapter does on sentences that its maker has corrected: strict, micro, in [0, 1].

    Attributes:
        sentences: that were corrected.
        spans: true entities in them.
        per_type: type → (F1, true entities).
    """

    sentences: int
    spans: int
    precision: float
    recall: float
    f1: float
    per_type: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def hub_name(base_model: str) -> str:
    """The base model's hub id; "" for a folder, which means nothing elsewhere."""
    path = Path(base_model)
    return "" if path.is_absolute() or path.is_dir() else base_model


def model_card(
    *,
    title: str,
    recipes: Sequence[Recipe],
    types: Mapping[str, str],
    experts: Sequence[MergedExpert],
    retained_energy: float,
    scores: CardScores | None = None,
) -> str:
    """README.md with the front matter that the hub understands.

    Args:
        title: what the maker calls it.
        recipes: one, or two of a dual merge.
        types: name → definition of the entity types.
        retained_energy: share of the merged update that is kept, in [0, 1].
        scores: on the maker's corrections, where there are enough to tell.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    base = recipes[0].base_model
    licence = resulting_licence(base, experts)
    results = None
    if scores is not None:
        said = f"{scores.sentences} sentences corrected by the maker of this adapter"
        named = (("f1", scores.f1), ("precision", scores.precision), ("recall", scores.recall))
        results = [
            EvalResult(
                task_type="token-classification",
                task_name="Named entity recognition",
                dataset_type="corrections",
                dataset_name=said,
                metric_type=metric,
                metric_name=f"{metric} (strict, micro)",
                metric_value=round(value, 4),
            )
            for metric, value in named
        ]
    data = ModelCardData(
        base_model=hub_name(base) or None,
        library_name="peft",
        pipeline_tag="token-classification",
        license=licence.hub,
        license_name=licence.name or None,
        tags=["named-entity-recognition", "lora", "merge", "sam-select-and-merge"],
        model_name=_line(title),
        eval_results=results,
    )
    parts = [
        f"# {_line(title)}",
        "A named-entity adapter merged from LoRA experts with SaM (Select and Merge).",
        "## Entity types",
        "\n".join(
            f"- {_line(name)}" + (f": {_line(text)}" if text else "")
            for name, text in types.items()
        ),
        *_use(base, recipes),
        *(_scores(scores) if scores is not None else ()),
        "## Recipe",
        _recipe_table(recipes),
        f"Method: {recipes[0].method}. {retained_energy:.1%} of the merged update is kept at the "
        f"adapter's rank. {_made_again(recipes)}",
        *_learned(recipes[0]),
        "## Experts, their data and licences",
        "\n".join(_expert_lines(experts)),
        "What follows from them:",
        "\n".join(f"- {sentence}" for sentence in licence.conditions),
    ]
    notice = base_notice(base)
    if notice:
        parts += [
            "## Base model",
            f"{base}. {notice}. The embedded copy was dequantised from Q4_K_M weights, which the "
            "experts were trained on; with the original weights results differ slightly.",
        ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _line(text: str) -> str:
    return " ".join(text.split())


def _use(base: str, recipes: Sequence[Recipe]) -> list[str]:
    folder = f"FOLDER/{recipes[0].criterion}" if len(recipes) > 1 else "FOLDER"
    base = hub_name(base) or "BASE-MODEL"
    code = f"""```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base!r})
tokenizer = AutoTokenizer.from_pretrained({base!r})
model = PeftModel.from_pretrained(base, {folder!r})
```"""
    said = [
        "## How to use it",
        "`predict.py` finds the entities, with exact positions and probabilities. It needs "
        "`torch`, `transformers` and `peft`, and the base model:",
        f"```sh\npython predict.py texts.txt --base {base} > found.jsonl\n```",
        "It reads as SaM does, only slower. With SaM itself: "
        '`sam-ui predict TEXTS --types "…" --adapter FOLDER --out PRED.jsonl`. '
        "The weights alone, for a program of your own:",
        code,
    ]
    if len(recipes) > 1:
        said.append(
            "This is a dual merge: the folders `similarity` and `probe` each hold an adapter. "
            "`predict.py` runs both and unites what they find."
        )
    return said


def _scores(scores: CardScores) -> list[str]:
    rows = [
        "| | F1 | entities |",
        "|---|---|---|",
        *(
            f"| {_line(name).replace('|', chr(92) + '|')} | {f1:.2f} | {count} |"
            for name, (f1, count) in scores.per_type.items()
        ),
        f"| all | {scores.f1:.2f} | {scores.spans} |",
    ]
    return [
        "## Scores",
        f"On the {scores.sentences} sentences that the maker of this adapter has corrected: "
        f"precision {scores.precision:.2f}, recall {scores.recall:.2f}, F1 {scores.f1:.2f}. An "
        "entity counts when both its ends and its type are right. Sentences that the adapter has "
        "learned from are left out.",
        "\n".join(rows),
    ]


def _made_again(recipes: Sequence[Recipe]) -> str:
    if any(recipe.trained for recipe in recipes):
        return "`recipe.json` tells how it was made; the corrections that it learned from are not in it."
    return "`recipe.json` is enough to make it again."


def _learned(recipe: Recipe) -> list[str]:
    """A line for each time that corrections changed it."""
    ways = {
        "train": "trained on", "weights": "weights chosen by", "thresholds": "thresholds chosen by"
    }  # fmt: skip
    lines = [
        f"- {ways[step.how]} {step.sentences} corrected sentences"
        + (
            f": F1 {step.f1_before:.2f} → {step.f1_after:.2f} on those not learned from"
            if step.f1_before is not None and step.f1_after is not None
            else ""
        )
        for step in recipe.learned
    ]
    return ["After the merge:", "\n".join(lines)] if lines else []


def _recipe_table(recipes: Sequence[Recipe]) -> str:
    lines = ["| adapter | expert | weight |", "|---|---|---|"]
    for recipe in recipes:
        lines += [f"| {recipe.criterion} | {e.name} | {e.weight:.3f} |" for e in recipe.experts]
    return "\n".join(lines)


def _expert_lines(experts: Sequence[MergedExpert]) -> list[str]:
    lines: list[str] = []
    for expert in experts:
        said = _line(expert.licence) or "no licence noted"
        lines.append(f"- **{_line(expert.title)}** ({expert.name}): {said}")
        lines += [f"  - {_line(text)}" for text in expert.data]
    return lines
