"""Colours and fonts of Gradio's own components, and the switch between light and dark.

Everything else is in assets/css: the variables at the head of 1-base.css are the theme.
"""

from __future__ import annotations

import gradio as gr

from sam_ui.markup import tag
from sam_ui.words import _

__all__ = ["SCHEME_HEAD", "scheme_button", "theme"]

# Gradio follows the system by the class "dark" of the body; what a person has chosen outlasts that.
# Choosing what the system has anyway forgets the choice: the page follows the system again.
SCHEME_HEAD = """
<script>
(() => {
  const KEY = 'sam-scheme';
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const body = document.body;
  const chosen = () => {
    try { return localStorage.getItem(KEY); } catch (blocked) { return null; }
  };
  const keep = (scheme) => {
    try {
      if (scheme) localStorage.setItem(KEY, scheme); else localStorage.removeItem(KEY);
    } catch (blocked) { /* it lasts until the page is left */ }
  };
  const apply = () => {
    const scheme = chosen();
    if (scheme && body.classList.contains('dark') !== (scheme === 'dark')) {
      body.classList.toggle('dark', scheme === 'dark');
    }
  };
  const name = () => {
    const next = body.classList.contains('dark') ? 'light' : 'dark';
    for (const node of document.querySelectorAll('[data-scheme]')) {
      node.setAttribute('aria-label', 'Switch to the ' + next + ' theme');
      node.title = 'Switch to the ' + next + ' theme';
    }
  };
  new MutationObserver(() => { apply(); name(); })
    .observe(body, {attributes: true, attributeFilter: ['class']});
  window.addEventListener('storage', (event) => { if (event.key === KEY) apply(); });
  document.addEventListener('click', (event) => {
    if (!event.target.closest('[data-scheme]')) return;
    const next = body.classList.contains('dark') ? 'light' : 'dark';
    keep(next === (system.matches ? 'dark' : 'light') ? null : next);
    body.classList.toggle('dark', next === 'dark');
  });
  apply();
})();
</script>
"""

_ICON = (
    '<svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">'
    '<path class="sam-moon" d="M16.5 12.3A7 7 0 0 1 7.7 3.5a7 7 0 1 0 8.8 8.8z"/>'
    '<g class="sam-sun"><circle cx="10" cy="10" r="3.6"/><path d="M10 1.5v2.2M10 16.3v2.2M1.5 10h2.2'
    'M16.3 10h2.2M4 4l1.6 1.6M14.4 14.4L16 16M4 16l1.6-1.6M14.4 5.6L16 4"/></g></svg>'
)


def scheme_button() -> str:
    """A round button that switches between light and dark; its script is `SCHEME_HEAD`."""
    return tag(
        "button", _ICON, data_scheme=True, class_="sam-small round", id="scheme", type="button",
        aria_label=_("Switch between light and dark"), title=_("Switch between light and dark"),
    )  # fmt: skip


def theme() -> gr.themes.Base:
    """Calm and neutral, one accent, the fonts of the person's system."""
    accent = gr.themes.Color(
        c50="#eefaf9", c100="#d3f1ef", c200="#a8e3e0", c300="#72cecb", c400="#3fb0ae",
        c500="#1c9695", c600="#0c6f71", c700="#0a5c5e", c800="#124e52", c900="#134145", c950="#05262a",
    )  # fmt: skip
    base = gr.themes.Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return base.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        body_background_fill="#f5f7f9",
        body_background_fill_dark="#10151c",
        body_text_color="#1c2733",
        body_text_color_dark="#e6ebf0",
        body_text_color_subdued="#566373",
        body_text_color_subdued_dark="#a3b0be",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_info_text_color="#566373",
        block_info_text_color_dark="#a3b0be",
        input_background_fill="white",
        input_background_fill_dark="#161d26",
        input_border_color="#7f8c9a",
        input_border_color_dark="#75828f",
        input_border_width="1px",
        input_placeholder_color="#5f6c7b",
        input_placeholder_color_dark="#93a0ae",
    )
