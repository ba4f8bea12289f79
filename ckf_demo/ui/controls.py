"""Controls of the tabs: each has an id and a label, and a choice begins with its first option."""

from collections.abc import Sequence

import gradio as gr


def lead(text: str) -> None:
    """Add the paragraph at the head of a tab; ``text`` is trusted HTML."""
    gr.HTML(f"<p>{text}</p>", apply_default_css=False, elem_classes="ckf-lead")


def radio(name: str, label: str, options: Sequence, width: int = 160, **others) -> gr.Radio:
    """A choice whose options are all seen."""
    return gr.Radio(options, **_choice(name, label, options, width), **others)


def dropdown(name: str, label: str, options: Sequence, width: int = 160, **others) -> gr.Dropdown:
    """A choice from a list."""
    return gr.Dropdown(options, **_choice(name, label, options, width) | others)


def _choice(name: str, label: str, options: Sequence, width: int) -> dict:
    first = next(iter(options), None)
    value = first[1] if isinstance(first, tuple) else first
    return {"value": value, "label": label, "min_width": width, "elem_id": name}


def stop_button(name: str, text: str = "Stop", **others) -> gr.Button:
    """A button that is off until something runs."""
    return gr.Button(text, size="sm", interactive=False, elem_id=name, **others)
