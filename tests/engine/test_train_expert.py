"""From a recipe to an expert of the pool, on the embedded base model and our own sample texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experts.errors import Cancelled
from experts.pool import Pool
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.spans import Example
from experts.train_expert import train_expert
from sam_ui.services.engine import Engine


def test_training_makes_an_expert(
    engine: Engine, samples: dict[str, list[Example]], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "lakes"
    folder.mkdir(parents=True)
    examples = samples["lake_sediments"]
    for split, part in (("train", examples[:28]), ("dev", examples[28:])):
        lines = [
            json.dumps(
                {
                    "text": e.text,
                    "entities": [
                        {"start": s.start, "end": s.end, "label": s.label} for s in e.spans
                    ],
                }
            )
            for e in part
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    recipe = TrainingRecipe(
        name="lakes",
        title="Lakes",
        description="Sediments of lakes.",
        sentences=56,
        batch=4,
        rank=4,
        data=[CorpusRecipe(corpus="lakes", licence="CC0", source="SaM's sample texts")],
    )
    seen: list[float] = []
    asked = iter(range(1000))
    options = {"base": engine.base, "embedder": engine.embedder, "data": tmp_path / "data"}
    out = tmp_path / "own"
    with pytest.raises(Cancelled):
        train_expert(recipe, out=out, cancelled=lambda: next(asked) >= 3, **options)
    assert Pool(None, out).list() == []
    card = train_expert(
        recipe, out=out, resume=True, progress=lambda p: seen.append(p.loss), **options
    )
    assert seen[-1] < 1.5
    expert = Pool(None, out, base_model="google/gemma-3-270m").get("lakes")
    assert expert.card == card
    assert card.dev_f1 is not None
    assert card.dev_f1 > 0.2
    assert len(card.exemplars) == 28
    assert not (out / ".training-lakes").exists()
