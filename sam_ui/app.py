"""The page around the steps: header, rail, foot with the primary button and the job strip."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import gradio as gr

from experts.assets import assets_dir
from experts.errors import SamError
from sam_ui.api import add_api
from sam_ui.bars import HEAD, WHERE_JS, header_html, rail_html, where_html
from sam_ui.help import HELP_HEAD, help_html
from sam_ui.markup import esc
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.views import STEPS, SessionInfo
from sam_ui.steps import match, merge, review, share, start, upload
from sam_ui.strip import strip_html
from sam_ui.theme import SCHEME_HEAD, theme
from sam_ui.words import check_language, chosen, speaking

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.settings import Settings

__all__ = ["build_app", "launch_options", "serve"]


class Frame:
    """The components around the steps and what they do."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.page = page = Page(services)
        page.paint = self.paint
        self.timer = page.add(gr.Timer(1.0, active=False))
        self.finished = page.add(gr.State(""))
        self.header = page.add(action_html("sam-header"))
        page.fixed(lambda: gr.HTML(help_html(), apply_default_css=False, elem_id="sam-help-host"))
        with gr.Row(elem_id="sam-body"):
            self.rail = page.add(action_html("sam-rail", visible=False))
            with gr.Column(elem_id="sam-work"):
                self.where = page.add(action_html("sam-url", extra_js=WHERE_JS))
                start.build(page, self.enter)
                for step in (upload, match, merge, review, share):
                    step.build(page)
        self.foot = page.add(gr.Column(elem_id="sam-foot", visible=False))
        with self.foot:
            self.notice = page.notice = page.add(action_html("sam-notice"))
            with gr.Row(elem_id="sam-actions"):
                self.hint = page.add(gr.HTML(apply_default_css=False, elem_id="sam-hint"))
                self.primary = page.add(
                    gr.Button("", variant="primary", elem_id="primary", scale=0, min_width=220)
                )
                self.download = page.add(
                    gr.Button(
                        "", variant="primary", elem_id="primary-download", scale=0,
                        min_width=220, visible=False,
                    )
                )  # fmt: skip
            self.strip = page.add(action_html("job-strip"))

    def wire(self, demo: gr.Blocks) -> None:
        page = self.page
        page.on(demo.load, self.loaded, writes=False)
        page.on(self.header.act, self.header_act, event=True, mode="multiple", reading=("home",))
        page.on(self.rail.act, self.rail_act, event=True, mode="multiple", writes=False)
        page.on(self.where.act, self.rail_act, event=True, writes=False)
        page.on(self.strip.act, self.strip_act, event=True, reading=("dismiss",))
        page.on(self.notice.act, self.notice_act, event=True, reading=("dismiss",))
        page.on(self.primary.click, self.pressed, page.boxes)
        page.on(self.download.click, self.pressed, writes=False)
        page.on(self.finished.change, lambda visit: None, writes=False)
        page.wire(demo)
        # Polling touches the strip alone: nothing that the person is typing into is redrawn.
        outputs = [self.strip, self.finished, self.timer]
        page.tick(self.timer, self.poll, [page.token, self.finished], outputs)

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        """Everything around the step, then the step itself."""
        page = self.page
        if visit.session is not None:
            visit.session = self._again(visit.session)
            if visit.step not in STEPS:
                visit.step = "upload"
        else:
            visit.step = "start"
        session, inside = visit.session, visit.session is not None
        updates: Updates = {
            self.header: header_html(session),
            self.where: where_html(session, visit.step),
            self.notice: visit.notice,
            self.foot: gr.Column(visible=inside or bool(visit.notice)),
        }  # fmt: skip
        for name, step in page.steps.items():
            updates[step.column] = gr.Column(visible=name == visit.step)
        updates |= page.steps[visit.step].paint(visit)
        updates |= self._paint_rail(visit)
        updates |= self._paint_primary(visit)
        updates |= {
            page.token: session.token if session else "",
            page.step: visit.step,
        }
        return updates

    def _again(self, session: SessionInfo) -> SessionInfo:
        """The session as it is now."""
        now = self.services.sessions.by_token(session.token)
        if now is None:
            raise SamError(*self.services.links.why_closed(session.token))
        return now

    def _paint_rail(self, visit: Visit) -> Updates:
        if visit.session is None:
            return {
                self.rail: gr.HTML(visible=False),
                self.strip: "",
                self.timer: gr.Timer(active=False),
            }
        job = self.services.jobs.shown(visit.id)
        if job is not None and not job.active and job.id == visit.filters.get("dismissed"):
            job = None
        updates: Updates = {
            self.rail: gr.HTML(
                rail_html(dict(self.services.state(visit.id)), visit.step), visible=True
            ),
            self.timer: gr.Timer(active=job is not None and job.active),
            self.strip: strip_html(job),
        }
        return updates

    def _paint_primary(self, visit: Visit) -> Updates:
        spec = self.page.steps[visit.step].primary(visit)
        if spec is None or (visit.view_only and not spec.download):
            return {
                self.hint: "",
                self.primary: gr.Button(visible=False),
                self.download: gr.Button(visible=False),
            }
        hint = f"<p>{esc(spec.hint)}</p>" if spec.hint else ""
        if spec.download:
            return {
                self.hint: hint,
                self.primary: gr.Button(visible=False),
                self.download: gr.Button(spec.label, visible=True),
            }
        return {
            self.hint: hint,
            self.primary: gr.Button(spec.label, interactive=spec.enabled, visible=True),
            self.download: gr.Button(visible=False),
        }

    # ---- listeners --------------------------------------------------------------------------

    def loaded(self, visit: Visit) -> None:
        """The page was opened or refreshed: the address says which session and step."""
        if visit.session is not None:
            if visit.step not in STEPS:
                visit.step = self._next_step(visit)
            visit.keep(visit.session.token)

    def _next_step(self, visit: Visit) -> str:
        states = self.services.state(visit.id)
        if visit.view_only:  # the furthest with something to see
            full = [name for name in STEPS[:-1] if states.get(name) != "todo"]
            return full[-1] if full else "upload"
        return next((name for name in STEPS if states.get(name) != "done"), "share")

    def enter(self, visit: Visit, session: SessionInfo) -> None:
        """Make the visit one of `session`, at the step where it stands."""
        visit.session = session
        visit.leave()
        visit.step = self._next_step(visit)
        if visit.step == "match":  # texts are there, nothing is compared: show them first
            visit.step = "upload"
        visit.keep(session.token)

    def header_act(self, visit: Visit) -> None:
        if visit.act.get("act") == "home":
            self._leave(visit)
        elif visit.act.get("act") == "rename":
            name = " ".join(str(visit.act.get("value", "")).split())
            if name:
                self.services.sessions.rename(visit.id, name)
            visit.only = ("nothing",)

    def _leave(self, visit: Visit) -> None:
        visit.session, visit.step = None, "start"
        visit.leave()

    def notice_act(self, visit: Visit) -> None:
        """Dismissed; or what it tells of is undone."""
        if visit.act.get("act") == "restore":
            session = self.services.sessions.restore(str(visit.act.get("token", "")))
            visit.keep(session.token)

    def rail_act(self, visit: Visit) -> None:
        step = str(visit.act.get("step", ""))
        if step == "start":
            self._leave(visit)
        elif step in STEPS:
            visit.step = step

    def strip_act(self, visit: Visit) -> None:
        job = str(visit.act.get("job", ""))
        if visit.act.get("act") == "cancel":
            self.services.jobs.cancel(visit.id, job)
        elif visit.act.get("act") == "retry":
            self.services.jobs.retry(visit.id, job)
        elif visit.act.get("act") == "dismiss":
            visit.filters["dismissed"] = job
        visit.only = ("nothing",) if visit.act.get("act") == "dismiss" else ()

    def pressed(self, visit: Visit, *values: Any) -> Updates | None:
        visit.boxes = dict(zip(self.page.boxes, values, strict=bool(values)))
        return self.page.steps[visit.step].press(visit)

    def poll(self, token: str, finished: str) -> Updates:
        """A second has passed while a job is active."""
        session = self.services.sessions.by_token(token) if token else None
        if session is None:
            return {self.timer: gr.Timer(active=False)}
        job = self.services.jobs.shown(session.id)
        if job is not None and job.active:
            return {self.strip: strip_html(job)}
        latest = self.services.jobs.latest(session.id)
        done = f"{latest.id} {latest.state} {latest.finished_at}" if latest else "none"
        # A change of this state repaints the step and the strip.
        return {self.timer: gr.Timer(active=False), self.finished: done}


