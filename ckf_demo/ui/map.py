"""The Map tab: items or people in the collaborative space, in the language model's token space
after this person's bridge, and in the space of the items' texts, in two or three dimensions."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from operator import itemgetter
from typing import Any

import gradio as gr
import numpy as np

from ckf_demo.inference.projections import (
    FILMS,
    NEAREST,
    PCA,
    PEOPLE,
    TOKENS,
    UMAP,
    UNTRAINED,
    Projection,
    Spaces,
    View,
)
from ckf_demo.runtime.assets import asset
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import (
    PLOTLY_HEAD,
    PLOTLY_SCRIPT,
    beside,
    cell,
    estimate,
    facts,
    listing,
    table_of,
)
from ckf_demo.ui.controls import lead, radio, stop_button
from ckf_demo.ui.downloads import Downloads
from ckf_demo.ui.events import CHOICE, MAP_QUEUE, PRIVATE, QUIET
from ckf_demo.ui.items import genres_column
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    directed_text,
    escape,
    film_text,
    notice,
    panel,
    percent,
    present,
    warn,
    year_text,
)
from ckf_demo.ui.page import Page, choose_item, in_tabs
from ckf_demo.ui.pair import GROUPS, Pair, group_of, history_of, known_user
from ckf_demo.ui.saved_rows import item_rows, people_rows
from ckf_demo.ui.topk import Ranking
from ckf_demo.ui.words import words_of

SPACES: dict[str, tuple[str, str]] = asset("page.toml")["spaces"]
NAMES = {space: name for space, (name, _) in SPACES.items()}
LISTED = 200
"""Points of a selection that are listed; a file holds all of them."""
COUNTS = ("No", "One", "Two", "Three")
SIDE_BY_SIDE, TRAINING = "spaces", "training"
METHODS = {PCA: "PCA", UMAP: "UMAP"}
# Okabe and Ito's palette, with grey for black, which would vanish on a dark page.
COLOURS = "#0072B2 #E69F00 #009E73 #D55E00 #CC79A7 #56B4E9 #F0E442 #999999".split()
# Shapes that Plotly draws in three dimensions with any font, without the ring, which marks
# recommendations. With eight colours no two of up to 40 genres look alike.
SHAPES = ("circle", "square", "diamond", "cross", "diamond-open")
DRAW_SCRIPT = (
    "watch('value', window.ckf.maps("
    "element, () => props.value, server, (chosen) => trigger('select', chosen), "
    "(selected) => trigger('input', selected)));"
)


def template(spaces: tuple[str, ...]) -> str:
    """One empty plot per space with its buttons, under a common legend (HTML)."""
    figures = ""
    for space in spaces:
        name, title = map(escape, SPACES[space])
        buttons = "".join(
            f'<button type="button" data-map="{action}" title="{label}" '
            f'aria-label="{label}: {name}">{text}</button>'
            for action, (text, label) in asset("page.toml")["map_buttons"].items()
        )
        figures += (
            f'<figure data-space="{space}" hidden><figcaption><strong>{title}</strong>'
            f'<span class="ckf-facts"></span><span class="ckf-map-buttons">{buttons}</span>'
            '</figcaption><div class="ckf-map-frame">'
            f'<div class="ckf-map" role="img" aria-label="{title}: scatter plot; the tables below '
            'list what it shows"></div><div class="ckf-link" hidden></div></div></figure>'
        )
    return (
        '<ul class="ckf-legend ckf-marks"></ul>'
        f'<div class="ckf-maps">{figures}</div><ul class="ckf-legend ckf-genres"></ul>'
    )


class MapTab:
    """Builds the tab's components in the current Blocks context and draws people into them."""

    def __init__(self, recommender, spaces: Spaces) -> None:
        self.recommender, self.store = recommender, recommender.store
        self.spaces, self.words = spaces, words_of(recommender)
        items = self.store.items().set_index("item", drop=False)
        self._films: dict[str, dict] = items.loc[recommender.item_order].to_dict("index")
        self._places = {item: place for place, item in enumerate(self._films)}
        self._genres = recommender.prepared.has_genres
        self._users: dict[str, dict] = (
            self.store.users().set_index("user", drop=False).to_dict("index")
        )
        self._lead()
        with gr.Row(elem_classes="ckf-controls"):
            kinds = [(self.words.things.capitalize(), FILMS), ("People", PEOPLE)]
            self.kind = radio("map-kind", "Points", kinds, 150)
            methods = [(label, method) for method, label in METHODS.items()]
            self.method = radio("map-method", "Projection", methods, 150)
            self.dimensions = radio("map-dimensions", "Dimensions", [("2-D", 2), ("3-D", 3)], 130)
            self.comparison = radio(
                "map-beside",
                "Side by side",
                [("The spaces", SIDE_BY_SIDE), ("Before and after training", TRAINING)],
                260,
                visible=UNTRAINED in spaces.names,
            )
            self.stop = stop_button("map-stop", scale=0, min_width=80)

        # Gradio marks such functions, which a method does not allow.
        def catalogue(kind: str) -> dict:
            return self.catalogue(kind)

        gr.set_static_paths([PLOTLY_SCRIPT])
        self.message = panel(notice("The maps are about to be drawn."), elem_id="map-message")
        self.maps = gr.HTML(
            "",
            html_template=template(tuple(name for name in NAMES if name in spaces.names)),
            js_on_load=DRAW_SCRIPT,
            head=PLOTLY_HEAD,
            server_functions=[catalogue],
            apply_default_css=False,
            elem_id="maps",
        )
        with gr.Column(visible=False, elem_id="map-selection") as self.selection:
            self.selected = panel("", elem_id="map-selected")
            self.selected_people = panel("", elem_id="map-selected-people")
            self.downloads = Downloads("map", "Save the selection:")
        self.picked = gr.State(None)
        self.neighbours = panel("", elem_id="neighbours")
        self.people = panel("", elem_id="people-alike")
        self.trust = panel("", elem_id="map-trust")
        with gr.Accordion("What the maps highlight, as a table", open=False):
            self.highlights = panel("", elem_id="highlights")

    def _lead(self) -> None:
        """Say what the spaces of this checkpoint show and how the maps are used."""
        thing, shown = self.words.thing, self.shown_spaces(FILMS, SIDE_BY_SIDE)
        meanings = {
            "collaborative": f"{self.words.rated} alike",
            TOKENS: "given similar tokens in the prompt for this person",
            "text": "described alike",
        }
        *others, last = (meanings[space] for space in shown)
        near = f"{', '.join(others)}{',' if len(others) > 1 else ''} or {last}" if others else last
        lead(
            f"{COUNTS[len(shown)]} view{'s' if others else ''} of the same {self.words.things}: "
            f"near one another means {near}. Point at a {thing} to find it in all of them, click "
            "it to choose it. Drag to move; zoom with the buttons, by pinching, or with Ctrl and "
            "the wheel."
        )

    def wire(self, page: Page) -> None:
        """Draw the maps while the tab is open, and let their points choose."""
        pair = page.pair
        page.chooses_item(self.neighbours, self.highlights)
        self.maps.select(self.choose, pair, pair, **CHOICE)
        page.chooses("user", self.people, self.choose_person)
        page.chooses_item(self.selected)
        page.chooses("user", self.selected_people, self.choose_person)
        self.maps.input(
            self.select,
            None,
            [self.selection, self.selected, self.selected_people, self.picked],
            **CHOICE,
        )
        self.downloads.wire(self.saved, [self.picked])
        inputs = [page.active, pair, page.ranking]
        inputs += [self.kind, self.method, self.dimensions, self.comparison]
        tables = [self.neighbours, self.people, self.trust, self.highlights]
        drawing = gr.on(
            [each.change for each in inputs],
            in_tabs(["map"], self.draw, self.message),
            inputs,
            [self.maps, self.message, *tables, self.stop],
            show_progress_on=[self.message, self.neighbours],
            trigger_mode="always_last",
            **PRIVATE,
            **MAP_QUEUE,
        )
        self.stop.click(self.stopped, outputs=[self.message, self.stop], cancels=drawing, **QUIET)

    def stopped(self) -> dict:
        """The message after a stop."""
        return {
            self.message: notice(
                "Stopped; the maps show what they showed before. Choose another view, or this one "
                "again: what was finished is kept."
            ),
            self.stop: gr.update(interactive=False),
        }

    def catalogue(self, kind: str) -> dict:
        """What is the same for everybody, asked for once by each page: the points' ids, hover texts
        (HTML), and the groups that colour and shape them."""
        if kind == PEOPLE:
            points, hover = self._users, self._user_hover
            names = list(GROUPS)
            group = [names.index(group_of(user["n_before"])) for user in points.values()]
            shown = [f"{name} {self.words.opinion}s before" for name in names]
        else:
            points, hover = self._films, self._film_hover
            rest = "genre unknown" if self._genres else self.words.things
            main = [film["genres"][0] if len(film["genres"]) else rest for film in points.values()]
            shown = [genre for genre, _ in Counter(main).most_common()]
            group = [shown.index(genre) for genre in main]
        groups = [
            {
                "name": name,
                "colour": COLOURS[number % len(COLOURS)],
                "shape": SHAPES[number % len(SHAPES)],
            }
            for number, name in enumerate(shown)
        ]
        hovers = [hover(point) for point in points.values()]
        return {"items": list(points), "hover": hovers, "group": group, "groups": groups}

    def choose(self, current: Pair, event: gr.EventData) -> Pair:
        """The pair with the chosen point's item, or with the chosen point's person."""
        choose = self.choose_person if event.kind == PEOPLE else choose_item
        return choose(current, event)

    def select(self, event: gr.EventData) -> tuple:
        """List the points that somebody drew around."""
        kind = PEOPLE if event.kind == PEOPLE else FILMS
        known = self._users if kind == PEOPLE else self._films
        ids = tuple(point for point in map(str, event.picked) if point in known)
        name_of = self._user_name if kind == PEOPLE else self._film_name
        things = "people" if kind == PEOPLE else self.words.things
        more = f", of which {LISTED} are listed" if len(ids) > LISTED else ""
        listed = listing(
            [Column(things.capitalize(), pick=True, wide=True)],
            [Row(pick=point, cells=[name_of(point)]) for point in ids[:LISTED]],
            caption=f"Selected: {len(ids):,} {things}{more}",
            empty="Nothing is selected.",
        )
        shown = ("", listed) if kind == PEOPLE else (listed, "")
        return gr.update(visible=True), *shown, (kind, ids)

    def saved(self, picked: tuple[str, tuple[str, ...]] | None) -> tuple[str, list[dict]]:
        """The selection as rows of a file, and the file's name."""
        if picked is None:
            raise UserError("Nothing is selected; press Select at a map and draw around points.")
        kind, ids = picked
        rows = people_rows if kind == PEOPLE else item_rows
        return f"{self.store.dataset}-selection", rows(self.recommender, ids)

    def choose_person(self, current: Pair, event: gr.EventData) -> Pair:
        """The pair with the person of the chosen row."""
        return known_user(self.store, event.pick, current.item)

    def shown_spaces(self, kind: str, comparison: str) -> tuple[str, ...]:
        """The spaces that stand side by side, in the order of the figures."""
        trained = ("collaborative", TOKENS, "text")
        wanted = (UNTRAINED, TOKENS) if comparison == TRAINING else trained
        return tuple(name for name in wanted if name in self.spaces.names_of(kind))

    def draw(
        self,
        pair: Pair,
        ranking: Ranking | None,
        kind: str,
        method: str,
        dimensions: int,
        comparison: str,
        progress: Any = gr.Progress(),  # noqa: B008 (Gradio finds it by its default)
    ) -> Iterator[dict]:
        """Draw the maps, and fill the tables with neighbours, trust and highlighted items.

        A message names each space that must be computed first; ``progress`` shows how many people
        are done.
        """

        def done(people: int) -> None:
            if people % 20 == 0:
                progress((people, len(self._users)), desc="People", unit="people")

        projection, views = Projection(method, int(dimensions)), {}
        shown = self.shown_spaces(kind, comparison)
        try:
            for number, space in enumerate(shown, start=1):
                if not self.spaces.at_hand(space, kind, projection):
                    waiting = f"Space {number} of {len(shown)}, {NAMES[space].lower()}"
                    yield {
                        self.message: _waiting(waiting, kind, projection),
                        self.stop: gr.update(interactive=True),
                    }
                views[space] = self.spaces.view(space, pair.person, kind, projection, done)
            updates = self._updates(pair, ranking, kind, projection, views)
        except UserError as error:
            updates = {self.message: warn(error)}
        yield {self.stop: gr.update(interactive=False), **updates}

    def _updates(
        self,
        pair: Pair,
        ranking: Ranking | None,
        kind: str,
        projection: Projection,
        views: dict[str, View],
    ) -> dict:
        """The maps as the script draws them, their facts, and the tables."""
        name = f"user {pair.user}" if pair.user else "new person"
        other = self.words.thing if kind == FILMS else "person"
        drawn: dict[str, Any] = {
            "kind": kind,
            "method": METHODS[projection.method],
            "dimensions": projection.dimensions,
            "name": name,
            "spaces": {
                space: {
                    "points": _encoded(view.points),
                    "person": None if view.person is None else np.round(view.person, 4).tolist(),
                    "hover": f"<b>{escape(name.capitalize())}</b><br>nearest {other} at a cosine "
                    f"of {'' if view.closest is None else f'{view.closest:.2f}'}",
                    "facts": _view_facts(view, projection),
                    "title": NAMES[space],
                }
                for space, view in views.items()
            },
            "history": [],
            "recommended": [],
            "selected": None,
        }
        near: dict[str, list] = {}
        if kind == PEOPLE:
            near = {space: self.spaces.people_like(space, pair.person) for space in views}
            people = _nearest_tables("this person", "Person", "people", near, self._user_name)
            neighbours = highlights = ""
        else:
            near = {space: self.spaces.neighbours(space, pair.item, pair.person) for space in views}
            thing, things = self.words.thing.capitalize(), self.words.things
            target = self._film_name(pair.item)
            neighbours = _nearest_tables(target, thing, things, near, self._film_name)
            history = history_of(self.store, pair)
            fits = ranking is not None and ranking.who == pair.who
            recommended = ranking.rows if fits else ()
            highlights, people = self._highlight_table(history, recommended), ""
            drawn |= {
                "history": sorted({self._places[row["item"]] for row in history}),
                "recommended": [self._places[row["item"]] for row in recommended],
                "selected": self._places[pair.item],
            }
        return {
            self.maps: json.dumps(drawn),
            self.message: self._facts(pair, kind, projection, views),
            self.neighbours: neighbours,
            self.people: people,
            self.trust: self._trust(pair.person, kind, projection, views),
            self.highlights: highlights,
        }

    def _facts(self, pair: Pair, kind: str, projection: Projection, views: dict[str, View]) -> str:
        text, things = "", self.words.things
        if kind == PEOPLE:
            text = (
                f"{len(self._users):,} people of the data at their default moments. The space of "
                f"the {things}’ texts holds no people."
            )
        elif TOKENS in views:
            share = self.spaces.moved(TOKENS, pair.person)
            text = (
                f"In the language model’s space this person’s bridge has moved the {things} by "
                f"{share:.2f} of their usual distance from the centre, compared with the average "
                f"person’s (median, n = {len(self._films):,})."
            )
            if projection.method == UMAP:
                text += (
                    " UMAP has laid out the average person’s tokens; this person’s stand between "
                    "those that they are nearest to."
                )
        return facts(text)

    def _trust(
        self, person: dict, kind: str, projection: Projection, views: dict[str, View]
    ) -> str:
        """How far each picture can be trusted, and how far the spaces agree (HTML)."""
        compared = list(combinations(views, 2))
        if UNTRAINED in views:
            others = [name for name in self.spaces.names_of(kind) if name not in views]
            compared += [(space, other) for other in others for space in views]
        drawn = f"{METHODS[projection.method]}, {projection.dimensions}-D"
        sample = max(view.trust.n for view in views.values())
        pictures = listing(
            [Column("Space", wide=True), "Dimensions", "Variance kept", "Trustworthiness"],
            [
                [
                    NAMES[space],
                    self.spaces.vectors(space, person, kind).shape[1],
                    cell(view.variance, percent),
                    view.trust.value,
                ]
                for space, view in views.items()
            ],
            caption=f"Pictures ({drawn}), trustworthiness with n = {sample:,}",
        )
        agreements = []
        for first, second in compared:
            share = self.spaces.agreement(first, second, person, kind)
            shown = Cell(estimate(share.value, share.low, share.high, percent), share.value)
            agreements.append(
                [f"{NAMES[first]} and {NAMES[second].lower()}", shown, f"{share.n:,}"]
            )
        shared = listing(
            [Column("Spaces", wide=True), f"Shared of the {NEAREST} nearest", "n"],
            agreements,
            caption="How far the spaces agree",
            empty="There is one space only.",
        )
        about = (
            "Trustworthiness is 1 when all neighbours in a picture are neighbours in the space "
            f"itself ({NEAREST} nearest by cosine, on a sample of n points). Two spaces that have "
            f"nothing in common would share {percent(self.spaces.chance(kind))} of their {NEAREST} "
            "nearest by chance; the interval is one of 95 % over the points."
        )
        return f"<h3>How far to trust the pictures</h3>{facts(about)}{beside(pictures, shared)}"

    def _highlight_table(self, history: list[dict], recommended: tuple[dict, ...]) -> str:
        years = any(present(film["year"]) for film in self._films.values())
        return table_of(
            (*recommended, *history),
            [
                (
                    Column(self.words.thing.capitalize(), pick=True, wide=True),
                    lambda row: film_text({**row, "year": None}),
                ),
                (Column("Year", numeric=True, shown=years), lambda row: year_text(row["year"])),
                genres_column(self.recommender),
                (Column("Highlighted as", wide=True), self._highlight),
            ],
            pick=itemgetter("item"),
            caption="Recommendations and history",
            empty="No history and no recommendations yet.",
        )

    def _highlight(self, row: dict) -> str:
        if "rank" in row:
            return f"recommended, rank {row['rank']}"
        return f"history, rated {row['rating']:g}" if self.words.stars else "history, liked"

    def _film_name(self, item: str) -> str:
        return film_text(self._films[item])

    def _film_hover(self, film: dict) -> str:
        genres = f"<br>{escape(', '.join(film['genres']))}" if self._genres else ""
        directed = f"<br>{escape(directed_text(film['directors']))}" if film["directors"] else ""
        return (
            f"<b>{escape(film_text(film))}</b>{genres}{directed}"
            f"<br>{int(film['n_ratings']):,} training {self.words.opinion}s"
        )

    def _user_name(self, user: str) -> str:
        """ "User 405: 12 ratings, 22, healthcare" """
        row = self._users[user]
        about = [f"{row['n_before']} {self.words.opinion}s", row["age"], row["occupation"]]
        return f"User {user}: " + ", ".join(str(part) for part in about if present(part))

    def _user_hover(self, user: dict) -> str:
        return f"<b>{escape(self._user_name(user['user'])).replace(': ', '</b><br>', 1)}"


