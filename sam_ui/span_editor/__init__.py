"""The span editor: a sentence in which spans are marked, moved and named by mouse and keyboard.

A `gr.HTML` with a constant template: texts reach the browser as JSON in `value` and become text
nodes. JavaScript counts UTF-16 units and Python code points; the scripts convert at the border, so
that every offset here counts code points. They are, in the order of `SCRIPTS`:

``offsets.js`` conversions, letters, words · ``model.js`` spans and their past · ``saves.js`` what is on
its way to the server (these three need no browser) · ``view.js`` the text as DOM · ``tools.js`` types,
buttons, messages · ``places.js`` which sentence · ``editor.js`` what can be done to it ·
``pointer.js``, ``keys.js`` how · ``start.js``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import gradio as gr

from sam_ui.span_editor.texts import texts

__all__ = ["SCRIPTS", "script", "span_editor", "texts"]

SCRIPTS = (
    "offsets",
    "model",
    "saves",
    "view",
    "tools",
    "places",
    "editor",
    "pointer",
    "keys",
    "start",
)


@cache
def script(*names: str) -> str:
    """The named scripts, one after the other, without their extension; all when none is named."""
    folder = files("sam_ui.span_editor")
    return "\n".join(
        folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in names or SCRIPTS
    )


def span_editor(elem_id: str, value: str = "", **options: Any) -> gr.HTML:
    """The component; listen with ``component.act(...)``. A function, because Gradio writes a stub
    file beside every class that is derived from its own.

    Args:
        value: a sentence as JSON, see `sam_ui.steps.review_payload`.

    It has the property `ack`, JSON, for the answer to a parcel of actions: ``{"parcel", "saved":
    [[sentence, revision, status]], "conflicts", "failed", "again"}``.

    Data of its event: ``{"act": "save", "parcel", "items", "sentence", "after", "nav"}``, ``{"act":
    "show", "sentence", "nav"}``, ``{"act": "alike", "sentence", "surface", "label", "here"}`` and
    ``{"act": "spread", "sentence", "label", "mentions"}``.
    """
    return gr.HTML(
        value,
        elem_id=elem_id,
        html_template='<div class="sam-ed" hidden></div>',
        js_on_load=script(),
        apply_default_css=False,
        ack="",
        **options,
    )
