"""LoRA+ training of an expert from a recipe.

Loss on the answer tokens only: cross-entropy among the tokens that grounded decoding may choose from
(those of the batch's sentences and the two line breaks), with a random sample of the vocabulary
mixed in so that free generation keeps its footing. The output layer, two thirds of a small model's
work, thereby nearly vanishes.

Source of the optimizer: LoRA+, arXiv 2402.12354 (B learns `lora_plus_ratio` times as fast as A).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file

from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead
from experts.merging.adapters import Adapter, content_hash
from experts.packing import PackedRow, pack
from experts.prompt import Prompter
from experts.reading import Reader, reader_of
from experts.recipes import TrainingRecipe
from experts.sampling import Question, Questions
from experts.starting import put_into
from experts.support import can_read_packed

__all__ = ["TrainingProgress", "packed_loss", "train_adapter"]

log = logging.getLogger(__name__)

_MICRO_TOKENS = 512  # tokens a forward pass: bounds the memory of a step and the width of masks
_MAX_ROW = 480
_SAMPLED_VOCABULARY = 1024
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a training run stands; `seconds_left` is an estimate from the run so far."""

    step: int
    steps: int
    loss: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class _Target:
    row: PackedRow
    predict: list[int]  # indices of tokens whose successor is an answer token


def build_row(prompter: Prompter, question: Question) -> _Target | None:
    """Pack a question with its answers; ``None`` if the sentence alone is too long."""
    text = prompter.text(question.text)
    prefix = prompter.prefix(text)
    branches: list[list[int]] = []
    asked: list[int] = []
    size = len(prefix)
    for entity_type, spans in zip(question.types, question.answers, strict=True):
        query = prompter.query(entity_type)
        branch = [*query, *prompter.answer(text, spans)]
        if size + len(branch) > _MAX_ROW:
            break
        size += len(branch)
        branches.append(branch)
        asked.append(len(query))
    if not branches:
        return None
    row = pack(prefix, branches)
    predict = [
        i
        for (begin, end), query_length in zip(row.bounds, asked, strict=True)
        for i in range(begin + query_length - 1, end - 1)
    ]
    return _Target(row, predict)


