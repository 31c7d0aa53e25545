"""The help: a sheet behind the "?" button, and a page for each topic, by address ``?help=probe``.

Both are drawn once, when the page is opened, and shown by the script below: no round trip, and what
somebody is typing meanwhile stays. Texts are in `help_texts`, drawings in `help_pictures`.
"""

from __future__ import annotations

from sam_ui.help_pictures import picture
from sam_ui.help_texts import SHEET, TOPICS, Topic
from sam_ui.markup import emphasis, esc, tag
from sam_ui.words import _

__all__ = ["HELP_HEAD", "help_html", "learn_more"]

# The address names the open topic, so that it can be linked to, reloaded and left with Back.
HELP_HEAD = """
<script>
(() => {
  const page = () => document.getElementById('sam-help-page');
  const asked = () => new URLSearchParams(location.search).get('help');
  const address = (topic) => {
    const here = new URL(location.href);
    if (topic) here.searchParams.set('help', topic); else here.searchParams.delete('help');
    return here.href;
  };
  const show = (topic) => {
    const dialog = page();
    if (!dialog) return;
    const articles = [...dialog.querySelectorAll('article')];
    const chosen = articles.find((node) => node.id === 'help-' + topic) || articles[0];
    for (const node of articles) node.hidden = node !== chosen;
    for (const node of dialog.querySelectorAll('nav [data-help]')) {
      if ('help-' + node.dataset.help === chosen.id) node.setAttribute('aria-current', 'page');
      else node.removeAttribute('aria-current');
    }
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };
  const follow = () => {
    const dialog = page();
    if (asked()) show(asked()); else if (dialog && dialog.open) dialog.close();
  };
  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-help]');
    if (!link) return;
    event.preventDefault();
    document.getElementById('sam-help')?.close();
    if (asked()) history.replaceState(null, '', address(link.dataset.help));
    else history.pushState(null, '', address(link.dataset.help));
    show(link.dataset.help);
  });
  document.addEventListener('close', (event) => {
    if (event.target.id === 'sam-help-page' && asked()) history.replaceState(null, '', address(''));
  }, true);
  document.addEventListener('keydown', (event) => {
    if (event.key !== '?' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input, textarea, select, [contenteditable], dialog')) return;
    event.preventDefault();
    document.getElementById('sam-help')?.showModal();
  });
  window.addEventListener('popstate', follow);
  const waiting = new MutationObserver(() => {
    if (!page()) return;
    waiting.disconnect();
    follow();
  });
  if (page()) follow(); else waiting.observe(document.body, {childList: true, subtree: true});
})();
</script>
"""


def learn_more(topic: str, text: str = "") -> str:
    """A link to a topic of the help; `text` is plain, "Learn more" when empty.

    Raises:
        KeyError: there is no such topic.
    """
    title, more = _(TOPICS[topic].title), _(SHEET["more"])
    # A row of links that all read "Learn more" says nothing to a screen reader.
    said = None if text else f"{more}: {title}"
    return tag(
        "a", esc(text or more), href=f"?help={topic}", data_help=topic,
        class_="sam-learn", aria_label=said,
    )  # fmt: skip


def help_html() -> str:
    """Sheet and pages, to be drawn once anywhere on the page; both are closed."""
    return _sheet() + _page()


def _close() -> str:
    button = tag("button", "×", class_="sam-x", aria_label=_(SHEET["close"]))
    return f'<form method="dialog">{button}</form>'


def _sheet() -> str:
    rows = "".join(
        f"<dt>{esc(_(topic.title))}</dt><dd>{esc(_(topic.short))} {learn_more(key)}</dd>"
        for key, topic in TOPICS.items()
    )
    return (
        f'<dialog id="sam-help" class="sam-dialog" aria-labelledby="sam-help-title">{_close()}'
        f'<h2 id="sam-help-title">{esc(_(SHEET["title"]))}</h2><dl>{rows}</dl>'
        f'<p class="sam-fine">{esc(_(SHEET["private"]))}</p>'
        f'<p class="sam-fine">{esc(_(SHEET["keyboard"]))}</p></dialog>'
    )


def _page() -> str:
    links = "".join(
        "<li>" + tag("a", esc(_(topic.title)), href=f"?help={key}", data_help=key) + "</li>"
        for key, topic in TOPICS.items()
    )
    title = esc(_(SHEET["title"]))
    articles = "".join(_article(key, topic) for key, topic in TOPICS.items())
    return (
        f'<dialog id="sam-help-page" class="sam-dialog" aria-label="{title}">{_close()}'
        f'<div class="sam-help"><nav aria-label="{esc(_(SHEET["topics"]))}"><ul>{links}</ul></nav>'
        f"<div>{articles}</div></div></dialog>"
    )


def _article(key: str, topic: Topic) -> str:
    drawn = ""
    if topic.picture:
        drawn = (
            f"<figure>{picture(topic.picture, _(topic.caption))}"
            f'<figcaption aria-hidden="true">{esc(_(topic.caption))}</figcaption></figure>'
        )
    paragraphs = "".join(f"<p>{emphasis(_(text))}</p>" for text in topic.body)
    points = "".join(
        f"<dt>{esc(_(what))}</dt><dd>{esc(_(said))}</dd>" for what, said in topic.points
    )
    return (
        f'<article id="help-{key}" hidden><h2>{esc(_(topic.title))}</h2>'
        f'<p class="lead">{esc(_(topic.short))}</p>{drawn}{paragraphs}'
        f"{f'<dl>{points}</dl>' if points else ''}</article>"
    )
