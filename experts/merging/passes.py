"""Experts at work on texts: what the methods that learn from texts let the model read.

Every expert answers some sentences with grounded decoding; then it reads these sentences with its
own answers once more, teacher-forced, while what its layers see is watched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter
from experts.merging.registry import MergeContext, Parameter

if TYPE_CHECKING:
    from experts.base import BaseModel
    from experts.merging.data import MergeData
    from experts.training import _Target

__all__ = ["SENTENCES", "Passes", "parts", "shared_inputs", "watching"]

_PASS_TOKENS = 512

SENTENCES = Parameter(
    "sentences", "Sentences read", "int", 1, 200, 8,
    "How many sentences each expert reads; more is slower and a little steadier.",
)  # fmt: skip

Item = TypeVar("Item")


class Passes:
    """Answered sentences of every expert, ready to be read again.

    Sentences are an expert's own training sentences where its card has some, else the person's,
    spread evenly; all are asked for the person's types.

    Args:
        adapters: the experts.
        context: of a method that needs texts and has the parameter `SENTENCES`.

    Attributes:
        base, reader: the base model, and what reads it; `plain` if that pads.
        targets: expert → its sentences with its own answers, for `experts.training.packed_loss`.

    Raises:
        SamError: an expert does not fit the base model, or no sentence is short enough.
        Cancelled: the merge's `cancelled` said so.
    """

    def __init__(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        from experts.extract import Extractor
        from experts.reading import reader_of

        assert context.data is not None
        data = context.data
        self.base: BaseModel = data.base
        for adapter in adapters:
            _check_fits(self.base, adapter)
        extractor = Extractor(self.base)
        self.plain = not extractor.packed
        self.reader = reader_of(self.base, packed=extractor.packed)
        self.targets: dict[str, list[_Target]] = {}
        for number, adapter in enumerate(adapters):
            if context.progress is not None:
                message = f"Expert {number + 1} of {len(adapters)} reads your texts"
                context.progress(number, 3 * len(adapters), message)
            texts = _texts(data, adapter.name, int(context.parameters["sentences"]))
            self.targets[adapter.name] = _answered(extractor, adapter, texts, data, context)

    def tokens(self, expert: str) -> int:
        """How many tokens the expert's sentences and answers have, each counted once."""
        return sum(len(target.row.tokens) for target in self.targets[expert])

    def batches(self, expert: str) -> Iterator[list[_Target]]:
        """The expert's sentences in passes of bounded length, one a pass where it must be padded."""
        batch: list[_Target] = []
        size = 0
        for target in self.targets[expert]:
            length = len(target.row.tokens)
            if batch and (self.plain or size + length > _PASS_TOKENS):
                yield batch
                batch, size = [], 0
            batch.append(target)
            size += length
        if batch:
            yield batch

    def read(self, targets: Sequence[_Target]) -> None:
        """One forward pass, for those who watch it."""
        with self.reader.reading():
            self.reader.read_through([target.row for target in targets])

    def kept(self, target: _Target, inputs: Tensor) -> Tensor:
        """A layer's inputs without padding and repetition: one row a token, (tokens, in).

        Args:
            target: the (only, if it was padded) sentence that was read.
            inputs: as the layer got them.
        """
        flat = inputs.detach().reshape(-1, inputs.shape[-1])
        if not self.plain:
            return flat
        row = target.row
        longest = max(len(row.prefix) + len(branch) for branch in row.branches)
        real: list[int] = []
        for number, branch in enumerate(row.branches):
            begin = 0 if number == 0 else len(row.prefix)
            first = number * longest
            real += range(first + begin, first + len(row.prefix) + len(branch))
        return flat[torch.tensor(real, device=flat.device)]


def _check_fits(base: BaseModel, adapter: Adapter) -> None:
    try:
        base.check_fits(adapter.products())
    except SamError as error:
        raise SamError(f"The expert '{adapter.name}': {error.what}", error.hint) from None


def _texts(data: MergeData, expert: str, count: int) -> list[str]:
    texts = data.expert_texts.get(expert) or data.texts
    count = min(count, len(texts))
    return [texts[i * len(texts) // count] for i in range(count)]


def _answered(
    extractor: Any, adapter: Adapter, texts: list[str], data: MergeData, context: MergeContext
) -> list[_Target]:
    """The sentences with what the expert finds in them; those that are too long are left out."""
    from experts.sampling import Question
    from experts.training import build_row

    types = tuple(data.types)
    found = extractor.extract(
        texts, types, adapter=adapter, overlapping=True, cancelled=context.cancelled
    )
    questions = [
        Question(text, types, tuple(tuple(s for s in spans if s.label == t) for t in types))
        for text, spans in zip(texts, found, strict=True)
    ]
    built = [build_row(extractor.prompter, question) for question in questions]
    targets = [target for target in built if target is not None]
    if not targets:
        raise SamError(
            "All sentences are too long to learn from.", "Give texts with shorter sentences."
        )
    return targets


@contextlib.contextmanager
def watching(
    base: BaseModel, modules: Sequence[str], see: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call `see` with the name of each of the modules and its input, whenever it is used."""
    known = dict(base.model.named_modules())

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: see(name, inputs[0])

    with contextlib.ExitStack() as hooks:
        for name in modules:
            hooks.callback(known[name].register_forward_pre_hook(hook(name)).remove)
        yield


def shared_inputs(passes: Passes, modules: Sequence[str]) -> list[list[str]]:
    """Modules grouped by what they read: query, key and value share an input, gate and up, too.

    One sentence is read to see it. Modules that it does not reach stand alone.
    """
    leaders: dict[str, str] = {}
    last: list[tuple[Tensor, str]] = []

    def see(name: str, inputs: Tensor) -> None:
        if not last or last[0][0] is not inputs:
            last[:] = [(inputs, name)]  # held on to, so that no other tensor takes its place
        leaders.setdefault(name, last[0][1])

    target = next(iter(passes.targets.values()))[0]
    with torch.inference_mode(), watching(passes.base, modules, see):
        passes.read([target])
    groups: dict[str, list[str]] = {}
    for name in modules:
        groups.setdefault(leaders.get(name, name), []).append(name)
    return list(groups.values())


def parts(items: Sequence[Item], cost: Mapping[int, int], most: int) -> Iterator[list[Item]]:
    """Cut a list so that each part costs at most `most`, or holds a single item.

    Args:
        cost: position of each item → its cost.
    """
    part: list[Item] = []
    spent = 0
    for position, item in enumerate(items):
        if part and spent + cost[position] > most:
            yield part
            part, spent = [], 0
        part.append(item)
        spent += cost[position]
    if part:
        yield part


def stop_if(cancelled: Callable[[], bool] | None) -> None:
    """Raise `Cancelled` if `cancelled` says so."""
    if cancelled is not None and cancelled():
        raise Cancelled("The merge was cancelled.")
