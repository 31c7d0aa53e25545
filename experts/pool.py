"""The pool: the experts on hand. Bundled ones are read only; a person's own live in a user folder.

Experts are added and removed at any time, without training anything.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import lzma
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experts.card import ExpertCard
from experts.errors import SamError

__all__ = ["Expert", "Pool"]

log = logging.getLogger(__name__)

CARD = "card.json"
EXEMPLARS = "exemplars.safetensors"
_FILES = ("adapter_config.json", "adapter_model.safetensors", CARD)
_ZIP_LIMIT = 2_000_000_000  # bytes unpacked


@dataclass(frozen=True)
class Expert:
    """One expert of the pool: a folder with an adapter in PEFT's format and a card."""

    name: str
    path: Path
    card: ExpertCard
    bundled: bool

    def exemplar_vectors(self) -> npt.NDArray[np.float32]:
        """Unit-norm vectors of the card's exemplars, float32, shape (n, d); (0, 0) if it has none."""
        from safetensors.numpy import load_file

        path = self.path / EXEMPLARS
        if not path.is_file():
            return np.zeros((0, 0), np.float32)
        return load_file(path)["vectors"].astype(np.float32)


def _stamp(path: Path | str) -> tuple[int, int]:
    """Time of change in nanoseconds, and size."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


class Pool:
    """Experts of one base model in a bundled folder and a person's own folder.

    Args:
        bundled: folder of the experts that come with SaM; may be missing.
        own: folder of added experts; made when the first is added.
        base_model: hub id that an expert must name as its base; ``None`` for any.
        shapes: gives the base model's linear layers, path → (out, in), which an added expert must
            fit; ``None`` to leave that to the first use.
    """

    def __init__(
        self,
        bundled: Path | None,
        own: Path,
        *,
        base_model: str | None = None,
        shapes: Callable[[], Mapping[str, tuple[int, int]]] | None = None,
    ) -> None:
        self._bundled, self._own, self._base_model = bundled, own, base_model
        self._shapes = shapes
        self._read: dict[Path, tuple[tuple[int, int], ExpertCard]] = {}

    def list(self) -> list[Expert]:
        """All experts, sorted by name; a person's own takes the place of a bundled one.

        An expert whose card cannot be read is left out, with a warning in the log, so that one
        damaged file does not take the others away.
        """
        found: dict[str, Expert] = {}
        for folder, bundled in ((self._bundled, True), (self._own, False)):
            for card in sorted(folder.glob(f"*/{CARD}")) if folder else ():
                if card.parent.name.startswith("."):
                    continue
                try:
                    known = self._card(card)
                except SamError as error:
                    log.warning("%s %s", error.what, error.hint)
                    continue
                expert = Expert(card.parent.name, card.parent, known, bundled)
                if self._base_model in (None, expert.card.base_model):
                    found[expert.name] = expert
        return [found[name] for name in sorted(found)]

    def _card(self, path: Path) -> ExpertCard:
        """The card at `path`, read again only when the file has changed: a page of the interface
        asks for all of them many times, and with 200 experts that is a second.
        """
        try:
            state = _stamp(path)
        except OSError:
            return ExpertCard.load(path)  # says what is wrong
        kept = self._read.get(path)
        if kept is None or kept[0] != state:
            kept = (state, ExpertCard.load(path))
            self._read[path] = kept
        return kept[1]

    def state(self) -> Mapping[str, tuple[int, int]]:
        """Path of each card → its time of change in nanoseconds and its size.

        Another state means another pool; it takes milliseconds where `list` takes a second.
        """
        seen: dict[str, tuple[int, int]] = {}
        for folder in filter(None, (self._bundled, self._own)):
            if not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    card = os.path.join(entry.path, CARD)
                    with contextlib.suppress(OSError):
                        seen[card] = _stamp(card)
        return seen

    def get(self, name: str) -> Expert:
        """One expert by name.

        Raises:
            SamError: if there is none, with the nearest names; if its card is damaged or it belongs
            to another base model.
        """
        experts = {expert.name: expert for expert in self.list()}
        if name in experts:
            return experts[name]
        for folder in filter(None, (self._own, self._bundled)):
            if Path(name).name == name and (folder / name / CARD).is_file():
                self._check_base(ExpertCard.load(folder / name / CARD))  # why it is not listed
        near = difflib.get_close_matches(name, experts, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`sam-ui experts list` names all."
        raise SamError(f"There is no expert named {name!r} in the pool.", hint)

    def add(self, source: Path) -> Expert:
        """Copy an expert from a folder or a zip into the person's own folder.

        Everything is checked before the pool changes: the card, the base model, the adapter's
        shapes and numbers, features of PEFT that merging does not support.

        Raises:
            SamError: naming what is wrong.
        """
        if not source.exists():
            raise SamError(f"There is no file or folder {source}.", "Check the path.")
        self._own.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=self._own) as temporary:
            work = Path(temporary) / "expert"
            work.mkdir()
            _unpack(source, work) if source.is_file() else _copy(source, work)
            card = self._check(work, str(source))
            target = self._own / card.name
            if target.exists() or card.name in {e.name for e in self.list()}:
                raise SamError(
                    f"An expert named {card.name!r} is already in the pool.",
                    f"Remove it first: sam-ui experts remove {card.name}.",
                )
            os.replace(work, target)
        return self.get(card.name)

    def _check(self, folder: Path, source: str) -> ExpertCard:
        from experts.merging.adapters import content_hash, load_adapter

        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise SamError(
                f"{source} is not an expert: it has no {' and no '.join(missing)}.",
                "An expert is a folder or zip with " + ", ".join(_FILES) + ".",
            )
        card = ExpertCard.load(folder / CARD)
        self._check_base(card)
        _check_domain(folder, card)
        adapter = load_adapter(
            folder,
            name=card.name,
            expected_base=card.base_model,
            expected_shapes=self._shapes() if self._shapes else None,
        )
        if card.hash and card.hash != content_hash(adapter):
            raise SamError(
                f"The adapter of {card.name!r} is not the one that its card describes.",
                "Get the expert again from its source: the file was changed or damaged.",
            )
        return card

    def _check_base(self, card: ExpertCard) -> None:
        if self._base_model is not None and card.base_model != self._base_model:
            raise SamError(
                f"The expert {card.name!r} was trained on {card.base_model}, this pool's base "
                f"model is {self._base_model}.",
                "Start SaM with SAM_BASE_MODEL set to the expert's base model to use it.",
            )

    def remove(self, name: str) -> None:
        """Remove one of the person's own experts.

        Raises:
            SamError: if it does not exist or came with SaM.
        """
        folder = self._own / name
        if Path(name).name != name or not (folder / CARD).is_file():  # a damaged one may go, too
            self.get(name)
            raise SamError(
                f"The expert {name!r} came with SaM and cannot be removed.",
                "Switch it off in the Match step instead.",
            )
        gone = self._own / f".removed-{name}"
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(folder, gone)  # at once for readers, whatever the deletion takes
        shutil.rmtree(gone, ignore_errors=True)

    def means(self, experts: Sequence[Expert], embedder: str) -> npt.NDArray[np.float32]:
        """Domain means as one matrix, float32, shape (len(experts), d).

        Raises:
            SamError: naming an expert whose card has the mean of another embedding model.
        """
        for expert in experts:
            if expert.card.embedder != embedder:
                raise SamError(
                    f"The card of {expert.name!r} was made with the embedder "
                    f"{expert.card.embedder or 'none'}, SaM runs {embedder}.",
                    "Set SAM_EMBEDDER to the card's, or train the expert again.",
                )
        return np.asarray([expert.card.mean for expert in experts], dtype=np.float32)


def _check_domain(folder: Path, card: ExpertCard) -> None:
    """Refuse domain vectors that do not belong together; a card may have none."""
    from safetensors import SafetensorError

    try:
        vectors = Expert(card.name, folder, card, bundled=False).exemplar_vectors()
        count, width = vectors.shape
        whole = len(vectors) in (0, len(card.exemplars)) and bool(np.isfinite(vectors).all())
    except (SafetensorError, KeyError, ValueError):
        count, width, whole = 0, 0, False
    fits = not count or not card.mean or width == len(card.mean)
    if not (whole and fits and np.isfinite(card.mean).all()):
        raise SamError(
            f"The domain of {card.name!r} is damaged: {EXEMPLARS} and {CARD} do not fit.",
            "Get the expert again from its source, or train it again.",
        )


def _copy(source: Path, work: Path) -> None:
    for name in (*_FILES, EXEMPLARS):
        if (source / name).is_file():
            shutil.copyfile(source / name, work / name)


def _members(archive: zipfile.ZipFile, source: Path) -> Iterable[Any]:
    members = [m for m in archive.infolist() if not m.is_dir()]
    for member in members:
        path = Path(member.filename)
        linked = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or linked:
            raise SamError(
                f"{source} holds the entry {member.filename!r}, which points outside the archive.",
                "Use a zip that holds only the expert's files.",
            )
    if sum(member.file_size for member in members) > _ZIP_LIMIT:
        raise SamError(
            f"{source} unpacks to over 2 GB.", "An expert is far smaller; check the file."
        )
    return members


def _unpack(source: Path, work: Path) -> None:
    """Take the known files out of a zip, from its root or its only folder."""
    try:
        with zipfile.ZipFile(source) as archive:
            for member in _members(archive, source):
                path = Path(member.filename)
                if path.name in (*_FILES, EXEMPLARS) and len(path.parts) <= 2:
                    with archive.open(member) as packed, (work / path.name).open("wb") as out:
                        shutil.copyfileobj(packed, out, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, EOFError):
        raise SamError(f"{source} is not a zip file.", "Give a folder or a zip.") from None
    except (RuntimeError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise SamError(
            f"{source} cannot be unpacked: it is damaged or has a password.",
            "Get it again, or unpack it and give the folder.",
        ) from error
