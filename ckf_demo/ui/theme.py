"""The look of Gradio's own components: paper and ink, with the blue of Okabe and Ito as accent.

What the app draws itself is styled in ``assets/style.css`` with the same colours.
"""

import gradio as gr

# Shades around Okabe and Ito's blue (#0072B2) and sky blue (#56B4E9).
BLUE = gr.themes.Color(
    name="okabe-ito-blue",
    c50="#eef6fb",
    c100="#dcedf7",
    c200="#b9dcef",
    c300="#8cc8ec",
    c400="#56b4e9",
    c500="#0072b2",
    c600="#00649c",
    c700="#005483",
    c800="#00446b",
    c900="#003452",
    c950="#00253b",
)
INK = gr.themes.Color(
    name="ink",
    c50="#faf9f6",
    c100="#f3f1ec",
    c200="#e4e1d9",
    c300="#cfccc3",
    c400="#9aa0a8",
    c500="#5c6470",
    c600="#464d59",
    c700="#2f3743",
    c800="#1d242e",
    c900="#151b23",
    c950="#0f141a",
)
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace"]


def theme() -> gr.themes.Base:
    """The theme; light and dark are both set, with a contrast of at least 4.5 for every text."""
    return gr.themes.Default(
        primary_hue=BLUE, secondary_hue=BLUE, neutral_hue=INK, font=SANS, font_mono=MONO
    ).set(
        body_background_fill="#fbfaf7",
        body_background_fill_dark="#12171e",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1a212a",
        background_fill_secondary="#f5f3ee",
        background_fill_secondary_dark="#161c24",
        body_text_color="#1b222c",
        body_text_color_dark="#e8eaee",
        body_text_color_subdued="#5c6470",
        body_text_color_subdued_dark="#a7b0bd",
        block_label_text_color="#464d59",
        block_label_text_color_dark="#c3cad4",
        block_title_text_color="#464d59",
        block_title_text_color_dark="#c3cad4",
        block_info_text_color="#5c6470",
        block_info_text_color_dark="#a7b0bd",
        border_color_primary="#e0ddd4",
        border_color_primary_dark="#313b47",
        checkbox_border_color="#85827a",
        checkbox_border_color_dark="#8793a2",
        input_border_color="#b9b6ad",
        input_border_color_dark="#4b5766",
        input_placeholder_color="#68707c",
        input_placeholder_color_dark="#939dab",
        link_text_color="#00609a",
        link_text_color_dark="#7cc6f0",
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_hover="#00649c",
        button_primary_background_fill_dark="#56b4e9",
        button_primary_background_fill_hover_dark="#7cc6f0",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0f141a",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#f3f1ec",
        button_secondary_background_fill_dark="#212a35",
        button_secondary_background_fill_hover_dark="#2b3643",
        button_secondary_border_color="#b9b6ad",
        button_secondary_border_color_dark="#4b5766",
        button_border_width="1px",
    )
