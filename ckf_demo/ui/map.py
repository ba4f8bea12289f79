"""The Map tab: the films in the collaborative space, in the language model's token space after this
person's bridge, and in the space of their texts."""

import json
from collections import Counter
from pathlib import Path

import gradio as gr
import numpy as np
import plotly

from ckf_demo.errors import UserError
from ckf_demo.spaces import TOKEN_SPACE, Spaces
from ckf_demo.ui.markup import Column, Row, escape, film_text, panel, table, warn, year_text
from ckf_demo.ui.pair import Pair, history_of
from ckf_demo.ui.topk import Ranking

PLOTLY_SCRIPT = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
TITLES = {
    "collaborative": "Collaborative: rated alike",
    "llm": "Language model: after their bridge",
    "text": "Text: described alike",
}
# Okabe and Ito's palette, with grey for black, which would vanish on a dark page.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#999999",
)
# Seven shapes against eight colours: no two of up to 56 genres share both.
SHAPES = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "triangle-down",
    "x",
)
DRAW_SCRIPT = """
window.ckf.maps(element, () => props.value, (item) => trigger('select', {pick: item}));
watch('value', () => element.dispatchEvent(new Event('ckf-draw')));
"""


def template(spaces: tuple[str, ...]) -> str:
    """One empty plot per space, under a common legend (HTML)."""
    figures = "".join(
        f'<figure><figcaption>{escape(TITLES[space])}</figcaption><div class="ckf-map" '
        f'data-space="{space}" role="img" aria-label="{escape(TITLES[space])}: scatter of all '
        'films; the tables below list what it shows"></div></figure>'
        for space in spaces
    )
    return f'<ul class="ckf-legend ckf-genres"></ul><div class="ckf-maps">{figures}</div>'


class MapTab:
    """Builds the tab's components in the current Blocks context and draws people into them."""

    def __init__(self, recommender, spaces: Spaces) -> None:
        self.recommender = recommender
        self.store = recommender.store
        self.spaces = spaces
        items = self.store.items().set_index("item").loc[recommender.item_order].reset_index()
        self._films = items.to_dict("records")
        self._places = {item: place for place, item in enumerate(recommender.item_order)}
        self._fixed = self._catalogue()
        gr.HTML(
            "<p>Three views of the same films. Near one another means rated alike, passed alike "
            "to the language model for this person, or described alike. Solid marks are "
            "their history, rings the recommendations, the cross the chosen film. Click a film to "
            "choose it.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        gr.set_static_paths([PLOTLY_SCRIPT])
        self.maps = gr.HTML(
            "",
            html_template=template(spaces.names),
            js_on_load=DRAW_SCRIPT,
            head=f'<script src="gradio_api/file={PLOTLY_SCRIPT.as_posix()}"></script>',
            apply_default_css=False,
            elem_id="maps",
        )
        self.message = panel("", elem_id="map-message")
        self.neighbours = panel("", elem_id="neighbours")
        with gr.Accordion("What the maps highlight, as a table", open=False):
            self.highlights = panel("", elem_id="highlights")

    @property
    def outputs(self) -> list:
        """Every component that ``draw`` updates."""
        return [self.maps, self.message, self.neighbours, self.highlights]

    def _catalogue(self) -> dict:
        """What is the same for everybody: names, hover texts, the genres' colours and shapes."""
        main = [film["genres"][0] if len(film["genres"]) else "unknown" for film in self._films]
        genres = [genre for genre, _ in Counter(main).most_common()]
        return {
            "items": list(self._places),
            "hover": [
                f"<b>{escape(film_text(film))}</b><br>{escape(', '.join(film['genres']))}"
                f"<br>{int(film['n_ratings'])} training ratings"
                for film in self._films
            ],
            "genre": [genres.index(genre) for genre in main],
            "genres": [
                {
                    "name": genre,
                    "colour": COLOURS[number % len(COLOURS)],
                    "shape": SHAPES[number % len(SHAPES)],
                }
                for number, genre in enumerate(genres)
            ],
        }

    def draw(self, pair: Pair, ranking: Ranking | None) -> dict:
        """Draw the three maps, the neighbours of the chosen film, and the highlighted films."""
        person = pair.person
        recommended: tuple[dict, ...] = ()
        if ranking is not None and ranking.who == pair.who:
            recommended = ranking.rows
        try:
            views = {space: self.spaces.view(space, person) for space in self.spaces.names}
            nearest = {
                space: self.spaces.neighbours(space, pair.item, person)
                for space in self.spaces.names
            }
        except UserError as error:
            return {self.message: warn(error)}
        history = history_of(self.store, pair)
        drawn = {
            **self._fixed,
            "spaces": {
                space: {
                    "points": np.round(view.points, 4).tolist(),
                    "person": None if view.person is None else np.round(view.person, 4).tolist(),
                }
                for space, view in views.items()
            },
            "history": sorted({self._places[row["item"]] for row in history}),
            "recommended": [self._places[row["item"]] for row in recommended],
            "selected": self._places[pair.item],
        }
        moved = ""
        if TOKEN_SPACE in views:
            share = views[TOKEN_SPACE].moved
            moved = (
                "In the language model’s space this person’s bridge has moved the films by "
                f"{share:.2f} of their usual distance from the centre, compared with the average "
                "person’s."
            )
        return {
            self.maps: json.dumps(drawn),
            self.message: f'<p class="ckf-facts">{escape(moved)}</p>',
            self.neighbours: self._neighbour_table(pair, nearest),
            self.highlights: self._highlight_table(history, recommended),
        }

    def _neighbour_table(self, pair: Pair, nearest: dict[str, list[tuple[str, float]]]) -> str:
        parts = []
        for space, title in (
            ("collaborative", "Collaborative"),
            ("llm", "Language model"),
            ("text", "Text"),
        ):
            if space not in nearest:
                continue
            rows = [
                Row(
                    pick=item,
                    cells=[film_text(self._films[self._places[item]]), float(similarity)],
                )
                for item, similarity in nearest[space]
            ]
            parts.append(
                "<div>"
                + table(
                    [Column("Film", pick=True, wide=True), Column("Cosine", numeric=True)],
                    rows,
                    caption=f"{title}: nearest films",
                    empty="No other films.",
                )
                + "</div>"
            )
        name = escape(film_text(self._films[self._places[pair.item]]))
        return f'<h3>Nearest to {name}</h3><div class="ckf-three">{"".join(parts)}</div>'

    @staticmethod
    def _highlight_table(history: list[dict], recommended: tuple[dict, ...]) -> str:
        rows = [
            Row(
                pick=row["item"],
                cells=[
                    row["title"],
                    year_text(row["year"]),
                    ", ".join(row["genres"]),
                    f"history, rated {row['rating']:g}"
                    if "rating" in row
                    else f"recommended, rank {row['rank']}",
                ],
            )
            for row in (*recommended, *history)
        ]
        return table(
            [
                Column("Film", pick=True, wide=True),
                Column("Year", numeric=True),
                Column("Genres", wide=True),
                Column("Highlighted as", wide=True),
            ],
            rows,
            caption="Recommendations and history",
            empty="No history and no recommendations yet.",
        )
