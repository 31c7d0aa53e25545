"""Merging on several devices: the same bytes, progress, cancelling, errors; where to merge."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import pytest
import torch

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter
from experts.merging.devices import merge_devices, parse_devices
from experts.merging.linear import Linear
from experts.merging.merge import merge
from experts.merging.registry import MergeContext, MergedModule, ModuleInputs
from tests.unit.merging_support import random_adapter, recipe_for

LAYERS = {f"layers.{i}.{name}": (12 + i, 10) for i in range(6) for name in ("q", "k")}
WEIGHTS = {"a": 0.5, "b": 0.3, "c": -0.2}


def experts() -> list[Adapter]:
    return [random_adapter(name, seed, shapes=LAYERS) for seed, name in enumerate(WEIGHTS)]


def same_bytes(one: Adapter, other: Adapter) -> bool:
    return list(one.modules) == list(other.modules) and all(
        torch.equal(f.a, other.modules[name].a) and torch.equal(f.b, other.modules[name].b)
        for name, f in one.modules.items()
    )


@pytest.mark.parametrize("method", ["linear", "dare_ties", "core_ties", "iso_cts", "wudi"])
@pytest.mark.parametrize("devices", ["cpu, cpu", ["cpu", torch.device("cpu"), "cpu"]])
def test_several_devices_give_the_bytes_of_one(method: str, devices: str | list[str]) -> None:
    recipe = recipe_for(WEIGHTS, method=method, rank=4)
    told: list[tuple[int, int]] = []
    one = merge(recipe, experts())
    many = merge(
        recipe, experts(), device=devices, progress=lambda done, of, _: told.append((done, of))
    )
    assert same_bytes(one.adapter, many.adapter)
    assert one.per_module == many.per_module
    assert list(many.per_module) == list(one.per_module)
    assert told == sorted(told)
    assert told[-1] == (len(LAYERS), len(LAYERS))


def test_every_device_takes_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(2, timeout=30)
    workers: set[int] = set()
    real = Linear.merge_group

    def together(
        self: Linear, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            meet.wait()  # neither goes on before both have a group
        return real(self, group, context)

    monkeypatch.setattr(Linear, "merge_group", together)
    merge(recipe_for(WEIGHTS), experts(), device="cpu,cpu")
    assert len(workers) == 2


def test_cancelling_ends_all_devices() -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    before = threading.active_count()
    with pytest.raises(Cancelled):
        merge(recipe_for(WEIGHTS), experts(), device="cpu,cpu", cancelled=cancelled)
    assert threading.active_count() == before


def test_an_error_on_one_device_is_told() -> None:
    broken = experts()
    name = "layers.3.q"
    huge = broken[0].modules[name]
    broken[0].modules[name] = dataclasses.replace(huge, scaling=float("inf"))
    with pytest.raises(SamError, match=r"layers\.3\.. that are too large"):
        merge(recipe_for(WEIGHTS), broken, device="cpu,cpu")


@pytest.mark.parametrize("given", ["cpu,cuda:0", [], "gpu", "", ["cpu", "nowhere"]])
def test_devices_that_make_no_sense_are_refused(given: str | list[str]) -> None:
    with pytest.raises(SamError):
        parse_devices(given)


def test_where_to_merge() -> None:
    cpu = torch.device("cpu")
    assert parse_devices(None) == parse_devices(cpu) == [cpu]
    assert parse_devices("cuda:0, cuda:1") == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert merge_devices("auto", experts()) == [cpu]  # small: not worth a GPU
    assert merge_devices("cuda:1", experts()) == [torch.device("cuda:1")]


def test_auto_takes_all_gpus_with_room_for_large_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [40 * 2**30, 2**20, 40 * 2**30]  # bytes; the second is full
    monkeypatch.setattr("experts.merging.devices._WORTH", 100)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free[number], 80 * 2**30))
    large = [random_adapter("a", 1, shapes={"q": (2000, 1000)})]
    assert merge_devices("auto", large) == [torch.device("cuda", 0), torch.device("cuda", 2)]
    free[:] = [0, 0, 0]
    assert merge_devices("auto", large) == [torch.device("cpu")]