def packed_loss(
    reader: Reader,
    head: CandidateHead,
    targets: Sequence[_Target],
    generator: torch.Generator,
) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy of the answers of some packed rows, and the number of answer tokens."""
    rows = [target.row.tokens for target in targets]
    offsets = accumulate(map(len, rows), initial=0)
    where = [o + i for o, target in zip(offsets, targets, strict=False) for i in target.predict]
    with reader.reading():
        hidden = reader.read_through([target.row for target in targets])
    tokens = torch.tensor([*chain.from_iterable(rows)], device=hidden.device)
    index = torch.tensor(where, device=hidden.device)
    sample = torch.randint(head.vocabulary, (_SAMPLED_VOCABULARY,), generator=generator)
    candidates = torch.unique(torch.cat([tokens, sample.to(hidden.device)]))
    logits = head.logits(hidden[index], candidates)
    loss = torch.nn.functional.cross_entropy(
        logits, torch.searchsorted(candidates, tokens[index + 1]), reduction="sum"
    )
    return loss, len(where)


def _micro_batches(targets: list[_Target]) -> list[list[_Target]]:
    """Cut a step into forward passes of bounded length."""
    groups: list[list[_Target]] = [[]]
    size = 0
    for target in targets:
        length = target.row.bounds[-1][1]
        if groups[-1] and size + length > _MICRO_TOKENS:
            groups.append([])
            size = 0
        groups[-1].append(target)
        size += length
    return groups


def _rate(step: int, steps: int, warmup: float) -> float:
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class _Checkpoint:
    """Adapter, optimizer and step in one folder, replaced as a whole."""

    def __init__(
        self, folder: Path, recipe: TrainingRecipe, base: str, start: Adapter | None
    ) -> None:
        self.folder = folder
        self._made_of = {"recipe": recipe.model_dump_json(), "base": base}
        if start is not None:
            self._made_of["start"] = content_hash(start)

    def save(self, step: int, model: Any, optimizer: Any, loss: float, seconds: float) -> None:
        work = self.folder.with_suffix(".part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        save_file(_trainable(model), work / "adapter.safetensors")
        torch.save(optimizer.state_dict(), work / "optimizer.pt")
        state = {"step": step, "loss": loss, "seconds": seconds, **self._made_of}
        (work / "state.json").write_text(json.dumps(state), "utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(work, self.folder)

    def load(self, model: Any, optimizer: Any) -> tuple[int, float, float]:
        """Restore and return (next step, loss, seconds spent); zeros where there is nothing."""
        state_file = self.folder / "state.json"
        if not state_file.is_file():
            return 0, 0.0, 0.0
        state = json.loads(state_file.read_text("utf-8"))
        if {key: state.get(key) for key in self._made_of} != self._made_of:
            raise SamError(
                f"The checkpoint in {self.folder} belongs to another recipe, base model or start.",
                "Train without --resume to start anew, or restore the recipe.",
            )
        weights = load_file(self.folder / "adapter.safetensors")
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)
        optimizer.load_state_dict(torch.load(self.folder / "optimizer.pt", weights_only=True))
        return int(state["step"]), float(state["loss"]), float(state["seconds"])


def _trainable(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().cpu() for n, p in model.named_parameters() if p.requires_grad}


def train_adapter(
    base: BaseModel,
    recipe: TrainingRecipe,
    sampler: Questions,
    out: Path,
    *,
    start: Adapter | None = None,
    until: int | None = None,
    watch: Callable[[int], None] | None = None,
    resume: bool = False,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, float]:
    """Train a LoRA adapter and save it in PEFT's format (bfloat16 safetensors).

    Args:
        base: the base model; unchanged afterwards.
        recipe, sampler: what to train and on what.
        out: folder for ``adapter_config.json`` and ``adapter_model.safetensors``.
        start: an adapter of this base model to go on from (`experts.starting.put_into`).
        until: stop after so many of the recipe's steps; rates are those of the whole run.
        watch: called with the number of steps done after each of them, while the base model
            computes with the adapter as it is then.
        resume: continue from the checkpoint if there is one.
        checkpoint: its folder; by default ``.checkpoint`` in `out`.
        progress: called about every ten steps.
        cancelled: asked at every step; a checkpoint is written before stopping.

    Returns:
        ``{"steps", "loss", "seconds"}``; loss is the mean of the last tenth, in nats a token.

    Raises:
        SamError: if the base model's architecture is not supported, or `start` is of another.
        Cancelled: if `cancelled` said so.
    """
    if base.quantization:
        raise SamError(
            f"A base model in {base.quantization} cannot be trained on.",
            "Set SAM_DTYPE=auto for training; its experts work in every format.",
        )
    packed = can_read_packed(base, Prompter(base.tokenizer))
    torch.manual_seed(recipe.seed)
    model: Any = get_peft_model(
        base.model,
        LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,  # type: ignore[arg-type]
            lora_dropout=recipe.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    try:
        if start is not None:
            put_into(model, start)
        # Made of the wrapped model's own modules, which train.
        reader = reader_of(base, packed=packed)
        kept = _Checkpoint(checkpoint or out / ".checkpoint", recipe, base.name, start)
        run = _Run(base, model, reader, recipe, sampler, kept, resume)
        end = run.steps if until is None else min(until, run.steps)
        result = run.loop(
            end,
            watch or (lambda _: None),
            progress or (lambda _: None),
            cancelled or (lambda: False),
        )
        _save(model, base, out)
        shutil.rmtree(run.checkpoint.folder, ignore_errors=True)
        return result
    finally:
        model.unload()


class _Run:
    def __init__(
        self,
        base: BaseModel,
        model: Any,
        reader: Reader,
        recipe: TrainingRecipe,
        sampler: Questions,
        checkpoint: _Checkpoint,
        resume: bool,
    ) -> None:
        self.base, self.model, self.recipe, self.sampler = base, model, recipe, sampler
        self.prompter = Prompter(base.tokenizer)
        self.reader = reader
        self.head = CandidateHead(base.model)
        self.optimizer = create_loraplus_optimizer(
            model,
            optimizer_cls=torch.optim.AdamW,
            lr=recipe.learning_rate,
            loraplus_lr_ratio=recipe.lora_plus_ratio,
            weight_decay=0.0,
            betas=(0.9, 0.99),
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.steps = math.ceil(recipe.sentences / recipe.batch)
        self.checkpoint = checkpoint
        self.start, self.loss, self.spent = (
            self.checkpoint.load(model, self.optimizer) if resume else (0, 0.0, 0.0)
        )

    def loop(
        self,
        end: int,
        watch: Callable[[int], None],
        progress: Callable[[TrainingProgress], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, float]:
        began = saved = time.monotonic()
        before = self.spent
        self.model.train()
        for step in range(self.start, end):
            if cancelled():
                self._save_checkpoint(step)
                raise Cancelled
            loss = self._step(step)
            keep = 1 - 10 / max(self.steps, 20)
            self.loss = loss if step == 0 else keep * self.loss + (1 - keep) * loss
            now = time.monotonic()
            self.spent = before + now - began
            if now - saved > _CHECKPOINT_SECONDS:
                self._save_checkpoint(step + 1)
                saved = now
            watch(step + 1)
            if step % 10 == 9 or step + 1 == end:
                left = (now - began) / (step + 1 - self.start) * (end - step - 1)
                progress(TrainingProgress(step + 1, end, self.loss, self.spent, left))
        self.model.eval()
        return {"steps": float(end), "loss": self.loss, "seconds": self.spent}

    def _save_checkpoint(self, step: int) -> None:
        self.checkpoint.save(step, self.model, self.optimizer, self.loss, self.spent)

    def _step(self, step: int) -> float:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * _rate(step, self.steps, self.recipe.warmup)
        questions = self.sampler.step(step, self.recipe.batch)
        built = (build_row(self.prompter, question) for question in questions)
        targets = [target for target in built if target is not None]
        total = sum(len(target.predict) for target in targets)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        summed = 0.0
        for part in _micro_batches(targets):
            loss, _ = packed_loss(self.reader, self.head, part, generator)
            (loss / total).backward()
            summed += float(loss.detach())
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return summed / max(total, 1)


def _save(model: Any, base: BaseModel, out: Path) -> None:
    work = out / ".adapter"
    shutil.rmtree(work, ignore_errors=True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = base.name
    model.save_pretrained(work, save_embedding_layers=False)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        os.replace(work / name, out / name)
    shutil.rmtree(work, ignore_errors=True)
