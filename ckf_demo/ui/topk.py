"""The Top-K tab: the ranked list for the person, beside the explanation of the selected row."""

import json
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter

import gradio as gr
from gradio.components import Component

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.answer import Answer, ExplanationPanel
from ckf_demo.ui.charts import facts, table_of
from ckf_demo.ui.controls import dropdown, lead
from ckf_demo.ui.downloads import Downloads
from ckf_demo.ui.events import ANSWER, PRIVATE
from ckf_demo.ui.items import genres_column, name_column
from ckf_demo.ui.markup import Cell, Column, notice, panel, stars_text, warn
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, opinions
from ckf_demo.ui.saved_rows import ranked_rows

ANY = "any"
SHOWN, MOST = 10, 50
"""Items of a list: at first, and at most."""


@dataclass(frozen=True)
class Ranking:
    """A ranked list with its person and filters, which alone tell two of them apart.

    ``filters`` are ``k``, ``genre``, ``year_from`` and ``year_to`` of `Recommender.rank`, with
    their names. A state of Gradio's has to be hashable.
    """

    who: Pair
    filters: tuple[tuple[str, object], ...]
    rows: tuple[dict, ...] = field(compare=False)


class TopKTab:
    """Builds the tab's components in the current Blocks context and ranks into them."""

    def __init__(self, recommender, first_answer: Answer, ranking: gr.State) -> None:
        self.recommender, self.ranking = recommender, ranking
        self._positive_only = recommender.prepared.positive_only
        self._genres = recommender.prepared.has_genres
        self._like_threshold = recommender.prepared.liked_from
        items = recommender.store.items()
        self._popularity = dict(zip(items["item"], items["n_ratings"], strict=True))
        years = items["year"].dropna()
        low, high = (int(years.min()), int(years.max())) if len(years) else (1900, 2100)
        self._years = (low, high)
        lead(
            f"What should this person {recommender.domain.take} next? The collaborative model "
            f"{'orders' if 'ranking' in recommender.by_prior else 'proposes candidates from'} the "
            f"whole catalogue without what they have {'liked' if self._positive_only else 'rated'}"
            f"{'' if 'ranking' in recommender.by_prior else '; CKF puts them in order'}. Select a "
            "row to explain it."
        )
        with gr.Row(elem_classes="ckf-controls"):
            label = f"{recommender.domain.things.capitalize()} (k)"
            self.k = gr.Slider(1, MOST, SHOWN, step=1, label=label, min_width=180, elem_id="k")
            self.genre = dropdown(
                "genre",
                "Genre",
                [ANY, *recommender.store.genres()],
                130,
                visible=self._genres,
            )
            number = {"precision": 0, "min_width": 90, "visible": len(years) > 0}
            self.year_from = gr.Number(low, label="From year", elem_id="year-from", **number)
            self.year_to = gr.Number(high, label="To year", elem_id="year-to", **number)
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(scale=8, min_width=460):
                self.table = panel(notice("The list is being made."), elem_id="topk")
                self.downloads = Downloads("topk", "Save the list:")
            with gr.Column(scale=3, min_width=260):
                self.panel = ExplanationPanel(recommender, first_answer, "topk", linked=False)

    @property
    def controls(self) -> list[Component]:
        """What filters the list."""
        return [self.k, self.genre, self.year_from, self.year_to]

    def wire(self, page: Page) -> None:
        """Rank while this tab or the map is open, and let a row choose the item."""
        page.chooses_item(self.table)
        page.show(self.table, self.reselect, self.ranking)
        self.downloads.wire(self.saved, [page.ranking])
        changes = [page.active.change, page.pair.change, self.k.change, self.genre.change]
        for year in (self.year_from, self.year_to):
            changes += [year.submit, year.blur]
        controls = self.controls
        defaults = json.dumps([SHOWN, ANY, *self._years, MOST])
        for control in controls:
            control.change(
                None,
                controls,
                js=f"(...values) => window.ckf.filters(values, {defaults})",
                **PRIVATE,
            )
        gr.on(
            changes,
            page.gated_in(
                ("topk", "map"), self.rank, page.service.model, "page: rank", self.ranking
            ),
            [page.active, page.pair, self.ranking, *controls],
            [self.table, self.ranking],
            show_progress_on=self.table,
            # a number that is out of range gets a message of its own
            preprocess=False,
            **ANSWER,
        )

    def rank(
        self,
        pair: Pair,
        previous: Ranking | None,
        k: float,
        genre: str,
        year_from: float | None,
        year_to: float | None,
    ) -> dict:
        """Rank for the person, unless the latest ranking already answers the same."""
        ranking = previous
        try:
            filters = self._filters(k, genre, year_from, year_to)
            named = tuple(filters.items())
            if previous is None or (previous.who, previous.filters) != (pair.who, named):
                rows = self.recommender.rank(**pair.person, method=pair.method, **filters)
                ranking = Ranking(pair.who, named, tuple(rows))
        except UserError as error:
            return {self.table: warn(error), self.ranking: None}
        return {self.table: self.listing(ranking, pair), self.ranking: ranking}

    def _filters(
        self, k: float | None, genre: str, year_from: float | None, year_to: float | None
    ) -> dict:
        """What the controls say, as `Recommender.rank` takes it; UserError for what cannot be."""
        things = self.recommender.domain.things
        if k is None or not 1 <= k <= MOST:
            raise UserError(f"A list of {k} {things} is not within 1 to {MOST}; choose another k.")
        low, high = self._years
        first = None if year_from in (None, low) else int(year_from)
        last = None if year_to in (None, high) else int(year_to)
        if first is not None and last is not None and first > last:
            raise UserError(f"the years {first} to {last} are the wrong way round; swap them")
        return {
            "k": int(k),
            "genre": None if genre == ANY else genre,
            "year_from": first,
            "year_to": last,
        }

    def from_address(self, params: Mapping[str, str]) -> dict:
        """The controls that an address names, with their values.

        Raises
        ------
        UserError
            For a number or a genre that the controls cannot show.
        """
        shown: dict = {}
        bounds = {"top": (self.k, 1, MOST), "from": (self.year_from, 0, 9999)}
        bounds["to"] = (self.year_to, 0, 9999)
        for name, (control, low, high) in bounds.items():
            if text := params.get(name):
                if not re.fullmatch("[0-9]{1,4}", text) or not low <= int(text) <= high:
                    raise UserError(
                        f"{name}={text[:40]!r} in the address is no number from {low} to {high}; "
                        "mend or remove it"
                    )
                shown[control] = int(text)
        if genre := params.get("genre"):
            genres = self.recommender.store.genres()
            if genre not in genres:
                raise UserError(
                    f"genre={genre[:40]!r} in the address is unknown; choose one of "
                    f"{', '.join(genres)}"
                )
            shown[self.genre] = genre
        return shown

    def saved(self, ranking: Ranking | None) -> tuple[str, list[dict]]:
        """The list as rows of a file, and the file's name."""
        if ranking is None:
            raise UserError("The list is still being made; save it when it is there.")
        return ranked_rows(self.recommender, ranking.who, ranking.rows)

    def reselect(self, pair: Pair, ranking: Ranking | None) -> str | dict:
        """The same list with the pair's film marked."""
        if ranking is None or ranking.who != pair.who:
            return gr.skip()
        return self.listing(ranking, pair)

    def listing(self, ranking: Ranking, pair: Pair) -> str:
        """The ranked list as a table with one line about the list as a whole (HTML)."""
        rows = ranking.rows
        if not rows:
            return notice(
                f"No {self.recommender.domain.thing} passes these filters; widen the years or "
                "choose another genre."
            )
        scores = [row["score"] for row in rows]
        known = ranking.who.user is not None
        later = "Later liked" if self._positive_only else "Later rated"
        ranked = table_of(
            rows,
            [
                ("Rank", itemgetter("rank")),
                name_column(self.recommender),
                ("Score", lambda row: _score_cell(row["score"], min(scores), max(scores))),
                ("Collaborative rank", itemgetter("collaborative_rank")),
                (Column(later, numeric=True, shown=known), self._later),
                genres_column(self.recommender),
            ],
            pick=itemgetter("item"),
            selected=lambda row: row["item"] == pair.item,
            caption=f"Top {len(rows)}",
            height=620,
        )
        return facts(self._summary(ranking)) + ranked

    def _summary(self, ranking: Ranking) -> str:
        rows = ranking.rows
        genres = {genre for row in rows for genre in row["genres"]}
        median = statistics.median(self._popularity.get(row["item"], 0) for row in rows)
        of_genres = f" of {len(genres)} genres" if self._genres else ""
        summary = (
            f"{len(rows)} {self.recommender.domain.things}{of_genres}, with a median of "
            f"{median:.0f} training {opinions(self.recommender)} each"
        )
        if ranking.who.user:
            later = [row["later_rating"] for row in rows if row.get("later_rating") is not None]
            if self._positive_only:
                summary += f"; {len(later)} of them later liked by this user"
            else:
                liked = sum(rating >= self._like_threshold for rating in later)
                summary += (
                    f"; {len(later)} of them later rated by this user, {liked} with "
                    f"{self._like_threshold:g} stars or more"
                )
        return f"{summary}."

    def _later(self, row: dict) -> Cell:
        rating = row.get("later_rating")
        if rating is None:
            return Cell("–", 0)
        liked = " ckf-liked" if self._positive_only or rating >= self._like_threshold else ""
        shown = "yes" if self._positive_only else f"{stars_text(rating)}&nbsp;★"
        return Cell(f'<span class="ckf-later{liked}">{shown}</span>', rating)


def _score_cell(score: float, low: float, high: float) -> Cell:
    share = 1.0 if high == low else 0.08 + 0.92 * (score - low) / (high - low)
    return Cell(
        f'<span class="ckf-score"><span class="ckf-score-bar" style="width:{100 * share:.0f}%">'
        f"</span></span>{score:.2f}",
        score,
    )
