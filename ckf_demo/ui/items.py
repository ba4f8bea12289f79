"""Items found by their title: a list to choose from, and the fold above the tabs that shows it."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter

import gradio as gr

from ckf_demo.ui.charts import table_of
from ckf_demo.ui.events import QUIET
from ckf_demo.ui.markup import Cell, Column, name_cell, notice, panel
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import number_note

MOST = 12


def name_column(recommender) -> tuple[Column, Callable[[Mapping], Cell]]:
    """The column that names items and chooses one, as `table_of` takes it."""
    column = Column(recommender.domain.thing.capitalize(), pick=True, wide=True)
    return column, lambda item: name_cell(item, number_note(item, recommender))


def genres_column(recommender) -> tuple[Column, Callable[[Mapping], str]]:
    """The column of items' genres, left out where no item has one, as `table_of` takes it."""
    column = Column("Genres", wide=True, shown=recommender.prepared.has_genres)
    return column, lambda item: ", ".join(item["genres"])


def item_list(recommender, text: str) -> str:
    """Items whose title holds ``text``, to choose from (HTML)."""
    things = recommender.domain.things
    if not text.strip():
        return notice(
            f"Type part of a title, a name or a theme; {things} in any table or map can be chosen "
            "as well."
        )
    return table_of(
        recommender.search_items(text.strip(), limit=MOST),
        [name_column(recommender), genres_column(recommender)],
        pick=itemgetter("item"),
        caption=f"{things.capitalize()} found",
        empty=f"Nothing is found for “{text.strip()}”; try a shorter part of it.",
        height=260,
    )


class ItemPicker:
    """Builds the fold "Choose another film" in the current Blocks context."""

    def __init__(self, recommender) -> None:
        self._listing = partial(item_list, recommender)
        thing = recommender.domain.thing
        with gr.Accordion(f"Choose another {thing}", open=False, elem_id="choose-film"):
            self.find = gr.Textbox(
                label=f"Find a {thing}",
                placeholder="part of a title, a name or a theme",
                elem_id="find-film",
            )
            self.found = panel(self._listing(""), elem_id="films-found")

    def wire(self, page: Page) -> None:
        """Find items while a title is typed, and let a row choose the item."""
        self.find.change(self._listing, self.find, self.found, trigger_mode="always_last", **QUIET)
        page.chooses_item(self.found)
