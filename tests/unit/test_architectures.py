"""Base models of other architectures are read like the model reads itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from experts.base import BaseModel
from experts.extract import Extractor
from experts.merging.adapters import load_adapter
from experts.prompt import Prompter
from tests.unit import tiny
from tests.unit.test_extract import plain_answer

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
READABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {}),
    "qwen2, one layer sliding": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
    ),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, sliding": ("mistral", {"sliding_window": 12}),
    "phi": ("phi", {}),
    "phi3, sliding": ("phi3", {"sliding_window": 12}),
    "gemma2": ("gemma2", {"head_dim": 16, "sliding_window": 12}),
    "gpt_neox": ("gpt_neox", {}),
    "cohere": ("cohere", {"logit_scale": 0.25}),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 200}),
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {"n_layer": 2, "n_head": 2}),
    "falcon with ALiBi": ("falcon", {"alibi": True}),
    "mpt": ("mpt", {"d_model": 32, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2}),
    "mamba": ("mamba", {"state_size": 8}),
}


def make(kind: str, changes: dict[str, Any], tokenizer: Any = None) -> BaseModel:
    """A random model with large weights, so that its answers vary."""
    tokenizer = tokenizer or tiny.byte_level_tokenizer()
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**{"vocab_size": len(tokenizer), **COMMON, **changes})
    model: Any = AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5)
    return BaseModel(f"tiny/{kind}", "tiny", model, tokenizer)


def assert_reads_like_itself(base: BaseModel) -> None:
    texts, types = [tiny.TEXTS[1], tiny.TEXTS[2]], ["gene", "place name"]
    found = Extractor(base).extract(texts, types, overlapping=True)
    for text, spans in zip(texts, found, strict=True):
        for entity_type in types:
            expected = plain_answer(base, text, entity_type)
            mine = [span for span in spans if span.label == entity_type]
            assert [s.key for s in mine] == [s.key for s in expected]
            for a, b in zip(mine, expected, strict=True):
                assert math.isclose(a.score or 0, b.score or 0, rel_tol=1e-2)
    assert any(found)


@pytest.mark.parametrize("name", READABLE)
def test_batched_decoding_equals_plain_decoding(name: str) -> None:
    base = make(*READABLE[name])
    assert Extractor(base).packed
    assert_reads_like_itself(base)


@pytest.mark.parametrize("name", PLAIN)
def test_an_architecture_that_cannot_be_packed_is_read_row_by_row(name: str) -> None:
    base = make(*PLAIN[name])
    assert not Extractor(base).packed
    assert_reads_like_itself(base)


@pytest.mark.parametrize("kind", ["qwen2", "opt", "phi", "mistral"])
def test_an_adapter_by_peft_acts_as_in_peft(kind: str, tmp_path: Path) -> None:
    base = make(*READABLE[kind])
    wrapped: Any = get_peft_model(
        base.model,
        LoraConfig(
            r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        ),
    )
    wrapped.save_pretrained(tmp_path)
    wrapped.unload()
    ids = torch.arange(3, 40)[None]
    adapter = load_adapter(tmp_path)
    deltas = {name: (f.a, f.b * f.scaling) for name, f in adapter.modules.items()}
    with torch.inference_mode(), base.adapted(deltas):
        ours = base.model(ids).logits
    theirs: Any = PeftModel.from_pretrained(base.model, tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(ours, theirs.eval()(ids).logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["gemma", "llama", "gpt2"])
def test_half_precision_on_the_cpu(kind: str, dtype: torch.dtype) -> None:
    base = {"gemma": tiny.gemma, "llama": tiny.llama, "gpt2": tiny.gpt2}[kind]()
    base.model.to(dtype)
    for text, spans in zip(tiny.TEXTS, Extractor(base).extract(tiny.TEXTS, ["gene"]), strict=True):
        assert all(0 < (s.score or 0) <= 1 and text[s.start : s.end].strip() for s in spans)


@pytest.mark.parametrize("missing", ["bos_token", "pad_token"])
def test_a_tokenizer_without_a_special_token(missing: str) -> None:
    given = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    del given[missing]
    backend = tiny.byte_level_tokenizer().backend_tokenizer
    assert_reads_like_itself(
        make("qwen2", {}, PreTrainedTokenizerFast(tokenizer_object=backend, **given))
    )


def test_a_sign_that_the_tokenizer_drops_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    prompter = Prompter(tiny.byte_level_tokenizer())
    known = prompter._ids
    monkeypatch.setattr(prompter, "_ids", lambda piece: () if "\u00ad" in piece else known(piece))
    text = prompter.text("Ada \u00ad met\u00ad")
    assert [text.text[w.start : w.end] for w in text.words] == ["Ada", "met"]
    assert text.first[-1] == len(text.tokens) == len(text.word_of)
    assert text.span(text.first[1], text.first[2], "verb").start == 6
