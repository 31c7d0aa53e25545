"""A recipe trains an expert on another base model than the embedded one, from end to end.

The models are random and tiny, of the architectures that docs/pool.md names: Qwen 2.5 (biases on
q, k and v, tied embeddings) and Llama 3.1 (scaled positions), both with grouped keys and values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from experts.base import BaseModel, load_base
from experts.card import ExpertCard
from experts.errors import Cancelled, SamError
from experts.extract import Extractor
from experts.merging.adapters import load_adapter
from experts.pool import Pool
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.train_expert import train_expert
from experts.training import TrainingProgress
from tests.unit import tiny
from tests.unit.fakes import FakeEmbedder

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA_3_POSITIONS = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGURATIONS = {
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True}),
    "llama": (LlamaConfig, {"rope_parameters": LLAMA_3_POSITIONS, "max_position_embeddings": 512}),
}
PROJECTIONS = {
    *(f"self_attn.{x}_proj" for x in "qkvo"),
    *(f"mlp.{x}_proj" for x in ("gate", "up", "down")),
}
RECORDS = [
    ("Ada met Grace in Paris.", [(0, 3, "person"), (8, 13, "person"), (17, 22, "place")]),
    ("Nobody was there.", []),
    ("Rome and Paris are far away.", [(0, 4, "place"), (9, 14, "place")]),
    ("The Argo left Rome.", [(4, 8, "ship"), (14, 18, "place")]),
]


@pytest.fixture(params=CONFIGURATIONS)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> BaseModel:
    """A random model, saved to a folder and loaded as SAM_BASE_MODEL would name it."""
    kind, changes = CONFIGURATIONS[request.param]
    tokenizer = tiny.byte_level_tokenizer()
    torch.manual_seed(0)
    config = kind(vocab_size=len(tokenizer), **SHAPE, **changes)
    model: Any = AutoModelForCausalLM.from_config(config)
    folder = tmp_path / request.param
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded = load_base(str(folder), data_dir=tmp_path, device="cpu", dtype="float32")
    assert loaded.model.config.model_type == request.param
    return loaded


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for corpus in ("tales", "sagas"):
        folder = tmp_path / "data" / corpus
        folder.mkdir(parents=True)
        for split in ("train", "dev"):
            lines = [
                json.dumps(
                    {
                        "text": text,
                        "entities": [{"start": s, "end": e, "label": x} for s, e, x in spans],
                    }
                )
                for text, spans in RECORDS
            ]
            (folder / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "data"


def recipe() -> TrainingRecipe:
    names = {"person": ["person", "somebody"], "place": ["place", "town"], "ship": ["ship"]}
    return TrainingRecipe(
        name="tales",
        title="Tales",
        description="Old tales.",
        sentences=160,
        batch=4,
        rank=2,
        alpha=4.0,
        learning_rate=2e-3,
        data=[
            CorpusRecipe(corpus="tales", licence="CC0", source="us", types=names, share=0.7),
            CorpusRecipe(corpus="sagas", licence="CC0", source="us", share=0.3, role="mix"),
        ],
    )


def test_a_recipe_trains_an_expert_of_ones_own_base(
    base: BaseModel, data: Path, tmp_path: Path
) -> None:
    losses: list[float] = []

    def note(now: TrainingProgress) -> None:
        losses.append(now.loss)

    out = tmp_path / "experts"
    embedder: Any = FakeEmbedder()
    card = train_expert(recipe(), base=base, embedder=embedder, data=data, out=out, progress=note)
    assert losses[-1] < 0.8 * losses[0]
    assert card.base_model == base.name
    assert "Gemma" not in card.licence, "Gemma's terms do not bind what is not made of it"
    assert card.base_note == ""
    assert card.dev_f1 is not None
    assert {t.name for t in card.types} == {"person", "place", "ship"}

    expert = Pool(None, out, base_model=base.name).get("tales")
    adapter = load_adapter(expert.path)
    trained = {name.split("layers.")[1].partition(".")[::2] for name in adapter.modules}
    assert trained == {(layer, p) for layer in "01" for p in PROJECTIONS}
    assert all(float(f.b.float().abs().max()) > 0 for f in adapter.modules.values())
    texts = [text for text, _ in RECORDS]
    with_it = Extractor(base).extract(texts, ["person", "place"], adapter=adapter)
    without = Extractor(base).extract(texts, ["person", "place"])
    assert with_it != without
    for text, spans in zip(texts, with_it, strict=True):
        assert all(text[s.start : s.end].strip() for s in spans)


def test_an_expert_of_another_base_is_trained_anew(data: Path, tmp_path: Path) -> None:
    embedder: Any = FakeEmbedder()
    plan = recipe().model_copy(update={"sentences": 4})
    one, other = tiny.llama(), tiny.llama()
    other.name = "someone/else"
    out = tmp_path / "experts"

    def made(base: BaseModel) -> ExpertCard:
        return train_expert(plan, base=base, embedder=embedder, data=data, out=out, resume=True)

    assert made(one).base_model == one.name
    assert made(other).base_model == other.name
    with pytest.raises(Cancelled):
        train_expert(
            plan, base=one, embedder=embedder, data=data, out=out, resume=True,
            cancelled=lambda: True,
        )  # fmt: skip
    other.name = "a/third"
    with pytest.raises(SamError, match="another recipe, base model or start"):
        made(other)


def test_an_expert_whose_card_is_older_than_a_field_is_left_as_it_is(
    base: BaseModel, data: Path, tmp_path: Path
) -> None:
    plan = recipe()
    options: dict[str, Any] = {"base": base, "embedder": FakeEmbedder(), "data": data}
    train_expert(plan, out=tmp_path / "experts", **options)
    path = tmp_path / "experts" / plan.name / "card.json"
    card = json.loads(path.read_text("utf-8"))
    del card["recipe"]["start"]
    path.write_text(json.dumps(card), "utf-8")
    kept = train_expert(plan, out=tmp_path / "experts", resume=True, **options)
    assert kept == ExpertCard.load(path)
    assert "start" not in kept.recipe
