"""Where a merge computes: one device or several, and which of them suit its size."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from experts.errors import SamError
from experts.merging.adapters import Adapter

__all__ = ["Devices", "cpu_workers", "merge_devices", "parse_devices"]

Devices = torch.device | str | Sequence[torch.device | str] | None
"""One device, several in a sequence or separated by commas ("cuda:0,cuda:1"), or None: the CPU."""

_MEMORY = 2**31  # bytes that all workers of a merge on the CPU may take together
_MERGING = threading.Lock()
_WORTH = 2**26  # numbers in all factors together, below which the way to a GPU costs more


def parse_devices(device: Devices) -> list[torch.device]:
    """The devices that were meant, at least one.

    Raises:
        SamError: one that does not exist by name, none, or devices of several kinds, which would
            not give the same bytes.
    """
    named = device.split(",") if isinstance(device, str) else device
    if named is None or isinstance(named, torch.device):
        named = [named or torch.device("cpu")]
    try:
        devices = [torch.device(one.strip() if isinstance(one, str) else one) for one in named]
    except RuntimeError:
        raise SamError(
            f"There is no device '{device}'.", "Name cpu, mps, cuda, cuda:1 or cuda:0,cuda:1."
        ) from None
    if len({one.type for one in devices}) != 1:
        raise SamError(
            "A merge needs one device or several of one kind.", "Name cuda:0,cuda:1, for example."
        )
    return devices


def merge_devices(setting: str, adapters: Sequence[Adapter]) -> list[torch.device]:
    """Where to merge these experts by a method that reads nothing.

    "auto" takes every CUDA device that has room, if the experts are large; small ones are merged on
    the CPU before a GPU has started.

    Args:
        setting: "auto", or what `parse_devices` takes.
        adapters: the experts.
    """
    if setting != "auto":
        return parse_devices(setting)
    layers = [factors for adapter in adapters for factors in adapter.modules.values()]
    size = sum(factors.a.numel() + factors.b.numel() for factors in layers)
    if size < _WORTH or not torch.cuda.is_available():
        return [torch.device("cpu")]
    largest = max(factors.shape[0] * factors.shape[1] for factors in layers)
    needed = 4 * largest * (len(adapters) + 4)  # bytes, see `merge`
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    roomy = [torch.device("cuda", n) for n, there in enumerate(free) if there > 2 * needed]
    return roomy or [torch.device("cpu")]


@contextmanager
def cpu_workers(needed: int) -> Iterator[int]:
    """Divide torch's threads among workers: how many Python threads should merge layers at once.

    torch's threads meet after every operation, which for the small matrices of a layer takes as
    long as the operation; layers need not wait for each other. On two cores that makes merges one
    and a half times to twice as fast (`benchmarks/merging.py`).

    Args:
        needed: bytes that one worker takes.
    """
    with _MERGING:  # the number of threads belongs to the process
        with ThreadPoolExecutor(1) as fresh:  # an old thread may remember another number
            threads = fresh.submit(torch.get_num_threads).result()
        workers = max(1, min(threads, _MEMORY // max(needed, 1)))
        torch.set_num_threads(threads // workers)
        try:
            yield workers
        finally:
            torch.set_num_threads(threads)
