"""Components that nothing changes but the language: titles, labels, small buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from sam_ui.words import speaking, spoken

__all__ = ["Fixed"]

# What else a component has is not touched: its value may be somebody's, its state a painter's.
LABELS = ("label", "placeholder")


class Fixed:
    """The components of a page whose texts are put into the language of whoever opens it.

    Args:
        language: ``language(request)`` is that of a visit.
    """

    def __init__(self, language: Callable[[gr.Request | None], str]) -> None:
        self._language = language
        self._built_in = spoken()
        self._made: list[tuple[Any, Callable[[], Any]]] = []

    def add(self, make: Callable[[], Any]) -> Any:
        """The component that `make` makes; it makes another when another language is spoken."""
        component = make()
        self._made.append((component, make))
        return component

    def listen(self, opened: Callable[..., Any]) -> None:
        """Translate them when `opened` happens, the load event of the page."""

        def run(request: gr.Request) -> dict[Any, Any]:
            language = self._language(request)
            if language == self._built_in:
                return {component: gr.skip() for component, _make in self._made}
            with speaking(language):
                return {component: _texts(make()) for component, make in self._made}

        outputs = [component for component, _make in self._made]
        opened(run, outputs=outputs, show_progress="hidden", api_visibility="private")


def _texts(component: Any) -> Any:
    keys = ("value",) if isinstance(component, (gr.HTML, gr.Button)) else LABELS
    given = component.constructor_args
    return gr.update(**{key: given[key] for key in keys if given.get(key) is not None})
