"""What the card for learning from corrections shows."""

from __future__ import annotations

from collections.abc import Mapping

from experts.evaluate import Score
from sam_ui.markup import attrs, esc, percent, skeleton, tag
from sam_ui.services.learning_views import LearnedView, LearnView
from sam_ui.services.publishing import LICENCES
from sam_ui.services.views import JobView
from sam_ui.words import _, _n, mark

__all__ = ["duration", "learn_html"]

SHOWN_TYPES = 6
"""Types of the table at once; more are folded away."""

LICENCE_NAMES = {
    "CC0-1.0": mark("Anything may be done with it (CC0)"),
    "CC-BY-4.0": mark("Anything, if I am named (CC BY 4.0)"),
    "CC-BY-SA-4.0": mark("If I am named, and on the same terms (CC BY-SA 4.0)"),
    "CC-BY-NC-4.0": mark("If I am named, and not for money (CC BY-NC 4.0)"),
    "not to be passed on": mark("It stays with me"),
}
WAYS = {
    "weights": (
        mark("Weigh the experts anew"),
        mark("Changes how much each expert counts, and nothing else."),
    ),
    "thresholds": (
        mark("Leave out what is unsure"),
        mark("Finds how sure the model must be of each type. It finds nothing new."),
    ),
}


def duration(seconds: float) -> str:
    """About how long, in words: "about 2 minutes"."""
    if seconds < 50:
        return _("about {n} seconds", n=max(10, 10 * round(seconds / 10)))
    return _n("about {n} minute", "about {n} minutes", max(1, round(seconds / 60)))


def learn_html(view: LearnView, titles: Mapping[str, str], *, view_only: bool = False) -> str:
    """The card.

    Args:
        titles: expert name -> how it is called.
        view_only: for somebody who may only look.
    """
    job = view.job
    if job is not None and job.active:
        return _running(view, job)
    parts = [_stopped(job)]
    if view.candidate is not None:
        parts.append(_result(view, view.candidate, titles, view_only))
    else:
        parts += [
            _kept(view, view_only) if view.kept else "",
            _discarded(view, view_only),
            _ready(view, view_only),
        ]
    return "".join(parts)


def _title(view: LearnView) -> str:
    said = _("Learn from your corrections")
    if view.sentences >= view.fewest:
        said = _n("Learn from {n} correction", "Learn from {n} corrections", view.sentences)
    return f"<h2>{said}</h2>"


# ---- nothing runs and nothing waits ----


def _ready(view: LearnView, view_only: bool) -> str:
    if view.merge_id is None:
        said = _("First merge some experts: the merged model is what learns.")
        return _title(view) + tag("p", said, class_="sam-muted")
    if view_only:
        said = _n("{n} sentence is corrected.", "{n} sentences are corrected.", view.sentences)
        return _title(view) + tag("p", said, class_="sam-muted")
    if "train" not in view.seconds:
        return _title(view) + _too_few(view) + _unfit(view)
    explained = _(
        "“{merge}” goes on learning from the sentences that you have corrected: {time}, and you can "
        "go on correcting meanwhile. It learns from one half first and is checked on the other, so "
        "that you see what it brings before you decide.",
        merge=esc(view.merge_label), time=duration(view.seconds["train"]),
    )  # fmt: skip
    few = ""
    if view.sentences < 10:
        few = tag("p", _("Ten sentences and more say whether it has helped."), class_="sam-note")
    label = _n("Learn from {n} correction", "Learn from {n} corrections", view.sentences)
    button = _button(label, "learn", class_="sam-small sam-strong", id="learn-train")
    return (
        f"{_title(view)}<p>{explained}</p>{few}{_unfit(view)}"
        f'<p class="sam-learn-acts">{button}</p>{_other_ways(view)}'
    )


def _too_few(view: LearnView) -> str:
    share = min(1.0, view.sentences / view.fewest)
    lacking = view.fewest - view.sentences
    if lacking <= 0:
        return tag("p", esc(view.why_not.get("train", "")), class_="sam-muted")
    said = _(
        "When {fewest} sentences are corrected, the model can learn from them; 20 are a good "
        "start. Accept or change what it has found.",
        fewest=view.fewest,
    )  # fmt: skip
    bar = tag("progress", "", value=f"{share:.2f}", max=1, aria_label=_("Corrected sentences"))
    count = _("{n} of {all} corrected", n=view.sentences, all=view.fewest)
    return f'<p>{said}</p><p class="sam-learn-count">{bar}<span class="n">{count}</span></p>'


def _unfit(view: LearnView) -> str:
    if not view.unfit:
        return ""
    said = _n(
        "{n} more is left out: a type was added since, or it was accepted together with others.",
        "{n} more are left out: types were added since, or they were accepted all at once.",
        view.unfit,
    )
    return tag("p", said, class_="sam-note")


