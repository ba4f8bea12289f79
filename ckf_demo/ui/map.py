"""The Map tab: films or people in the collaborative space, in the language model's token space
after this person's bridge, and in the space of the films' texts, in two or three dimensions."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

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
    Measured,
    Projection,
    Spaces,
    View,
)
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import PLOTLY_HEAD, PLOTLY_SCRIPT
from ckf_demo.ui.events import MAP_QUEUE, PRIVATE, QUIET
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    escape,
    film_text,
    notice,
    panel,
    percent,
    present,
    table,
    warn,
    year_text,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import GROUPS, Pair, group_of, history_of, known_user
from ckf_demo.ui.topk import Ranking

NAMES = {
    "collaborative": "Collaborative",
    UNTRAINED: "Language model before training",
    TOKENS: "Language model",
    "text": "Text",
}
TITLES = {
    "collaborative": "Collaborative: rated alike",
    UNTRAINED: "Before training: untrained bridge",
    TOKENS: "Language model: after their bridge",
    "text": "Text: described alike",
}
SIDE_BY_SIDE, TRAINING = "spaces", "training"
METHODS = {PCA: "PCA", UMAP: "UMAP"}
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
# Five shapes that Plotly draws in three dimensions with any font, but the ring, which marks
# recommendations; against eight colours no two of up to 40 genres share both.
SHAPES = ("circle", "square", "diamond", "cross", "diamond-open")
DRAW_SCRIPT = (
    "watch('value', window.ckf.maps("
    "element, () => props.value, server, (chosen) => trigger('select', chosen)));"
)


def template(spaces: tuple[str, ...]) -> str:
    """One empty plot per space with its buttons, under a common legend (HTML)."""
    figures = "".join(
        f'<figure data-space="{space}" hidden><figcaption><strong>{escape(TITLES[space])}</strong>'
        f'<span class="ckf-facts"></span><span class="ckf-map-buttons">{_buttons(space)}</span>'
        '</figcaption><div class="ckf-map-frame">'
        f'<div class="ckf-map" role="img" aria-label="{escape(TITLES[space])}: scatter plot; the '
        'tables below list what it shows"></div><div class="ckf-link" hidden></div></div></figure>'
        for space in spaces
    )
    return (
        '<ul class="ckf-legend ckf-marks"></ul>'
        f'<div class="ckf-maps">{figures}</div><ul class="ckf-legend ckf-genres"></ul>'
    )


def _buttons(space: str) -> str:
    labels = {
        "in": ("+", "Zoom in"),
        "out": ("−", "Zoom out"),
        "reset": ("Reset", "Show all of it"),
        "png": ("PNG", "Download as PNG"),
        "html": ("HTML", "Download as a page of its own"),
    }
    return "".join(
        f'<button type="button" data-map="{action}" title="{label}" '
        f'aria-label="{label}: {escape(NAMES[space])}">{text}</button>'
        for action, (text, label) in labels.items()
    )


class MapTab:
    """Builds the tab's components in the current Blocks context and draws people into them."""

    def __init__(self, recommender, spaces: Spaces) -> None:
        self.recommender = recommender
        self.store = recommender.store
        self.spaces = spaces
        items = self.store.items().set_index("item").loc[recommender.item_order].reset_index()
        self._films = items.to_dict("records")
        self._places = {item: place for place, item in enumerate(recommender.item_order)}
        self._users = self.store.users().to_dict("records")
        self._user_places = {user["user"]: place for place, user in enumerate(self._users)}
        gr.HTML(
            "<p>Three views of the same films: near one another means rated alike, passed alike to "
            "the language model for this person, or described alike. Point at a film to find it in "
            "all of them, click it to choose it. Drag to move; zoom with the buttons, by pinching, "
            "or with Ctrl and the wheel.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        with gr.Row(elem_classes="ckf-controls"):
            self.kind = gr.Radio(
                [("Films", FILMS), ("People", PEOPLE)],
                value=FILMS,
                label="Points",
                min_width=150,
                elem_id="map-kind",
            )
            self.method = gr.Radio(
                [(label, method) for method, label in METHODS.items()],
                value=PCA,
                label="Projection",
                min_width=150,
                elem_id="map-method",
            )
            self.dimensions = gr.Radio(
                [("2-D", 2), ("3-D", 3)],
                value=2,
                label="Dimensions",
                min_width=130,
                elem_id="map-dimensions",
            )
            self.beside = gr.Radio(
                [("The spaces", SIDE_BY_SIDE), ("Before and after training", TRAINING)],
                value=SIDE_BY_SIDE,
                label="Side by side",
                min_width=260,
                visible=UNTRAINED in spaces.names,
                elem_id="map-beside",
            )
            self.stop = gr.Button(
                "Stop", size="sm", scale=0, min_width=80, interactive=False, elem_id="map-stop"
            )

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
        self.neighbours = panel("", elem_id="neighbours")
        self.people = panel("", elem_id="people-alike")
        self.trust = panel("", elem_id="map-trust")
        with gr.Accordion("What the maps highlight, as a table", open=False):
            self.highlights = panel("", elem_id="highlights")

    def wire(self, page: Page) -> None:
        """Draw the maps while the tab is open, and let their points choose."""
        pair = page.pair
        page.chooses_item(self.neighbours, self.highlights)
        self.maps.select(self.choose, pair, pair, **QUIET)
        page.chooses("user", self.people, self.choose_person)

        def draw(
            tab: str,
            current: Pair,
            ranking: Ranking | None,
            kind: str,
            method: str,
            dimensions: int,
            beside: str,
            progress=gr.Progress(),  # noqa: B008 (Gradio finds it by its default)
        ):
            if tab == "map":
                view = kind, method, dimensions, beside
                yield from self.draw(current, ranking, *view, progress=progress)
            else:
                yield {self.message: gr.skip()}

        drawing = gr.on(
            [
                page.active.change,
                pair.change,
                page.ranking.change,
                *(control.change for control in self.controls),
            ],
            draw,
            [page.active, pair, page.ranking, *self.controls],
            self.outputs,
            show_progress_on=[self.message, self.neighbours],
            trigger_mode="always_last",
            **PRIVATE,
            **MAP_QUEUE,
        )
        self.stop.click(self.stopped, outputs=self.outputs, cancels=drawing, **QUIET)

    @property
    def controls(self) -> list:
        """The inputs of ``draw`` after the pair and the latest ranking."""
        return [self.kind, self.method, self.dimensions, self.beside]

    @property
    def outputs(self) -> list:
        """Every component that ``draw`` updates."""
        return [
            self.maps,
            self.message,
            self.neighbours,
            self.people,
            self.trust,
            self.highlights,
            self.stop,
        ]

    def stopped(self) -> dict:
        """What is shown after a stop."""
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
            names = list(GROUPS)
            group = [names.index(group_of(user["n_before"])) for user in self._users]
            ids, hover = list(self._user_places), [_user_hover(user) for user in self._users]
            shown = [f"{name} ratings before" for name in names]
        else:
            main = [film["genres"][0] if len(film["genres"]) else "unknown" for film in self._films]
            shown = [genre for genre, _ in Counter(main).most_common()]
            group = [shown.index(genre) for genre in main]
            ids, hover = list(self._places), [_film_hover(film) for film in self._films]
        groups = [
            {
                "name": name,
                "colour": COLOURS[number % len(COLOURS)],
                "shape": SHAPES[number % len(SHAPES)],
            }
            for number, name in enumerate(shown)
        ]
        return {"items": ids, "hover": hover, "group": group, "groups": groups}

    def choose(self, current: Pair, event: gr.EventData) -> Pair:
        """The pair with the chosen point's film, or with the chosen point's person."""
        if event.kind == PEOPLE:
            return known_user(self.store, event.pick, current.item)
        return current.with_item(event.pick)

    def choose_person(self, current: Pair, event: gr.EventData) -> Pair:
        """The pair with the person of the chosen row."""
        return known_user(self.store, event.pick, current.item)

    def shown_spaces(self, kind: str, beside: str) -> tuple[str, ...]:
        """The spaces that stand side by side, in the order of the figures."""
        wanted = (UNTRAINED, TOKENS) if beside == TRAINING else tuple(NAMES)
        if beside != TRAINING:
            wanted = tuple(name for name in wanted if name != UNTRAINED)
        return tuple(name for name in wanted if name in self.spaces.names_of(kind))

    def draw(
        self,
        pair: Pair,
        ranking: Ranking | None,
        kind: str,
        method: str,
        dimensions: int,
        beside: str,
        progress: Callable | None = None,
    ) -> Iterator[dict]:
        """Draw the maps, the nearest of what is chosen, how far to trust all that, and the
        highlighted films; whatever must be computed first is said, space by space, and how many
        people are done by ``progress`` (a `gr.Progress`)."""

        def done(people: int) -> None:
            if progress is not None and people % 20 == 0:
                progress((people, len(self._users)), desc="People", unit="people")

        person, projection = pair.person, Projection(method, int(dimensions))
        shown = self.shown_spaces(kind, beside)
        views: dict[str, View] = {}
        try:
            for number, space in enumerate(shown):
                if not self.spaces.at_hand(space, kind, projection):
                    yield {
                        self.message: _waiting(space, kind, projection, number, len(shown)),
                        self.stop: gr.update(interactive=True),
                    }
                views[space] = self.spaces.view(space, person, kind, projection, done)
            tables = self._tables(pair, ranking, kind, shown)
        except UserError as error:
            yield {self.message: warn(error), self.stop: gr.update(interactive=False)}
            return
        yield {
            self.stop: gr.update(interactive=False),
            self.maps: json.dumps(self._drawn(pair, ranking, kind, projection, views)),
            self.message: self._facts(pair, kind, shown, projection),
            self.trust: self._trust(person, kind, projection, views),
            **tables,
        }

    def _drawn(
        self,
        pair: Pair,
        ranking: Ranking | None,
        kind: str,
        projection: Projection,
        views: dict[str, View],
    ) -> dict:
        """What the script draws."""
        history, recommended = self._highlighted(pair, ranking)
        films = kind == FILMS
        name = f"user {pair.user}" if pair.user else "new person"
        return {
            "kind": kind,
            "method": METHODS[projection.method],
            "dimensions": projection.dimensions,
            "name": name,
            "spaces": {
                space: {
                    "points": _encoded(view.points),
                    "person": None if view.person is None else np.round(view.person, 4).tolist(),
                    "hover": _person_hover(name, kind, view),
                    "facts": _view_facts(view, projection),
                    "title": NAMES[space],
                }
                for space, view in views.items()
            },
            "history": sorted({self._places[row["item"]] for row in history}) if films else [],
            "recommended": [self._places[row["item"]] for row in recommended] if films else [],
            "selected": self._places[pair.item] if films else None,
        }

    def _highlighted(
        self, pair: Pair, ranking: Ranking | None
    ) -> tuple[list[dict], tuple[dict, ...]]:
        """History and recommendations of the pair's person."""
        fits = ranking is not None and ranking.who == pair.who
        return history_of(self.store, pair), ranking.rows if fits else ()

    def _tables(
        self, pair: Pair, ranking: Ranking | None, kind: str, shown: tuple[str, ...]
    ) -> dict:
        if kind == PEOPLE:
            found = {space: self.spaces.people_like(space, pair.person) for space in shown}
            return {self.neighbours: "", self.people: self._alike(found), self.highlights: ""}
        found = {space: self.spaces.neighbours(space, pair.item, pair.person) for space in shown}
        return {
            self.neighbours: self._neighbour_table(pair, found),
            self.people: "",
            self.highlights: self._highlight_table(*self._highlighted(pair, ranking)),
        }

    def _facts(self, pair: Pair, kind: str, shown: tuple[str, ...], projection: Projection) -> str:
        text = ""
        if kind == FILMS and TOKENS in shown:
            share = self.spaces.moved(TOKENS, pair.person)
            text = (
                "In the language model’s space this person’s bridge has moved the films by "
                f"{share:.2f} of their usual distance from the centre, compared with the average "
                f"person’s (median, n = {len(self._films):,})."
            )
            if projection.method == UMAP:
                text += (
                    " UMAP has laid out the average person’s tokens; this person’s stand between "
                    "those that they are nearest to."
                )
        elif kind == PEOPLE:
            text = (
                f"{len(self._users):,} people of the data at their default moments. The space of "
                "the films’ texts holds no people."
            )
        return f'<p class="ckf-facts">{escape(text)}</p>'

    def _trust(
        self, person: dict, kind: str, projection: Projection, views: dict[str, View]
    ) -> str:
        """How far each picture can be trusted, and how far the spaces agree (HTML)."""
        pictures = [
            Row(
                pick=None,
                cells=[
                    NAMES[space],
                    self.spaces.vectors(space, person, kind).shape[1],
                    Cell("–", "") if view.variance is None else _share(view.variance),
                    view.trust.value,
                ],
            )
            for space, view in views.items()
        ]
        against = list(combinations(views, 2))
        if UNTRAINED in views:
            others = [name for name in self.spaces.names_of(kind) if name not in views]
            against += [(space, other) for other in others for space in views]
        pairs = []
        for first, second in against:
            measured = self.spaces.agreement(first, second, person, kind)
            pairs.append(
                Row(
                    pick=None,
                    cells=[
                        f"{NAMES[first]} and {NAMES[second].lower()}",
                        Cell(_interval(measured), measured.value),
                        f"{measured.n:,}",
                    ],
                )
            )
        drawn = f"{METHODS[projection.method]}, {projection.dimensions}-D"
        sample = max(view.trust.n for view in views.values())
        chance = self.spaces.chance(kind)
        return (
            "<h3>How far to trust the pictures</h3>"
            '<p class="ckf-facts">Trustworthiness is 1 when all neighbours in a picture are '
            f"neighbours in the space itself ({NEAREST} nearest by cosine, on a sample of n "
            "points). "
            f"Two spaces that have nothing in common would share {percent(chance)} of their "
            f"{NEAREST} nearest by chance; the interval is one of 95 % over the points.</p>"
            '<div class="ckf-beside"><div>'
            + table(
                [
                    Column("Space", wide=True),
                    Column("Dimensions", numeric=True),
                    Column("Variance kept", numeric=True),
                    Column("Trustworthiness", numeric=True),
                ],
                pictures,
                caption=f"Pictures ({drawn}), trustworthiness with n = {sample:,}",
                empty="No picture is drawn.",
            )
            + "</div><div>"
            + table(
                [
                    Column("Spaces", wide=True),
                    Column(f"Shared of the {NEAREST} nearest", numeric=True),
                    Column("n", numeric=True),
                ],
                pairs,
                caption="How far the spaces agree",
                empty="There is one space only.",
            )
            + "</div></div>"
        )

    def _neighbour_table(self, pair: Pair, nearest: dict[str, list[tuple[str, float]]]) -> str:
        parts = [
            _nearest_table(
                f"{NAMES[space]}: nearest films",
                "Film",
                [(item, film_text(self._films[self._places[item]]), near) for item, near in found],
            )
            for space, found in nearest.items()
        ]
        name = escape(film_text(self._films[self._places[pair.item]]))
        return f'<h3>Nearest to {name}</h3><div class="ckf-three">{"".join(parts)}</div>'

    def _alike(self, nearest: dict[str, list[tuple[str, float]]]) -> str:
        parts = [
            _nearest_table(
                f"{NAMES[space]}: nearest people",
                "Person",
                [
                    (user, _user_text(self._users[self._user_places[user]]), near)
                    for user, near in found
                ],
            )
            for space, found in nearest.items()
        ]
        return f'<h3>Nearest to this person</h3><div class="ckf-three">{"".join(parts)}</div>'

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


def _encoded(points: np.ndarray) -> str:
    """Points (n, d) as base64 of little-endian float32, point by point: a third of their JSON."""
    return base64.b64encode(np.ascontiguousarray(points, dtype="<f4").tobytes()).decode()


def _film_hover(film: dict) -> str:
    genres = escape(", ".join(film["genres"]))
    return (
        f"<b>{escape(film_text(film))}</b><br>{genres}"
        f"<br>{int(film['n_ratings']):,} training ratings"
    )


def _user_text(user: dict) -> str:
    """ "User 405: 12 ratings, 22, healthcare" """
    parts = [f"{user['n_before']} ratings", user["age"], user["occupation"]]
    return f"User {user['user']}: " + ", ".join(str(part) for part in parts if present(part))


def _user_hover(user: dict) -> str:
    return f"<b>{escape(_user_text(user)).replace(': ', '</b><br>', 1)}"


def _person_hover(name: str, kind: str, view: View) -> str:
    near = "" if view.closest is None else f"{view.closest:.2f}"
    other = "film" if kind == FILMS else "person"
    return f"<b>{escape(name.capitalize())}</b><br>nearest {other} at a cosine of {near}"


def _nearest_table(caption: str, what: str, found: list[tuple[str, str, float]]) -> str:
    listing = table(
        [Column(what, pick=True, wide=True), Column("Cosine", numeric=True)],
        [Row(pick=pick, cells=[text, near]) for pick, text, near in found],
        caption=caption,
        empty="There are no others.",
    )
    return f"<div>{listing}</div>"


def _share(value: float) -> Cell:
    return Cell(percent(value), value)


def _interval(measured: Measured) -> str:
    if measured.low is None or measured.high is None:
        return percent(measured.value)
    return f"{percent(measured.value)} ({100 * measured.low:.0f}–{percent(measured.high)})"


def _view_facts(view: View, projection: Projection) -> str:
    kept = "" if view.variance is None else f", {percent(view.variance)} of the variance"
    return (
        f"{METHODS[projection.method]}{kept}; trustworthiness {view.trust.value:.2f} "
        f"(n = {view.trust.n:,})"
    )


def _waiting(space: str, kind: str, projection: Projection, number: int, of: int) -> str:
    doing = "making the people’s vectors and " if kind == PEOPLE else ""
    return notice(
        f"Space {number + 1} of {of}, {NAMES[space].lower()}: {doing}laying it out by "
        f"{METHODS[projection.method]} in {projection.dimensions}-D. This is done once and kept; "
        "other views stay at hand meanwhile."
    )
