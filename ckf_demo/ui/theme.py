"""The look of Gradio's own components: paper and ink, with the blue of Okabe and Ito as accent.

What the app draws itself is styled in ``assets/style.css`` with the same colours.
"""

import gradio as gr

# Shades around Okabe and Ito's blue (#0072B2) and sky blue (#56B4E9).
BLUE = gr.themes.Color(
    *"#eef6fb #dcedf7 #b9dcef #8cc8ec #56b4e9 #0072b2".split(),
    *"#00649c #005483 #00446b #003452 #00253b".split(),
    name="okabe-ito-blue",
)
INK = gr.themes.Color(
    *"#faf9f6 #f3f1ec #e4e1d9 #cfccc3 #9aa0a8 #5c6470".split(),
    *"#464d59 #2f3743 #1d242e #151b23 #0f141a".split(),
    name="ink",
)
COLOURS = {
    "body_background_fill": ("#fbfaf7", "#12171e"),
    "background_fill_primary": ("#ffffff", "#1a212a"),
    "background_fill_secondary": ("#f5f3ee", "#161c24"),
    "body_text_color": ("#1b222c", "#e8eaee"),
    "body_text_color_subdued": ("#5c6470", "#a7b0bd"),
    "block_label_text_color": ("#464d59", "#c3cad4"),
    "block_title_text_color": ("#464d59", "#c3cad4"),
    "block_info_text_color": ("#5c6470", "#a7b0bd"),
    "border_color_primary": ("#e0ddd4", "#313b47"),
    "checkbox_border_color": ("#85827a", "#8793a2"),
    "input_border_color": ("#b9b6ad", "#4b5766"),
    "input_placeholder_color": ("#68707c", "#939dab"),
    "link_text_color": ("#00609a", "#7cc6f0"),
    "button_primary_background_fill": ("#0072b2", "#56b4e9"),
    "button_primary_background_fill_hover": ("#00649c", "#7cc6f0"),
    "button_primary_text_color": ("#ffffff", "#0f141a"),
    "button_secondary_background_fill": ("#ffffff", "#212a35"),
    "button_secondary_background_fill_hover": ("#f3f1ec", "#2b3643"),
    "button_secondary_border_color": ("#b9b6ad", "#4b5766"),
}
"""Colours of Gradio's variables, light and dark; every text has a contrast of at least 4.5."""

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace"]


def theme() -> gr.themes.Base:
    """The theme, light and dark."""
    light = {name: colour for name, (colour, _) in COLOURS.items()}
    dark = {f"{name}_dark": colour for name, (_, colour) in COLOURS.items()}
    return gr.themes.Default(
        primary_hue=BLUE, secondary_hue=BLUE, neutral_hue=INK, font=SANS, font_mono=MONO
    ).set(**light, **dark, button_border_width="1px")