def _other_ways(view: LearnView) -> str:
    rows = ""
    for how, (name, what) in WAYS.items():
        reason = view.why_not.get(how)
        time = duration(view.seconds[how]) if how in view.seconds else ""
        button = _button(
            _(name), "learn", data_how=how, id=f"learn-{how}", disabled=reason is not None,
            class_="sam-small",
        )  # fmt: skip
        told = f"{esc(_(what))} {esc(_(reason) if reason else time[:1].upper() + time[1:] + '.')}"
        rows += f"<li>{button}<p>{told}</p></li>"
    summary = tag("summary", _("Quicker ways that change less"))
    return f'<details data-key="learn-ways">{summary}<ul class="sam-ways">{rows}</ul></details>'


# ---- it runs, or has ended without a result ----


def _running(view: LearnView, job: JobView) -> str:
    if job.kind == "publish":
        return _title(view) + tag("p", _("It is being added to your experts…")) + skeleton((80, 60))
    said = _("The model is learning from your corrections. You can go on correcting meanwhile.")
    return f"{_title(view)}<p>{said}</p>{skeleton((94, 78, 86))}"


def _stopped(job: JobView | None) -> str:
    if job is None or job.active:
        return ""
    if job.state == "cancelled":
        said = _("You stopped it. What it had finished is kept, so that the next time is quicker.")
        return tag("div", said, class_="sam-inset sam-learn-told")
    told = f"<strong>{esc(_(job.what))}</strong> {esc(_(job.hint))}"
    return tag("div", told, class_="sam-inset failed sam-learn-told", role="alert")


def _discarded(view: LearnView, view_only: bool) -> str:
    if not view.discarded or view_only:
        return ""
    undo = _button(_("Undo"), "restore", data_merge=view.discarded, class_="sam-small")
    return (
        f'<div class="sam-inset sam-learn-told row"><span>{_("The result was discarded.")}</span>'
        f"{undo}</div>"
    )


# ---- a result ----


def _result(
    view: LearnView, learned: LearnedView, titles: Mapping[str, str], view_only: bool
) -> str:
    title = tag("h2", _("What learning has brought"))
    if not learned.changed:
        said = _(
            "Nothing that was tried did better than “{merge}” on sentences that it had not learned "
            "from. It stays as it is.",
            merge=esc(learned.merge_label),
        )
        close = _button(_("Close"), "discard", class_="sam-small", id="learn-discard")
        more = tag("p", _("More corrections may change that."), class_="sam-note")
        acts = "" if view_only else f'<p class="sam-learn-acts">{close}</p>'
        return f'<div id="learn-result">{title}<p>{said}</p>{more}{acts}</div>'
    acts = ""
    if not view_only:
        keep = _button(_("Keep it"), "keep", class_="sam-small sam-strong", id="learn-keep")
        drop = _button(_("Discard"), "discard", class_="sam-small", id="learn-discard")
        acts = f'<p class="sam-learn-acts">{keep}{drop}</p>'
    fresh = ""
    if view.fresh and not view_only:
        said = _n(
            "You have corrected {n} sentence since.",
            "You have corrected {n} sentences since.",
            view.fresh,
        )
        again = _button(
            _("Learn again with them"), "learn", data_how=learned.how, class_="sam-link"
        )
        fresh = f'<p class="sam-note">{said} {again}</p>'
    return (
        f'<div id="learn-result">{title}{_told(learned)}{_verdict(learned)}'
        f"{_what_changed(learned, titles)}{_types(learned)}{acts}{fresh}</div>"
    )


def _told(learned: LearnedView) -> str:
    before, after = learned.before, learned.after
    where = _n(
        "On {n} corrected sentence, read by a model that had not learned from it:",
        "On {n} corrected sentences, each read by a model that had not learned from it:",
        learned.sentences,
    )
    found = _("found {after} of {all} instead of {before}", after=f"<b>{after.tp:,}</b>",
              all=f"{after.support:,}", before=f"{before.tp:,}")  # fmt: skip
    wrong = _("{after} wrong instead of {before}", after=f"<b>{after.fp:,}</b>",
              before=f"{before.fp:,}")  # fmt: skip
    return (
        f'<p class="sam-muted">{where}</p><p class="sam-learn-figures">'
        f"<span>{found}</span><span>{wrong}</span></p>"
    )


def _verdict(learned: LearnedView) -> str:
    from experts.learning_outcome import ENOUGH_SENTENCES, ENOUGH_SPANS

    scores = _("F1 {before} → {after}", before=f"{learned.before.f1:.2f}",
               after=f"{learned.after.f1:.2f}")  # fmt: skip
    low, high = (f"{value:+.2f}".replace("-", "−") for value in learned.interval)
    if not learned.enough:
        said = _(
            "Too little to claim anything: that takes {sentences} sentences with {spans} entities.",
            sentences=ENOUGH_SENTENCES, spans=ENOUGH_SPANS,
        )  # fmt: skip
        return tag("p", said, class_="sam-learn-verdict few")
    if learned.better:
        said = _("It has helped: {scores}, a gain of {low} to {high}.", scores=scores, low=low,
                 high=high)  # fmt: skip
        return tag("p", said, class_="sam-learn-verdict good")
    said = _("That may be chance: {scores}, a change of {low} to {high}. More corrections would tell.",
             scores=scores, low=low, high=high)  # fmt: skip
    return tag("p", said, class_="sam-learn-verdict few")