def _encoded(points: np.ndarray) -> str:
    """Points (n, d) as base64 of little-endian float32, point by point: a third of their JSON."""
    return base64.b64encode(np.ascontiguousarray(points, dtype="<f4").tobytes()).decode()


def _nearest_tables(
    target: str,
    column: str,
    plural: str,
    near: dict[str, list[tuple[str, float]]],
    name_of: Callable[[str], str],
) -> str:
    """The nearest of each space with their cosines, side by side (HTML)."""
    tables = [
        listing(
            [Column(column, pick=True, wide=True), "Cosine"],
            [Row(pick=key, cells=[name_of(key), cosine]) for key, cosine in nearest],
            caption=f"{NAMES[space]}: nearest {plural}",
            empty="There are no others.",
        )
        for space, nearest in near.items()
    ]
    return f"<h3>Nearest to {escape(target)}</h3>{beside(*tables, style='ckf-three')}"


def _view_facts(view: View, projection: Projection) -> str:
    kept = "" if view.variance is None else f", {percent(view.variance)} of the variance"
    return (
        f"{METHODS[projection.method]}{kept}; trustworthiness {view.trust.value:.2f} "
        f"(n = {view.trust.n:,})"
    )


def _waiting(space: str, kind: str, projection: Projection) -> str:
    doing = "making the people’s vectors and " if kind == PEOPLE else ""
    return notice(
        f"{space}: {doing}laying it out by {METHODS[projection.method]} in "
        f"{projection.dimensions}-D. This is done once and kept; other views can be looked at "
        "meanwhile."
    )
