"""Files that are made when somebody asks for them: the buttons, and how the download starts."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_file_to_cache

from sam_ui.markup import tag
from sam_ui.notices import notice_html
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.words import _

__all__ = ["Handout", "get_button", "size_said"]

# A click waits until the file is there; then the download starts by itself. Only the browser knows
# under which address it has found SaM. The page may build this component more than once.
HANDOUT_JS = """
if (!window.samHanded) {
  window.samHanded = new Set();
  window.samFetch = ({file, name}) => {
    const config = window.gradio_config;
    const root = (config && config.root) || location.origin + location.pathname;
    const link = document.createElement('a');
    link.href = root.replace(/[/]+$/, '') + '/gradio_api/file=' + encodeURI(file);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
  };
  document.addEventListener('click', (event) => {
    const again = event.target.closest('[data-file]');
    if (again) { window.samFetch(again.dataset); return; }
    const node = event.target.closest('[data-act="get"], #primary-download');
    if (!node) return;
    if (node.classList.contains('sam-busy')) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    // What is chosen beside the button goes with it: the server may not have heard of it yet.
    const form = document.getElementById(node.dataset.form);
    for (const field of form?.querySelectorAll('select, input:checked') || []) {
      node.dataset[field.name] = field.value;
    }
    node.dataset.wait = document.querySelector('#handout [data-wait]')?.dataset.wait || '…';
    node.classList.add('sam-busy');
    node.setAttribute('aria-busy', 'true');
  }, true);
}
watch('value', () => {
  for (const node of document.querySelectorAll('.sam-busy')) {
    node.classList.remove('sam-busy');
    node.removeAttribute('aria-busy');
  }
  const here = element.querySelector('[data-handed]');
  if (!here || window.samHanded.has(here.dataset.handed)) return;
  window.samHanded.add(here.dataset.handed);
  window.samFetch({file: here.dataset.path, name: here.dataset.name});
});
"""


def get_button(label: str, what: str, elem_id: str, *, form: str = "") -> str:
    """A button that asks for a file; it says so while the file is being made.

    Args:
        form: id of an element whose fields are sent with it, by their names.
    """
    return tag(
        "button", label, data_act="get", data_what=what, data_form=form or None, id=elem_id,
        class_="sam-small get",
    )  # fmt: skip


def size_said(count: int) -> str:
    """A number of bytes, as people say it.

    >>> size_said(6_800_000)
    '6.8 MB'
    """
    if count < 1_000_000:
        return f"{max(1, round(count / 1000))} kB"
    return f"{count / 1_000_000:.1f} MB" if count < 10_000_000 else f"{count // 1_000_000:,} MB"


class Handout:
    """Hands files to the browser; made inside the column of the step, and not to be seen."""

    def __init__(self, page: Page) -> None:
        self.html = page.add(action_html("handout", extra_js=HANDOUT_JS))

    def paint(self) -> Updates:
        """Whatever was waited for is over."""
        return {self.html: self._spot()}

    def hand(self, visit: Visit, path: Path) -> Updates:
        """Start the download of a file, and say so."""
        # A copied file lies where Gradio may serve it, under a name that cannot be guessed.
        kept = save_file_to_cache(path, self.html.GRADIO_CACHE)
        self.html.temp_files.add(kept)
        again = tag(
            "button", _("Download it again"), data_file=kept, data_name=path.name,
            class_="sam-small",
        )  # fmt: skip
        size = size_said(path.stat().st_size)
        said = _("{name}, {size}.", name=path.name, size=size)
        visit.notice = notice_html(_("Your download has started."), said, kind="done", button=again)
        return {self.html: self._spot(path=kept, name=path.name, handed=uuid.uuid4().hex)}

    @staticmethod
    def _spot(**data: Any) -> str:
        # Never twice the same, so that the browser hears of it.
        named = {f"data_{key}": value for key, value in data.items()}
        spot = tag("span", **named, data_wait=_("Preparing…"), data_at=uuid.uuid4().hex)
        return tag("div", spot, hidden=True)
