"""What the steps share: the page, its listeners, and interactive HTML.

Every listener runs the same way: find the session, let the handler act, then paint the step that
the visit ends on. The database is the only truth; the browser holds the session's token and its
filters. Whoever came with a link for looking can change nothing: listeners that write are not
called, and the database refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from db import ReadOnlyError, read_only
from experts.errors import SamError
from sam_ui.fixed import Fixed
from sam_ui.looking import Listener, hiding_style
from sam_ui.notices import broken_html, looking_html, notice_html
from sam_ui.visit_filters import SharedFilters
from sam_ui.words import chosen, speaking

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.services.views import JobView, SessionInfo

__all__ = [
    "Page",
    "Primary",
    "Step",
    "Updates",
    "Visit",
    "action_html",
    "notice_html",
    "step_column",
]

log = logging.getLogger(__name__)

Updates = dict[Any, Any]
RECENT = 100
"""Links that a browser remembers."""
# One delegated listener serves every button, switch, slider and text field inside the component.
# `value` is the server's HTML with all texts escaped; the script only reads data attributes.
ACTION_JS = """
const send = (node, value) => {
  const data = {...node.dataset};
  if (value !== undefined) data.value = value;
  trigger('act', data);
};
element.addEventListener('click', (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) { window.samCopy(copy); return; }
  const sheet = event.target.closest('[data-dialog]');
  if (sheet) { document.getElementById(sheet.dataset.dialog).showModal(); return; }
  const node = event.target.closest('button[data-act], a[data-act]');
  if (!node || node.disabled) return;
  event.preventDefault();
  if (node.dataset.confirm && !window.confirm(node.dataset.confirm)) return;
  send(node);
});
element.addEventListener('change', (event) => {
  const node = event.target;
  if (!node.dataset || !node.dataset.act || node.tagName === 'BUTTON') return;
  send(node, node.type === 'checkbox' ? node.checked : node.value);
});
element.addEventListener('input', (event) => {
  const node = event.target;
  if (!node.dataset || !node.dataset.pair) return;
  for (const other of element.querySelectorAll('[data-pair]')) {
    if (other !== node && other.dataset.pair === node.dataset.pair) other.value = node.value;
  }
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.tagName === 'INPUT') event.target.blur();
});
const opened = new Set();
const key = (node) => node.dataset.key || node.querySelector('summary')?.textContent;
const note = (node, open) => { if (open) opened.add(key(node)); else opened.delete(key(node)); };
// Noted at the click: the server's answer may replace the element before it toggles.
element.addEventListener('click', (event) => {
  const node = event.target.closest('summary')?.parentElement;
  if (node?.tagName === 'DETAILS') note(node, !node.open);
});
element.addEventListener('toggle', (event) => {
  if (event.target.tagName === 'DETAILS') note(event.target, event.target.open);
}, true);
const settle = () => {
  for (const node of element.querySelectorAll('details')) {
    if (opened.has(key(node))) node.open = true;
  }
  for (const node of element.querySelectorAll('input')) {
    if (node.type === 'checkbox' || node.type === 'radio') {
      node.checked = node.hasAttribute('checked');
    } else if (node !== document.activeElement) {
      node.value = node.getAttribute('value') ?? '';
    }
  }
  for (const node of element.querySelectorAll('option')) {
    node.selected = node.hasAttribute('selected');
  }
};
watch('value', settle);
"""


def action_html(elem_id: str, value: str = "", *, extra_js: str = "", **options: Any) -> gr.HTML:
    """HTML whose ``data-act`` elements call back: listen with ``component.act(...)``.

    A click on ``<button data-act="remove" data-name="x">`` arrives as the event data
    ``{"act": "remove", "name": "x"}``; inputs send theirs when changed, with ``value``.
    """
    return gr.HTML(
        value,
        elem_id=elem_id,
        js_on_load=ACTION_JS + extra_js,
        apply_default_css=False,
        **options,
    )


def step_column(elem_id: str) -> gr.Column:
    """The column of a screen, hidden until its turn."""
    return gr.Column(elem_id=elem_id, elem_classes="sam-step", visible=False)


@dataclass
class Primary:
    """The one primary button: the same place on every screen."""

    label: str
    hint: str = ""
    enabled: bool = True
    download: bool = False
    """Pressing it hands over a file and changes nothing: those may who can only look."""


@dataclass
class Visit:
    """One request: who asks, where they are, what they did.

    Attributes:
        session: None on the start page.
        step: the step to paint when the handler is through; handlers change it to navigate.
        act: data of the event of an `action_html`.
        only: paint just these parts of the step (its painter knows the names), all when empty.
        boxes: values of the fields that the primary button reads, by component.
        filters: what the person filters by in this browser.
        kept: tokens of the links that this browser has opened, newest first.
        extra: updates that hold even when the handler then raises (a box that is used up).
        notice: HTML to show above the primary button.
    """

    services: Services
    session: SessionInfo | None
    step: str
    act: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    boxes: dict[Any, Any] = field(default_factory=dict)
    filters: dict[str, Any] = field(default_factory=dict)
    extra: Updates = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    notice: str = ""

    @property
    def id(self) -> str:
        """Id of the session.

        Raises:
            SamError: there is none, because the link is wrong or it was deleted.
        """
        if self.session is None:
            raise SamError("This page has no session.", "Open one from the start page.")
        return self.session.id

    @property
    def view_only(self) -> bool:
        """Whether the person came with a link for looking: paint no controls that change things."""
        return self.session is not None and self.session.view_only

    def keep(self, token: str) -> None:
        """Remember a link in this browser, as the newest."""
        self.kept = (token, *(other for other in self.kept if other != token))[:RECENT]

    def leave(self) -> None:
        """Forget the filters; controls that still show them are emptied when next painted."""
        waiting = {*self.filters.get("reset", []), *self.filters, "boxes"}
        self.filters = {"reset": sorted(waiting - {"reset"})}

    def resets(self, *names: str) -> bool:
        """Whether the controls of these filters still show another session's (asked once).

        They are not painted otherwise: somebody may be typing in them.
        """
        waiting = self.filters.get("reset", [])
        self.filters["reset"] = [name for name in waiting if name not in names]
        return any(name in waiting for name in names)

    def wants(self, part: str) -> bool:
        return not self.only or part in self.only

    def job(self, *kinds: str) -> JobView | None:
        """The active job of the session, if it is one of `kinds` (any when none are named)."""
        active = self.services.jobs.active(self.id) if self.session else None
        return active if active and (not kinds or active.kind in kinds) else None


@dataclass
class Step:
    """One screen: its column, how to paint it, and its primary button."""

    name: str
    column: gr.Column
    paint: Callable[[Visit], Updates]
    primary: Callable[[Visit], Primary | None]
    press: Callable[[Visit], Updates | None]


class Page:
    """Collects components and listeners while the steps are built, then wires them all.

    Args:
        services: what the handlers call.
        paint: paints the frame (rail, header, foot) and the visit's step.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.token = gr.State("")
        self.step = gr.State("start")
        self.filters = gr.State({})
        self.recents = gr.BrowserState([], storage_key="sam-sessions", secret="sam-ui")
        self.outputs: list[Any] = [self.token, self.step, self.filters, self.recents]
        self.steps: dict[str, Step] = {}
        self.boxes: list[Any] = []
        self.notice: Any = None
        self.paint: Callable[[Visit], Updates] = lambda visit: {}
        self._listeners: list[Listener] = []
        self._fixed = Fixed(self.language)

    def add(self, component: Any) -> Any:
        """Register a component that painters may update."""
        self.outputs.append(component)
        return component

    def fixed(self, make: Callable[[], Any]) -> Any:
        """Register a component whose label or text nothing changes but the visit's language:
        ``page.fixed(lambda: gr.Button(_("Add this text")))``.
        """
        return self.add(self._fixed.add(make))

    def language(self, request: gr.Request | None) -> str:
        """The language of a visit."""
        wishes = request.headers.get("accept-language") if request else None
        return chosen(self.services.settings.language, wishes)

    def tick(
        self, timer: gr.Timer, poll: Callable[..., Updates], inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> None:  # fmt: skip
        """Call ``poll(*inputs)`` whenever the timer ticks; it paints only `outputs`."""

        def run(request: gr.Request, *values: Any) -> Updates:
            with speaking(self.language(request)):
                return poll(*values)

        timer.tick(
            run, list(inputs), list(outputs), show_progress="hidden", api_visibility="private"
        )

    def on(
        self,
        listen: Callable[..., Any],
        handler: Callable[..., Updates | None],
        inputs: Sequence[Any] = (),
        *,
        event: bool = False,
        mode: str | None = None,
        writes: bool = True,
        reading: Collection[str] = (),
    ) -> None:
        """Call ``handler(visit, *inputs)`` on an event; it may return updates beyond painting.

        Args:
            writes: whether it changes the session. Then it is not called for somebody who may
                only look at it, and its controls are hidden from them.
            reading: acts of an event (``data-act``) that change nothing all the same.
        """
        self._listeners.append(Listener(listen, handler, inputs, event, mode, writes, reading))

    def wire(self, demo: gr.Blocks) -> None:
        """Attach all listeners; afterwards the page is complete."""
        self._fixed.listen(demo.load)
        gr.HTML(hiding_style(self._listeners), apply_default_css=False, elem_id="sam-looking")
        for listener in self._listeners:
            listener.listen(
                self._runner(listener),
                inputs=[self.token, self.step, self.filters, self.recents, *listener.inputs],
                outputs=self.outputs,
                show_progress="hidden",
                api_visibility="private",
                trigger_mode=listener.mode,
            )

    def _runner(self, listener: Listener) -> Callable[..., Updates]:
        # Gradio decides by the annotations what to pass, hence two signatures.
        if listener.event:

            def run_event(
                request: gr.Request, event: gr.EventData, token: str, step: str, filters: Any,
                kept: Any, *values: Any,
            ) -> Updates:  # fmt: skip
                data = event._data if isinstance(event._data, dict) else {}
                with speaking(self.language(request)):
                    return self._run(listener, request, token, step, filters, kept, data, values)

            return run_event

        def run(
            request: gr.Request, token: str, step: str, filters: Any, kept: Any, *values: Any
        ) -> Updates:
            with speaking(self.language(request)):
                return self._run(listener, request, token, step, filters, kept, {}, values)

        return run

    def _run(
        self,
        listener: Listener,
        request: gr.Request,
        token: str,
        step: str,
        filters: dict[str, Any] | None,
        kept: list[str] | None,
        data: dict[str, Any],
        values: Sequence[Any],
    ) -> Updates:
        # After a restart of the app gr.State is empty while the page is still open: the URL knows.
        query = dict(request.query_params or {}) if request else {}
        if not token and query.get("s"):
            token, step = query["s"], query.get("step", step)
        session = self.services.sessions.by_token(token) if token else None
        if session is not None:
            self.services.links.used(session)
        shared = SharedFilters(filters)
        visit = Visit(self.services, session, step, act=data, filters=shared.read())
        if "at" in query:  # the sentence that was open before the page was refreshed
            visit.filters.setdefault("at", query["at"])
        before = visit.kept = tuple(kept or ())
        with read_only() if visit.view_only else nullcontext():
            if token and session is None:
                self._turn_away(visit, token)
            else:
                self._handle(listener, visit, values)
            updates = shared.painted(visit, self._painted)
        updates[self.filters] = shared.kept
        if visit.kept != before:
            updates[self.recents] = list(visit.kept)
        return {**updates, **visit.extra}

    def _turn_away(self, visit: Visit, token: str) -> None:
        """The link of an open page has ended, or never was one."""
        visit.step = "start"
        visit.leave()
        visit.notice = notice_html(*self.services.links.why_closed(token))

    def _handle(self, listener: Listener, visit: Visit, values: Sequence[Any]) -> None:
        try:
            if visit.view_only and not listener.only_reads(visit.act):
                raise ReadOnlyError
            visit.extra |= listener.handler(visit, *values) or {}
            return
        except SamError as problem:
            visit.notice = notice_html(problem.what, problem.hint)
        except ReadOnlyError:
            visit.notice = looking_html()
        except Exception:
            log.exception("A listener failed")
            visit.notice = broken_html()
        visit.only = ()

    def _painted(self, visit: Visit) -> Updates:
        try:
            return self.paint(visit)
        except SamError as problem:
            log.info("Painting was refused: %s", problem)
            visit.session, visit.step, visit.only = None, "start", ()
            visit.notice = notice_html(problem.what, problem.hint)
            return self.paint(visit)
        except Exception:
            log.exception("A screen could not be painted")
            return {self.notice: broken_html()} if self.notice is not None else {}
