"""The card of Share with the annotations: in which format, and of which sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_ui.markup import attrs, esc, tag
from sam_ui.page import Visit
from sam_ui.services import Services
from sam_ui.steps.share_files import get_button
from sam_ui.words import _, _n

if TYPE_CHECKING:
    from experts.export.formats import ExportFormat

__all__ = ["choose", "chosen", "notes_html"]

FORMAT = "share_format"
REVIEWED = "share_reviewed"


def chosen(visit: Visit) -> tuple[ExportFormat, bool]:
    """The format that the person has chosen in this browser, and whether only reviewed sentences."""
    from experts.export.formats import formats

    wanted = visit.filters.get(FORMAT)
    kind = next((kind for kind in formats() if kind.key == wanted), formats()[0])
    return kind, bool(visit.filters.get(REVIEWED))


def choose(visit: Visit) -> bool:
    """Take a choice of format or sentences; whether the act was one and nothing else."""
    act, value = visit.act.get("act"), visit.act.get("value")
    sent = {"format": value} if act == "format" else {"which": value} if act == "which" else {}
    said = sent or visit.act
    if "format" in said:
        visit.filters[FORMAT] = str(said["format"])
    if "which" in said:
        visit.filters[REVIEWED] = said["which"] == "reviewed"
    return bool(sent)


def notes_html(services: Services, visit: Visit, merge_id: str) -> str:
    """The whole card."""
    from experts.export.formats import formats

    counts = services.predict.counts(visit.id, merge_id)
    reviewed = services.corrections.count(visit.id)
    kind, only = chosen(visit)
    only = only and reviewed > 0
    found = _n("{n} entity", "{n} entities", sum(counts.values()))
    said = _(
        "Your texts with the {found} that were found. Where you have corrected a sentence, your "
        "correction counts.",
        found=found,
    )
    options = "".join(
        tag("option", esc(each.title), value=each.key, selected=each.key == kind.key)
        for each in formats()
    )
    field = attrs(id="share-format", name="format", data_act="format")
    button = get_button(
        _("Download the annotations"), "notes", "download-notes", form="share-notes"
    )
    lost = services.share.losses(visit.id, kind.key, merge_id, reviewed=only)
    return (
        f"<h2>{_('Annotations')}</h2><p>{said}</p>"
        f'<label class="sam-field" for="share-format">{_("Format")}</label>'
        f"<select {field}>{options}</select>"
        f'<p class="sam-note">{esc(_("Opens in: {what}.", what=kind.opens))}</p>'
        + _which(reviewed, only=only)
        + "".join(f'<div class="sam-inset stale" role="note">{esc(line)}.</div>' for line in lost)
        + tag("p", button, class_="sam-get")
    )


def _which(reviewed: int, *, only: bool) -> str:
    """Which sentences; there is nothing to choose while none has been reviewed."""
    if not reviewed:
        return ""
    choices = (
        ("all", _("all sentences"), not only),
        ("reviewed", _n("only the {n} that you reviewed", "only the {n} that you reviewed",
                        reviewed), only),
    )  # fmt: skip
    rows = "".join(
        "<label><input "
        + attrs(type="radio", name="which", value=key, checked=on, data_act="which",
                id=f"share-which-{key}")
        + f"><span>{esc(label)}</span></label>"
        for key, label, on in choices
    )  # fmt: skip
    return f'<fieldset class="sam-which"><legend>{_("Sentences")}</legend>{rows}</fieldset>'
