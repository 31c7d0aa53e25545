"""Where the files that ship with SaM are: css, sample corpora and the bundled expert pool."""

from __future__ import annotations

from pathlib import Path

from experts.errors import SamError

__all__ = ["assets_dir"]


def assets_dir() -> Path:
    """The folder that holds `css`, `samples/` and `experts/`; read-only by convention.

    In a checkout (also an editable install) that is `assets/` beside the packages. A wheel installs
    the same folder as `sam_assets`, since a top-level `assets` could be anybody's.

    Raises:
        SamError: when neither exists, that is, when the installation is incomplete.
    """
    root = Path(__file__).resolve().parent.parent
    for folder in (root / "sam_assets", root / "assets"):
        if folder.is_dir():
            return folder
    raise SamError(
        f"SaM's own files (sample texts, bundled experts) are missing beside {root}.",
        "Install SaM again.",
    )
