"""Why this and not another: two explanations side by side, or one through others' bridges."""

from collections.abc import Iterator
from html import escape

import gradio as gr

from ckf_demo.contrasts import BRIDGES, THAT
from ckf_demo.errors import UserError
from ckf_demo.ui.markup import film_text, notice, panel, percent, warn
from ckf_demo.ui.pair import Pair


def sides_markup(recommender, found: dict) -> str:
    """What was found so far, one card a side (HTML)."""
    return (
        '<div class="ckf-sides">'
        + "".join(_card(recommender, side, found.get("only", {})) for side in found["sides"])
        + "</div>"
    )


def _card(recommender, side: dict, only: dict[str, list[str]]) -> str:
    heading = film_text(side)
    if side["side"] == BRIDGES:
        heading += f", through the bridges of user {side['whose']}"
    figures = []
    if side["rating"] is not None:
        figures.append(f"{side['rating']:.2f} of 5")
    if side["probability"] is not None:
        figures.append(f"{percent(side['probability'])} that they like it")
    step = side["explanation"]
    words = escape(step["text"]) if step else "Waiting for its turn."
    alone = ""
    if named := only.get(side["side"]):
        titles = ", ".join(escape(title) for title in named)
        other = "the first" if side["side"] == THAT else "the other"
        alone = f'<p class="ckf-facts">Named here and not for {other}: {titles}</p>'
    return (
        f'<section class="ckf-card ckf-words"><h3>{escape(heading)}</h3>'
        f'<p class="ckf-facts">{escape(" · ".join(figures))}</p>'
        f'<p aria-live="polite">{words}</p>{alone}</section>'
    )


class ContrastPanel:
    """An accordion: another item by title, or another person's bridges, and what is said then."""

    def __init__(self, recommender) -> None:
        self.recommender = recommender
        thing = recommender.domain.thing
        with gr.Accordion(
            f"Why this {thing} and not another?", open=False, elem_id="contrast-fold"
        ):
            self.other = gr.State("")
            with gr.Row(equal_height=False):
                with gr.Column(min_width=300):
                    self.find = gr.Textbox(
                        label=f"Another {thing}",
                        placeholder="part of a title; then choose one",
                        elem_id="contrast-find",
                    )
                    self.found = panel("", elem_id="contrast-found")
                with gr.Column(min_width=300):
                    bridged = recommender.counterfactuals.has_bridges
                    self.whose = gr.Textbox(
                        label="Through the bridges of user",
                        placeholder="a user id; or leave it empty",
                        visible=bridged,
                        elem_id="contrast-bridges",
                    )
                    self.chosen = panel(self.chosen_markup(""), elem_id="contrast-chosen")
                    self.run = gr.Button("Explain side by side", elem_id="contrast-run")
            self.shown = panel("", elem_id="contrast")

    def chosen_markup(self, other: str) -> str:
        """Which other item was chosen (HTML)."""
        if not other:
            return notice(f"No other {self.recommender.domain.thing} is chosen yet.")
        film = self.recommender.store.item(other)
        return f'<p class="ckf-facts">Beside {escape(film_text(film))}</p>'

    def choose(self, event: gr.EventData) -> tuple[str, str]:
        """The chosen other item, and what says so."""
        return event.pick, self.chosen_markup(event.pick)

    def answer(self, pair: Pair, other: str, whose: str) -> Iterator[str]:
        """Explain the pair's item and what it is held against (HTML)."""
        asked = {"other": other or None, "bridges_of": (whose or "").strip() or None}
        try:
            for found in self.recommender.contrasts.sides(**pair.person, item=pair.item, **asked):
                yield sides_markup(self.recommender, found)
        except UserError as error:
            yield warn(error)
