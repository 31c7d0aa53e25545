"""The card of Share with the links to the session: made, copied once, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import gradio as gr

from sam_ui.markup import attrs, esc, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.links import LinkInfo
from sam_ui.steps.common import ago
from sam_ui.words import _, _n, day, mark

__all__ = ["Links", "links_html"]

KINDS = [(mark("only look"), "view"), (mark("change everything"), "edit")]
EXPIRY = [
    (mark("until you revoke it"), "never"),
    (mark("for a day"), "day"),
    (mark("for a week"), "week"),
    (mark("for 30 days"), "month"),
]
# Only the browser knows under which address it has found SaM.
NEW_LINK_JS = """
watch('value', () => {
  const field = element.querySelector('input[data-token]');
  if (!field) return;
  const link = location.origin + location.pathname + '?s=' + field.dataset.token;
  field.value = link;
  element.querySelector('[data-copy]').dataset.copy = link;
  field.addEventListener('focus', () => field.select());
  field.scrollIntoView({block: 'nearest'});
});
"""


def _intro() -> str:
    said = _(
        "Send somebody a link: they need no account. Whoever has it sees your texts and results."
    )
    return f"<h2>{_('Links to this session')}</h2><p>{said}</p>"


def links_html(links: Sequence[LinkInfo], mine: str) -> str:
    """The links that have not been revoked.

    Args:
        mine: id of the link that the page was opened with, which cannot be revoked from it.
    """
    rows = "".join(_row(link, link.id == mine) for link in links)
    return f'<h3 class="sam-label">{_("Links so far")}</h3><ul class="sam-links">{rows}</ul>'


def _row(link: LinkInfo, mine: bool) -> str:
    can = _("look only") if link.kind == "view" else _("can change")
    badges = f'<span class="sam-badge {link.kind}">{can}</span>'
    if mine:
        badges += f'<span class="sam-badge mine">{_("you are using this one")}</span>'
    if link.expired:
        badges += f'<span class="sam-badge warn">{_("expired")}</span>'
    used = _("last used {when}", when=ago(link.used_at)) if link.used_at else _("not used yet")
    made = _("made {when}", when=ago(link.created_at))
    told = " · ".join((made, _until(link.expires_at), used))
    name = link.label or (_("Link for looking") if link.kind == "view" else _("Link for changing"))
    end = ""
    if not mine:
        sure = _("Revoke “{name}”? Whoever uses it is shut out at once.", name=name)
        end = tag(
            "button", _("Remove") if link.expired else _("Revoke"), data_act="revoke",
            data_link=link.id, data_confirm=None if link.expired else sure, class_="sam-small",
            aria_label=_("Revoke {name}", name=name),
        )  # fmt: skip
    return (
        f'<li><div><strong dir="auto">{esc(name)}</strong>{badges}'
        f'<p class="sam-note">{esc(told)}</p></div>{end}</li>'
    )


def _until(then: datetime | None) -> str:
    if then is None:
        return _("works until revoked")
    hours = (then - datetime.now(UTC)).total_seconds() / 3600
    if hours <= 0:
        return _("worked until {day}", day=day(then))
    if hours < 48:
        return _n("works for {n} more hour", "works for {n} more hours", max(1, round(hours)))
    return _("works until {day}", day=day(then))


def new_link_html(token: str, kind: str, label: str) -> str:
    """The link that was made a moment ago, to copy; it is not shown again."""
    here = _("Here is the link.")
    if label:
        here = _("Here is the link for {whom}.", whom=tag("strong", esc(label)))
    can = (
        _("Whoever has it can look at this session.")
        if kind == "view"
        else _("Whoever has it can change everything in this session.")
    )
    once = _("Copy it now: it is not shown again.")
    field = attrs(
        readonly=True, data_token=token, aria_label=_("The new link"), id="new-link-field"
    )
    copy = tag("button", _("Copy"), data_copy="", class_="sam-small", id="copy-new-link")
    close = tag(
        "button", "×", data_act="dismiss", aria_label=_("Hide the new link"), class_="sam-x"
    )
    return (
        f'<div class="sam-inset sam-new-link" role="status"><p>{here} {can} {once}</p>'
        f"<div><input {field}>{copy}{close}</div></div>"
    )


class Links:
    """The card; made inside the column of the step."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.card = page.add(gr.Column(elem_classes="sam-card", elem_id="share-links"))
        with self.card:
            page.fixed(lambda: gr.HTML(_intro(), apply_default_css=False))
            with gr.Row(elem_classes="sam-link-form"):
                self.kind = page.fixed(
                    lambda: gr.Radio(
                        [(_(said), kind) for said, kind in KINDS],
                        value="view", label=_("Whoever has it can"), elem_id="link-kind",
                    )
                )  # fmt: skip
                self.expires = page.fixed(
                    lambda: gr.Dropdown(
                        [(_(said), expiry) for said, expiry in EXPIRY],
                        value="never", label=_("It works"), elem_id="link-expires",
                    )
                )  # fmt: skip
                self.label = page.fixed(
                    lambda: gr.Textbox(
                        label=_("For whom (optional)"), max_lines=1, max_length=80,
                        placeholder=_("Grace, the reading group …"), elem_id="link-label",
                    )
                )  # fmt: skip
                self.create = page.fixed(
                    lambda: gr.Button(_("Create a link"), size="sm", elem_id="create-link")
                )
            self.fresh = page.add(action_html("new-link", extra_js=NEW_LINK_JS))
            self.list = page.add(action_html("links"))
        page.on(self.create.click, self.created, [self.kind, self.expires, self.label])
        page.on(self.label.submit, self.created, [self.kind, self.expires, self.label])
        page.on(self.fresh.act, lambda visit: {self.fresh: ""}, event=True)
        page.on(self.list.act, self.list_act, event=True)

    def paint(self, visit: Visit) -> Updates:
        if visit.session is None or visit.view_only:
            return {self.card: gr.Column(visible=False)}
        links = links_html(self.services.links.list(visit.id), visit.session.link_id)
        updates: Updates = {self.card: gr.Column(visible=True), self.list: links}
        if visit.resets("link"):
            updates |= {self.fresh: "", self.label: ""}
        return updates

    def created(self, visit: Visit, kind: str, expires: str, label: str) -> Updates:
        token = self.services.links.create(visit.id, kind, expires=expires, label=label or "")
        visit.filters["link"] = True  # another session's screen must not show it
        return {self.fresh: new_link_html(token, kind, (label or "").strip()), self.label: ""}

    def list_act(self, visit: Visit) -> None:
        if visit.act.get("act") == "revoke" and visit.session is not None:
            self.services.links.revoke(visit.session, str(visit.act.get("link", "")))
