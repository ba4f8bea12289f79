"""The look of Gradio's own components, whose colours are in ``assets/theme.toml``."""

import gradio as gr

from ckf_demo.runtime.assets import asset

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace"]


def theme() -> gr.themes.Base:
    """The theme, light and dark."""
    colours = asset("theme.toml")
    blue, ink = (gr.themes.Color(*shades, name=name) for name, shades in colours["hues"].items())
    light = {name: shade for name, (shade, _) in colours["colours"].items()}
    dark = {f"{name}_dark": shade for name, (_, shade) in colours["colours"].items()}
    return gr.themes.Default(
        primary_hue=blue, secondary_hue=blue, neutral_hue=ink, font=SANS, font_mono=MONO
    ).set(**light, **dark, button_border_width="1px")
