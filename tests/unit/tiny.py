"""Small randomly initialised models and tokenizers: for mechanics, never for quality."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from experts.base import BaseModel

TEXTS = [
    "The Greens formed a joint list with the Italian Democratic Socialists (SDI).",
    "p53 and BRCA1 are genes; IL-2 is a cytokine.",
    "New York and New Zealand are not the same place as York.",
    "political party: organisation: person: location: gene:",
    "中文 句子 ทดสอบ 日本語のテキスト 👩\u200d👩\u200d👧 é ñ\n\n\t | - * #",
]


@cache
def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, "\n\n", "a\n\nb\n\nc"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


@cache
def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2 and Mistral have it: a space before every text, bytes for unknown characters."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    words = [word for text in TEXTS for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def gemma(seed: int = 0, **changes: object) -> BaseModel:
    """A random Gemma 3 with sliding and full attention layers, float32."""
    torch.manual_seed(seed)
    tokenizer = byte_level_tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        query_pre_attn_scalar=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.6,
        **changes,
    )
    return BaseModel("tiny/gemma", "tiny", Gemma3ForCausalLM(config).eval(), tokenizer)


def llama(seed: int = 0, *, sentencepiece: bool = False) -> BaseModel:
    """A random Llama, float32."""
    torch.manual_seed(seed)
    tokenizer = sentencepiece_tokenizer() if sentencepiece else byte_level_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.6,
        pad_token_id=0,
    )
    return BaseModel("tiny/llama", "tiny", LlamaForCausalLM(config).eval(), tokenizer)


def gpt2(seed: int = 0) -> BaseModel:
    """A random GPT-2: transposed weights, learned positions."""
    torch.manual_seed(seed)
    tokenizer = byte_level_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, initializer_range=0.6
    )
    return BaseModel("tiny/gpt2", "tiny", GPT2LMHeadModel(config).eval(), tokenizer)
