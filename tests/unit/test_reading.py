"""Reading packed, and several adapters side by side."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.arena import Arena
from experts.errors import Cancelled, SamError
from experts.extract import Extractor
from experts.merging.adapters import Adapter
from experts.reading import PackedReader, PlainReader, Prefix, Reader, Row
from experts.stack import AdapterStack
from tests.unit import tiny
from tests.unit.test_extract import TYPES, random_adapter


@pytest.mark.parametrize("make", [tiny.gemma, tiny.llama, tiny.gpt2])
def test_adapters_side_by_side_answer_as_one_after_the_other(make: type) -> None:
    base = make()
    adapters = [a for a in (random_adapter(base, seed) for seed in range(3)) if a.modules]
    adapters = adapters or [Adapter("none", base.name, {})] * 2
    extractor = Extractor(base)
    seen: list[tuple[int, int]] = []
    found = extractor.extract_each(
        tiny.TEXTS, TYPES, adapters, progress=lambda *now: seen.append(now)
    )
    expected = [extractor.extract(tiny.TEXTS, TYPES, adapter=adapter) for adapter in adapters]
    assert [[[s.key for s in spans] for spans in each] for each in found] == [
        [[s.key for s in spans] for spans in each] for each in expected
    ]
    total = len(adapters) * len(tiny.TEXTS)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_side_by_side_edges() -> None:
    extractor = Extractor(tiny.gemma())
    assert extractor.extract_each(tiny.TEXTS, TYPES, []) == []
    adapter = random_adapter(extractor.base, 0)
    assert extractor.extract_each(["", " "], TYPES, [adapter]) == [[[], []]]
    with pytest.raises(Cancelled):
        extractor.extract_each(tiny.TEXTS, TYPES, [adapter], cancelled=lambda: True)
    with pytest.raises(SamError, match="No entity types"):
        extractor.extract_each(tiny.TEXTS, [], [adapter])
    with pytest.raises(SamError, match="the base model does not have"):
        Extractor(tiny.gpt2()).extract_each(["a"], TYPES, [adapter])
    assert not extractor.base.model.model.layers[0].self_attn.q_proj._forward_hooks


def test_weights_of_a_stack_are_the_exact_linear_merge() -> None:
    base = tiny.gemma()
    deltas = [random_adapter(base, seed).products() for seed in range(3)]
    weights = [0.5, -0.25, 1.5]
    ids = torch.arange(3, 30)[None]
    merged = {
        name: (
            torch.cat([d[name][0] for d in deltas]),
            torch.cat([w * d[name][1] for w, d in zip(weights, deltas, strict=True)], 1),
        )
        for name in deltas[0]
    }
    with torch.inference_mode():
        with base.adapted(merged):
            expected = base.model(ids).logits
        stack = AdapterStack(base, deltas)
        with stack.attached():
            stack.weigh([1.0, 0.0, 0.0])
            one = base.model(ids).logits
            stack.weigh(weights)
            mine = base.model(ids).logits
        with base.adapted(deltas[0]):
            torch.testing.assert_close(one, base.model(ids).logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-3)


@given(
    prefixes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    lengths=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=4, max_size=4),
    more=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_a_packed_reader_reads_what_a_plain_one_reads(
    prefixes: list[int], lengths: list[list[int]], more: list[int]
) -> None:
    """Texts of any lengths, whose branches go on at their own pace, some of them ending early."""
    base = _BASE
    generator = torch.Generator().manual_seed(sum(prefixes))

    def tokens(count: int) -> list[int]:
        return torch.randint(3, 300, (count,), generator=generator).tolist()

    plan = [(tokens(p), [tokens(n) for n in ns]) for p, ns in zip(prefixes, lengths, strict=False)]
    later = [tokens(n) for n in more]

    def hidden(reader: Reader) -> list[torch.Tensor]:
        rows: list[Row] = []
        for prefix_tokens, branches in plan:
            prefix = Prefix(prefix_tokens)
            rows += [Row(prefix, list(branch)) for branch in branches]
        with torch.inference_mode(), reader.reading():
            states = [*reader.read(rows)]
            going = []
            for row, next_tokens in zip(rows, later, strict=False):
                if next_tokens:
                    row.pending = list(next_tokens)
                    row.draft = 7 if len(next_tokens) != 2 else None
                    going.append(row)
                else:
                    reader.release(row)
            if going:
                states += reader.read(going)
                for row, next_tokens in zip(rows, later, strict=False):
                    if len(next_tokens) == 1:
                        reader.retract(row)
                    row.pending = [9, 10] if row in going else []
                states += reader.read(going)
        return states

    for mine, theirs in zip(hidden(PackedReader(base)), hidden(PlainReader(base)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


_BASE = tiny.gemma()


def test_slots_are_used_again() -> None:
    arena = Arena(_BASE.model)
    first = arena.allocate(700)
    second = arena.allocate(700)
    assert len({*first, *second}) == 1400
    arena.release(first)
    third = arena.allocate(700)
    assert not {*third} & {*second}
    assert max(*second, *third) < 2048
    assert arena.allocate(0) == []
    assert len(set(arena.allocate(5000))) == 5000


def test_attention_goes_back_to_normal_after_an_error() -> None:
    before = _BASE.model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), PackedReader(_BASE).reading():
        raise ZeroDivisionError
    assert _BASE.model.config._attn_implementation == before