def _what_changed(learned: LearnedView, titles: Mapping[str, str]) -> str:
    if learned.how == "weights":
        each = ", ".join(
            f"{esc(titles.get(name, name))} {weight:.2f}"
            for name, weight in learned.weights.items()
        )
        return tag("p", _("The experts now count: {each}.", each=each), class_="sam-note")
    if learned.how == "thresholds":
        each = ", ".join(
            f"{esc(name)} {percent(least)}" for name, least in learned.thresholds.items()
        )
        said = _("What is less sure is left out: {each}.", each=each)
        return tag("p", said, class_="sam-note")
    return ""


def _types(learned: LearnedView) -> str:
    """Each type alone: counts, with the share where there is something to divide by."""
    rows = [
        f'<li><b dir="auto">{esc(change.name)}</b>{_found(change.before, change.after)}</li>'
        for change in sorted(learned.types, key=lambda change: -change.after.support)
    ]
    shown, rest = rows[:SHOWN_TYPES], rows[SHOWN_TYPES:]
    more = ""
    if rest:
        summary = tag("summary", _n("{n} more type", "{n} more types", len(rest)))
        inside = f'<ul class="sam-learn-types">{"".join(rest)}</ul>'
        more = f'<details data-key="learn-types">{summary}{inside}</details>'
    return f'<ul class="sam-learn-types">{"".join(shown)}</ul>{more}'


def _found(before: Score, after: Score) -> str:
    said = _("found {before} → {after} of {all}", before=f"{before.tp:,}",
             after=f"<b>{after.tp:,}</b>", all=f"{after.support:,}")  # fmt: skip
    share = f" ({percent(after.recall)})" if after.support else ""
    wrong = _("wrong {before} → {after}", before=f"{before.fp:,}", after=f"<b>{after.fp:,}</b>")
    return f"<span>{said}{share}</span><span>{wrong}</span>"


# ---- kept ----


def _kept(view: LearnView, view_only: bool) -> str:
    assert view.kept is not None
    kept = view.kept
    said = _("What was learned from {n} corrections is kept as a merge of its own.",
             n=kept.sentences)  # fmt: skip
    if view_only:
        return tag("div", said + _told(kept), class_="sam-inset sam-learn-told")
    acts = ""
    if not view.predicted:
        acts += _button(
            _("Use it on all texts"), "read", data_merge=kept.id, id="learn-read",
            class_="sam-small sam-strong",
        )  # fmt: skip
    if view.published:
        told = _("In your pool as “{name}”.", name=esc(view.published))
        acts += tag("span", told, class_="sam-muted", id="learn-published")
    sure = None
    if view.predicted:
        sure = _("Take it back? What it has found goes with it; Undo brings both back.")
    acts += _button(
        _("Take it back"), "undo", data_merge=kept.id, class_="sam-small", id="learn-undo",
        data_confirm=sure,
    )  # fmt: skip
    form = "" if view.published or view.why_not_publish else _form(kept)
    return (
        f'<div class="sam-inset sam-learn-told" id="learn-kept"><p>{said}</p>'
        f'<p class="sam-learn-acts">{acts}</p>{form}</div>'
    )


def _form(kept: LearnedView) -> str:
    """What a new expert needs."""
    options = "".join(
        tag("option", esc(_(LICENCE_NAMES[key])), value=key, selected=key == LICENCES[-1])
        for key in LICENCES
    )
    title = attrs(
        name="title", type="text", maxlength=80, autocomplete="off", required=True,
        placeholder=_("what the texts are about"), id="publish-title",
    )  # fmt: skip
    told = _(
        "It joins the experts that can be chosen in step 2. Its card holds your {n} corrected "
        "sentences as examples, so whoever gets the expert can read them.",
        n=kept.sentences,
    )
    submit = tag("button", _("Add the expert"), type="submit", class_="sam-small sam-strong")
    licence = attrs(name="licence", id="publish-licence")
    summary = tag("summary", _("Make an expert of it"), id="learn-publish")
    return (
        f'<details data-key="learn-publish">{summary}'
        f'<form data-act="publish" class="sam-learn-form"><p class="sam-note">{told}</p>'
        f"<label>{_('Name of the expert')}<input {title}></label>"
        f"<label>{_('What others may do with it')}<select {licence}>{options}</select></label>"
        f'<p class="sam-learn-acts">{submit}</p></form></details>'
    )


def _button(label: str, act: str, **values: object) -> str:
    return tag("button", label, data_act=act, **values)
