"""Why this and not another: two explanations side by side, or one through others' bridges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gradio as gr

from ckf_demo.inference.contrasts import BRIDGES, THAT
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.answer import evidence_markup
from ckf_demo.ui.charts import card, facts
from ckf_demo.ui.controls import stop_button
from ckf_demo.ui.events import CHOICE, ONCE, QUIET
from ckf_demo.ui.items import directed_by, item_list
from ckf_demo.ui.markup import escape, film_text, notice, panel, percent, warn, year_text
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.stops import Stops


@dataclass(frozen=True)
class Contrasted:
    """The latest sides, or why there are none, and the pair that they are about."""

    pair: Pair
    sides: dict | None = None
    problem: str = ""


def sides_markup(recommender, result: Mapping, *, writing: bool = False) -> str:
    """The sides so far, one card each (HTML); ``writing`` while more is to come."""
    sides, only = result["sides"], result.get("only", {})
    items = {film_text(side): side["item"] for side in sides}
    # two branches of one house have one title
    alike = any(items[film_text(side)] != side["item"] for side in sides)
    cards = []
    for side in sides:
        heading = _numbered(side) if alike else film_text(side)
        if side["side"] == BRIDGES:
            heading += f", through the bridges of user {side['whose']}"
        directed = directed_by(recommender, side["item"])
        figures = [directed] if directed else []
        if side["rating"] is not None:
            figures.append(f"{side['rating']:.2f} of 5")
        if side["probability"] is not None:
            figures.append(f"{percent(side['probability'])} that they like it")
        if step := side["explanation"]:
            words = f'<p aria-live="polite">{escape(step["text"])}</p>'
            words += evidence_markup(recommender, step)
        else:
            words = f"<p>{'Waiting for its turn.' if writing else 'Stopped before its turn.'}</p>"
        if titles := only.get(side["side"]):
            other = "the first" if side["side"] == THAT else "the other"
            words += facts(f"Named here and not for {other}: {', '.join(titles)}")
        style = "ckf-card ckf-words"
        cards.append(card(heading, facts(" · ".join(figures)), words, style=style))
    told = result.get("paragraph", "")
    summary = f'<p class="ckf-contrast">{escape(told)}</p>' if told else ""
    return f'{summary}<div class="ckf-sides">{"".join(cards)}</div>'


def _numbered(film: dict) -> str:
    """An item with its id, which its title alone need not tell from others. Not escaped."""
    if not film["title"] or film["title"].endswith(f"({film['item']})"):
        return film_text(film)
    return f"{film['title']}, No. {film['item']}"


class ContrastPanel:
    """An accordion: another item by title, or another person's bridges, and what is said then.

    ``stops`` are those of the page's explanations: another pair ends what is written here as well.
    """

    def __init__(self, recommender, stops: Stops) -> None:
        self.recommender, self.stops = recommender, stops
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
                    self.whose = gr.Textbox(
                        label="Through the bridges of user",
                        placeholder="a user id; or leave it empty",
                        visible=recommender.counterfactuals.has_bridges,
                        elem_id="contrast-bridges",
                    )
                    self.chosen = panel(self.chosen_markup(""), elem_id="contrast-chosen")
                    with gr.Row(elem_classes="ckf-buttons"):
                        self.run = gr.Button(
                            "Explain side by side", size="sm", elem_id="contrast-run"
                        )
                        self.halt = stop_button("contrast-stop")
            self.shown = panel("", elem_id="contrast")
        self.told = gr.State(None)

    def wire(self, page: Page) -> None:
        """Wire the choice of the other item, and the answers."""
        pair = page.pair
        # Gradio’s `input` hears no key that deletes.
        self.find.change(
            self.look,
            self.find,
            [self.found, self.other, self.chosen],
            trigger_mode="always_last",
            **QUIET,
        )
        self.found.select(self.choose, outputs=[self.other, self.chosen], **CHOICE)
        settled = [self.shown, self.halt]
        self.run.click(
            page.gated(self.answer, page.service.model, "page: contrast"),
            [pair, self.other, self.whose],
            [*settled, self.told],
            show_progress_on=self.shown,
            **ONCE,
        ).then(self.settle, [pair, self.told], settled, **QUIET)
        pair.change(self.settle, [pair, self.told], settled, **QUIET)
        self.halt.click(self.stops.halt, **QUIET)

    def look(self, text: str) -> dict:
        """Items by title; without a text none, and none is chosen any more."""
        if text.strip():
            return {self.found: item_list(self.recommender, text)}
        return {self.found: "", self.other: "", self.chosen: self.chosen_markup("")}

    def chosen_markup(self, other: str) -> str:
        """Which other item was chosen (HTML)."""
        if not other:
            return notice(f"No other {self.recommender.domain.thing} is chosen yet.")
        film = self.recommender.store.item(other)
        name = film_text(film) if year_text(film.get("year")) else _numbered(film)
        return facts(f"Beside {name}")

    def choose(self, event: gr.EventData) -> tuple:
        """The chosen other item, and what says so."""
        try:
            return str(event.pick), self.chosen_markup(str(event.pick))
        except UserError as error:
            return gr.skip(), warn(error)

    def answer(self, pair: Pair, other: str, whose: str, request: gr.Request) -> Iterator[dict]:
        """Explain the pair's item and what it is held against, as the words grow."""
        stop = self.stops.begin(request.session_hash, pair)
        against = {"other": other or None, "bridges_of": (whose or "").strip() or None}
        result, problem = None, ""
        try:
            for result in self.recommender.contrasts.sides(
                **pair.person, item=pair.item, **against, stop=stop
            ):
                yield {
                    self.shown: sides_markup(self.recommender, result, writing=True),
                    self.halt: gr.update(interactive=True),
                }
        except UserError as error:
            problem = str(error)
        yield {self.told: Contrasted(pair, result, problem)}

    def settle(self, pair: Pair, told: Contrasted | None) -> dict:
        """What is shown once nothing is written: another pair may be in question by now."""
        shown = ""
        if told is not None and told.pair == pair:
            if told.problem:
                shown = notice(told.problem, "problem")
            elif told.sides:
                shown = sides_markup(self.recommender, told.sides)
        return {self.shown: shown, self.halt: gr.update(interactive=False)}
