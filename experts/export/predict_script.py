"""`predict.py`, which goes with an adapter: extraction in one file that needs nothing of SaM.

`predict_template.py` is that file; what it does is tested against `experts.extract`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

__all__ = ["SCRIPT", "predict_script"]

SCRIPT = "predict.py"


def predict_script(base_model: str, folders: Sequence[str] = (".",)) -> str:
    """The text of `predict.py`.

    Args:
        base_model: hub id that the adapters name as their base.
        folders: of the adapters, relative to the script; answers of several are united.
    """
    text = resources.files("experts.export").joinpath("predict_template.py").read_text("utf-8")
    for name, value in {"BASE": base_model, "ADAPTERS": tuple(folders)}.items():
        found = re.search(rf"^{name} = ([^#\n]*[^#\n ])", text, flags=re.MULTILINE)
        assert found is not None, name
        text = text[: found.start(1)] + repr(value) + text[found.end(1) :]
    return text
