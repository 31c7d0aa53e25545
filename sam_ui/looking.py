"""What those may not use who came with a link for looking: refused by the server and hidden in the
browser, both by the same declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

__all__ = ["Listener", "hiding_style"]


@dataclass
class Listener:
    """What happens on an event of a component; see `sam_ui.page.Page.on`."""

    listen: Callable[..., Any]
    handler: Callable[..., dict[Any, Any] | None]
    inputs: Sequence[Any]
    event: bool
    mode: str | None
    writes: bool
    reading: Collection[str]

    def only_reads(self, act: Mapping[str, Any]) -> bool:
        """Whether it changes nothing, for the data of an event."""
        return not self.writes or (self.event and act.get("act") in self.reading)


def hiding_style(listeners: Iterable[Listener]) -> str:
    """A style element for pages whose body has the class ``view-only``.

    Hides the components that trigger or feed listeners which write, unless they serve one that
    reads, too. Of HTML only the elements with ``data-act`` are hidden, except those that read.
    """
    hidden: dict[str, None] = {}
    parts: dict[str, set[str]] = {}
    shown: set[str] = set()
    for listener in listeners:
        for component in (_trigger(listener.listen), *listener.inputs):
            name = _dom_id(component)
            if name is None:
                continue
            if not listener.writes:
                shown.add(name)
            elif isinstance(component, gr.HTML):
                parts.setdefault(name, set()).update(listener.reading)
            else:
                hidden[name] = None
    rules = [f"#{name}" for name in hidden if name not in shown]
    for name, reading in parts.items():
        if name not in shown:
            rest = "".join(f':not([data-act="{act}"])' for act in sorted(reading))
            rules += [f"#{name} [data-act]{rest}", f"#{name} label:has([data-act]{rest})"]
    selectors = ",".join(f"body.view-only {rule}" for rule in rules)
    return f"<style>{selectors} {{ display: none !important; }}</style>" if rules else ""


def _trigger(listen: Any) -> Any:
    """The component of an event; events of one's own in `gr.HTML` are made in another way."""
    if isinstance(listen, partial):
        return listen.args[0]
    return getattr(listen, "__self__", None)


def _dom_id(component: Any) -> str | None:
    """The id of a component's element; None for what has none, such as state."""
    if not isinstance(component, gr.blocks.Block) or isinstance(
        component, (gr.Blocks, gr.State, gr.BrowserState, gr.Timer)
    ):
        return None
    return component.elem_id or f"component-{component._id}"