def build_app(services: Services) -> gr.Blocks:
    """The whole interface over `services`; launch it with `launch_options`.

    Raises:
        SamError: SAM_LANGUAGE names no language that there is.
    """
    language = services.settings.language
    check_language(language)
    with (
        gr.Blocks(
            title="SaM",
            analytics_enabled=False,
            fill_width=True,
            delete_cache=(3600, 86400),
        ) as demo,
        speaking(chosen(language)),
    ):
        frame = Frame(services)
        frame.wire(demo)
        add_api(services)
    # Listeners only read and write the database; models run in the worker process.
    demo.queue(default_concurrency_limit=16)
    return demo


def launch_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for ``build_app(services).launch()``."""
    return {
        "theme": theme(),
        "css_paths": sorted((assets_dir() / "css").glob("*.css")),
        "head": HEAD + SCHEME_HEAD + HELP_HEAD,
        "server_name": settings.host,
        "server_port": settings.port or None,
        "share": settings.share,
        # Gradio serves the temporary folder and the one it was started in; ours may lie inside.
        "blocked_paths": [str(settings.data_dir)],
        "max_file_size": f"{settings.max_upload_mb}mb",
        "ssr_mode": False,
        "show_error": False,
        "run_history": False,
        "footer_links": [],
        "favicon_path": assets_dir() / "favicon.svg",
        "enable_monitoring": False,
        "mcp_server": settings.mcp,
        "pwa": False,
    }


def check_mcp(settings: Settings) -> None:
    """Raises `SamError` when MCP is wanted and its package is missing."""
    if settings.mcp and find_spec("mcp") is None:
        raise SamError(
            "SAM_MCP is set, but the package for MCP is not installed.",
            "Install SaM with the extra `mcp` (pip install 'sam-ui[mcp]'), or unset SAM_MCP.",
        )


def serve(settings: Settings) -> None:
    """Start the worker and the app, and stay until interrupted.

    Raises:
        SamError: the database cannot be opened, or a package is missing.
    """
    from sam_ui.jobs.supervisor import Supervisor
    from sam_ui.services import Services

    # Gradio would report every start to its makers.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    check_mcp(settings)
    services = Services(settings)
    try:
        with Supervisor(services):
            build_app(services).launch(**launch_options(settings))
    finally:
        services.close()
