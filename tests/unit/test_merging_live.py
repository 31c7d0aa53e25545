"""Live weights: the same as the merge, changed between passes and never within one."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch

from experts.base import BaseModel
from experts.errors import SamError
from experts.extract import Extractor
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.live import LiveMerge
from experts.merging.merge import merge
from tests.unit import tiny
from tests.unit.merging_support import dense_sum, relative_error

TEXTS = ["The Greens formed a joint list with the SDI.", "New York and York are not the same."]
TYPES = ["person", "political party"]
BASES = {"gemma": tiny.gemma, "llama": tiny.llama, "gpt2": tiny.gpt2}


def expert(base: BaseModel, name: str, seed: int, *, rank: int = 2, every: int = 1) -> Adapter:
    """A random adapter of every linear layer below the output, or of every second one."""
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    layers = [
        (path, module)
        for path, module in base.model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and not path.endswith("lm_head")
    ]
    for path, module in layers[::every]:
        rows, columns = module.weight.shape  # type: ignore[union-attr,misc]
        out, into = (columns, rows) if type(module).__name__ == "Conv1D" else (rows, columns)
        modules[path] = LoraFactors(
            a=torch.randn(rank, into, generator=generator) * 0.4,  # type: ignore[arg-type]
            b=torch.randn(out, rank, generator=generator) * 0.4,  # type: ignore[arg-type]
            scaling=0.5 + seed,
        )
    return Adapter(name, "tiny", modules)


def three(base: BaseModel) -> list[Adapter]:
    return [expert(base, "a", 1), expert(base, "b", 2, rank=3), expert(base, "c", 3, every=2)]


def logits(base: BaseModel) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = base.model(torch.arange(20)[None] % 40).logits
    return result


@pytest.mark.parametrize("kind", BASES)
def test_any_weights_are_the_merge_with_these_weights(kind: str) -> None:
    base = BASES[kind]()
    adapters = three(base)
    live = LiveMerge(base, adapters)
    extractor = Extractor(base)
    plain = logits(base)
    for weights in ({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 1.0}, {"b": -0.4, "c": 1.5}):
        live.weigh(weights)
        frozen = live.freeze()
        with live.attached():
            got = logits(base)
        with base.adapted(frozen.adapter.products()):
            wanted = logits(base)
        assert relative_error(got, wanted) < 1e-4
        assert relative_error(got, plain) > 1e-3
        found = live.extract(extractor, TEXTS, TYPES)
        merged = extractor.extract(TEXTS, TYPES, adapter=frozen.adapter)
        assert [[s.key for s in spans] for spans in found] == [
            [s.key for s in spans] for spans in merged
        ]
        for one, two in zip(found, merged, strict=True):
            assert [s.score for s in one] == pytest.approx([s.score for s in two], rel=1e-2)
    assert torch.equal(logits(base), plain)  # nothing is left behind


def test_weights_of_one_call_do_not_change_those_that_are_set() -> None:
    base = tiny.gemma()
    live = LiveMerge(base, three(base))
    assert live.weights == dict.fromkeys("abc", pytest.approx(1 / 3))
    live.weigh({"a": 1.0})
    assert live.weights == {"a": 1.0, "b": 0.0, "c": 0.0}
    extractor = Extractor(base)
    for_once = live.extract(extractor, TEXTS, TYPES, weights={"b": 2.0})
    assert live.weights["b"] == 0.0
    live.weigh({"b": 2.0})
    assert live.extract(extractor, TEXTS, TYPES) == for_once


def test_a_pass_keeps_the_weights_that_it_began_with() -> None:
    base = tiny.llama()
    live = LiveMerge(base, three(base))
    old, new = {"a": 1.0}, {"b": 1.5, "c": -1.0}
    with live.attached():
        live.weigh(new)
        with_new = logits(base)
        live.weigh(old)
        with_old = logits(base)

        def change(*_: Any) -> None:
            live.weigh(new)

        # The change comes when the first layer has been read and the second has not.
        handle = base.model.model.layers[0].register_forward_hook(change)
        assert torch.equal(logits(base), with_old)
        handle.remove()
        assert torch.equal(logits(base), with_new)
    assert not torch.allclose(with_old, with_new)


def test_weights_may_come_from_another_thread_at_any_time() -> None:
    base = tiny.llama()
    live = LiveMerge(base, three(base))
    choices: list[dict[str, float]] = [{"a": 1.0}, {"b": 1.5, "c": -1.0}, {"a": -0.5, "b": 0.5}]
    expected = []
    with live.attached():
        for weights in choices:
            live.weigh(weights)
            expected.append(logits(base))
        stop = threading.Event()

        def turn() -> None:
            number = 0
            while not stop.is_set():
                live.weigh(choices[number % 3])
                number += 1

        threads = [threading.Thread(target=turn) for _ in range(2)]
        for thread in threads:
            thread.start()
        seen = set()
        deadline = time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < deadline:
            got = logits(base)
            matches = [i for i, wanted in enumerate(expected) if torch.equal(got, wanted)]
            assert len(matches) == 1  # one of the three, never a mixture
            seen.add(matches[0])
        stop.set()
        for thread in threads:
            thread.join()
    assert len(seen) > 1


def test_an_extraction_reads_with_one_set_of_weights() -> None:
    base = tiny.gemma()
    live = LiveMerge(base, three(base))
    extractor = Extractor(base)
    live.weigh({"a": 1.0})
    wanted = live.extract(extractor, TEXTS * 3, TYPES)

    def change(_done: int, _total: int) -> None:
        live.weigh({"c": 2.0})

    live.weigh({"a": 1.0})
    assert live.extract(extractor, TEXTS * 3, TYPES, progress=change) == wanted
    assert live.weights["c"] == 2.0


def test_a_change_of_weights_takes_less_than_5_ms() -> None:
    base = tiny.gemma()
    live = LiveMerge(base, three(base))
    times = []
    for step in range(20):
        started = time.perf_counter()
        live.weigh({"a": 0.05 * step, "b": 0.5})
        times.append(time.perf_counter() - started)
    assert min(times) < 0.005


def test_freezing_says_what_a_rank_costs() -> None:
    base = tiny.gemma()
    adapters = three(base)
    live = LiveMerge(base, adapters)
    live.weigh({"a": 0.6, "b": 0.4})
    full = live.freeze()
    assert full.retained_energy == pytest.approx(1.0)
    for module, factors in full.adapter.modules.items():
        wanted = dense_sum(adapters, [0.6, 0.4, 0.0], module)
        assert relative_error(factors.delta(), wanted) < 1e-5
    cut = live.freeze(rank=2)
    assert cut.adapter.rank == 2
    assert 0.2 < cut.retained_energy < 0.99
    assert cut.retained_energy == merge(live.recipe(2), adapters).retained_energy
    assert set(cut.per_module) == set(full.adapter.modules)


def test_what_does_not_fit_is_refused() -> None:
    base = tiny.gemma()
    with pytest.raises(SamError, match="no expert to weigh"):
        LiveMerge(base, [])
    with pytest.raises(SamError, match="Two adapters are named 'a'"):
        LiveMerge(base, [expert(base, "a", 1), expert(base, "a", 2)])
    with pytest.raises(SamError, match="which the base model does not have"):
        LiveMerge(base, [expert(tiny.gpt2(), "a", 1)])
    live = LiveMerge(base, three(base))
    live.weigh({"a": 0.7})
    with pytest.raises(SamError, match="'d' is not loaded") as raised:
        live.weigh({"d": 1.0})
    assert "a, b, c" in raised.value.hint
    with pytest.raises(SamError, match="not a number"):
        live.weigh({"a": float("nan")})
    assert live.weights["a"] == 0.7  # nothing was changed
    live.weigh({})
    with pytest.raises(SamError, match="weight 0"):
        live.freeze()
