"""Items as the page shows them: columns of tables, what an item is about, and the fold above the
tabs that finds one."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter

import gradio as gr

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.store_tables import fold
from ckf_demo.ui.charts import facts, table_of
from ckf_demo.ui.events import QUIET
from ckf_demo.ui.markup import Cell, Column, directed_text, escape, name_cell, notice, panel
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import number_note

MOST = 12


def name_column(recommender) -> tuple[Column, Callable[[Mapping], Cell]]:
    """The column that names items and chooses one, as `table_of` takes it."""
    column = Column(recommender.domain.thing.capitalize(), pick=True, wide=True)
    return column, lambda item: name_cell(item, name_note(recommender, item))


def name_note(recommender, item: Mapping) -> str:
    """What stands below an item's name: its id where titles are few, and who directed it."""
    parts = (number_note(item, recommender), directed_by(recommender, item["item"]))
    return " · ".join(filter(None, parts))


def directed_by(recommender, item: str) -> str:
    """ "directed by Ann Lee", or nothing where no director is known. Not escaped."""
    return directed_text(_facts_of(recommender, item).directors[0])


def about_item(recommender, item: str) -> str:
    """The sentence and the facts about an item under a heading (HTML); nothing without any."""
    known = _facts_of(recommender, item)
    named = {
        "Directed by": known.directors,
        "With": known.actors,
        "Themes": known.tags,
        "Countries": known.countries,
        "Languages": known.languages,
    }
    listed = "".join(
        f"<dt>{label}</dt><dd>{escape(', '.join(names))}</dd>"
        for label, (names,) in named.items()
        if names
    )
    sentence = facts(known.descriptions[0]) if known.descriptions[0] else ""
    if not (sentence or listed):
        return ""
    heading = f"<h4>About the {recommender.domain.thing}</h4>"
    named_facts = f"<dl>{listed}</dl>" if listed else ""
    return f'<div class="ckf-about">{heading}{sentence}{named_facts}</div>'


def _facts_of(recommender, item: str) -> ItemFacts:
    """The facts about one item."""
    prepared = recommender.prepared
    if prepared.facts is None:
        return ItemFacts.empty(1)
    return prepared.facts.of([prepared.item_index[item]])


def genres_column(recommender) -> tuple[Column, Callable[[Mapping], str]]:
    """The column of items' genres, left out where no item has one, as `table_of` takes it."""
    column = Column("Genres", wide=True, shown=recommender.prepared.has_genres)
    return column, lambda item: ", ".join(item["genres"])


def item_list(recommender, text: str) -> str:
    """Items that a search for ``text`` finds, to choose from (HTML).

    A column names the people and themes that hold a word of it, where there are any.
    """
    things = recommender.domain.things
    if not text.strip():
        return notice(
            f"Type part of a title, a name or a theme; {things} in any table or map can be chosen "
            "as well."
        )
    words, found = fold(text).split(), recommender.search_items(text.strip(), limit=MOST)

    def matches(item: Mapping) -> str:
        known = _facts_of(recommender, item["item"])
        names = (*known.directors[0], *known.actors[0], *known.tags[0])
        return ", ".join(name for name in names if any(word in fold(name) for word in words))

    return table_of(
        found,
        [
            name_column(recommender),
            (Column("Found by", wide=True, shown=any(map(matches, found))), matches),
            genres_column(recommender),
        ],
        pick=itemgetter("item"),
        caption=f"{things.capitalize()} found",
        empty=f"Nothing is found for “{text.strip()}”; try a shorter part of it.",
        height=340,
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
