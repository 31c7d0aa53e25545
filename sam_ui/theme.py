"""Colours and fonts of Gradio's own components; everything else is in assets/css."""

from __future__ import annotations

import gradio as gr

__all__ = ["theme"]


def theme() -> gr.themes.Base:
    """Calm and neutral, one accent, the fonts of the person's system."""
    accent = gr.themes.Color(
        c50="#eefaf9", c100="#d3f1ef", c200="#a8e3e0", c300="#72cecb", c400="#3fb0ae",
        c500="#1c9695", c600="#0f7b7d", c700="#106266", c800="#124e52", c900="#134145", c950="#05262a",
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
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        body_background_fill="#f5f7f9",
        body_background_fill_dark="#10151c",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        input_background_fill="white",
        input_background_fill_dark="#161d26",
        input_border_color="#cdd5de",
        input_border_color_dark="#37424f",
        input_border_width="1px",
    )
