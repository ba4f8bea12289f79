"""The Top-K tab: the ranked list for the person, beside the explanation of the selected row."""

import statistics
from dataclasses import dataclass, field

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.answer import Answer, ExplanationPanel
from ckf_demo.ui.events import ANSWER
from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    escape,
    name_cell,
    notice,
    panel,
    stars_text,
    table,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, number_note, opinions

ANY = "any"


@dataclass(frozen=True)
class Ranking:
    """A ranked list with what it was asked for, which alone tells two of them apart."""

    who: Pair
    asked: tuple
    rows: tuple[dict, ...] = field(compare=False)


class TopKTab:
    """Builds the tab's components in the current Blocks context and ranks into them."""

    def __init__(self, recommender, landing: Answer, ranking: gr.State) -> None:
        self.recommender, self.ranking = recommender, ranking
        self._likes = recommender.prepared.positive_only
        self._genres = recommender.prepared.has_genres
        self._liked_from = recommender.prepared.liked_from
        items = recommender.store.items()
        self._popularity = dict(zip(items["item"], items["n_ratings"], strict=True))
        years = items["year"].dropna()
        low, high = (int(years.min()), int(years.max())) if len(years) else (1900, 2100)
        gr.HTML(
            f"<p>What should this person {recommender.domain.take} next? The collaborative model "
            "proposes candidates from the whole catalogue without what they have "
            f"{'liked' if self._likes else 'rated'}; CKF puts them in order. Select a row to "
            "explain it.</p>",
            apply_default_css=False,
            elem_classes="ckf-lead",
        )
        with gr.Row(elem_classes="ckf-controls"):
            self.k = gr.Slider(
                1,
                50,
                value=10,
                step=1,
                label=f"{recommender.domain.things.capitalize()} (k)",
                min_width=180,
                elem_id="k",
            )
            self.genre = gr.Dropdown(
                [ANY, *recommender.store.genres()],
                value=ANY,
                label="Genre",
                min_width=130,
                elem_id="genre",
                visible=self._genres,
            )
            self.year_from = gr.Number(
                label="From year",
                value=low,
                precision=0,
                min_width=90,
                elem_id="year-from",
                visible=len(years) > 0,
            )
            self.year_to = gr.Number(
                label="To year",
                value=high,
                precision=0,
                min_width=90,
                elem_id="year-to",
                visible=len(years) > 0,
            )
        self._years = (low, high)
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(scale=8, min_width=460):
                self.table = panel(notice("The list is being made."), elem_id="topk")
            with gr.Column(scale=3, min_width=260):
                self.panel = ExplanationPanel(recommender, landing, "topk", linked=False)

    def wire(self, page: Page) -> None:
        """Rank while this tab or the map is open, and let a row choose the item."""
        page.chooses_item(self.table)
        page.show(self.table, self.reselect, self.ranking)
        gr.on(
            [
                page.active.change,
                page.pair.change,
                self.k.release,
                self.genre.change,
                self.year_from.submit,
                self.year_from.blur,
                self.year_to.submit,
                self.year_to.blur,
            ],
            page.gated_in(
                ("topk", "map"), self.rank, page.service.model, "page: rank", self.ranking
            ),
            [page.active, page.pair, self.ranking, *self.controls],
            [self.table, self.ranking],
            show_progress_on=self.table,
            **ANSWER,
        )

    @property
    def controls(self) -> list:
        """The inputs of ``rank`` after the pair and the latest ranking."""
        return [self.k, self.genre, self.year_from, self.year_to]

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
        low, high = self._years
        asked = (
            int(k),
            None if genre == ANY else genre,
            None if year_from in (None, low) else int(year_from),
            None if year_to in (None, high) else int(year_to),
        )
        ranking = previous
        if previous is None or (previous.who, previous.asked) != (pair.who, asked):
            try:
                if None not in asked[2:] and asked[2] > asked[3]:
                    raise UserError(
                        f"the years {asked[2]} to {asked[3]} are the wrong way round; swap them"
                    )
                rows = self.recommender.rank(
                    **pair.person,
                    method=pair.method,
                    k=asked[0],
                    genre=asked[1],
                    year_from=asked[2],
                    year_to=asked[3],
                )
            except UserError as error:
                return {self.table: warn(error)}
            ranking = Ranking(pair.who, asked, tuple(rows))
        return {self.table: self.listing(ranking, pair), self.ranking: ranking}

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
        low, high = min(scores), max(scores)
        shown = [
            Row(
                pick=row["item"],
                selected=row["item"] == pair.item,
                cells=[
                    row["rank"],
                    name_cell(row, number_note(row, self.recommender)),
                    Cell(_score_bar(row["score"], low, high), row["score"]),
                    row["collaborative_rank"],
                    *([self._later(row.get("later_rating"))] if ranking.who.user else []),
                    *([", ".join(row["genres"])] if self._genres else []),
                ],
            )
            for row in rows
        ]
        later = "Later liked" if self._likes else "Later rated"
        columns = [
            Column("Rank", numeric=True),
            Column(self.recommender.domain.thing.capitalize(), pick=True, wide=True),
            Column("Score", numeric=True),
            Column("Collaborative rank", numeric=True),
            *([Column(later, numeric=True)] if ranking.who.user else []),
            *([Column("Genres", wide=True)] if self._genres else []),
        ]
        listing = table(
            columns, shown, caption=f"Top {len(rows)}", empty="Nothing to list.", height=620
        )
        return f'<p class="ckf-facts">{escape(self._summary(ranking))}</p>{listing}'

    def _summary(self, ranking: Ranking) -> str:
        rows = ranking.rows
        genres = {genre for row in rows for genre in row["genres"]}
        median = statistics.median(self._popularity.get(row["item"], 0) for row in rows)
        of_genres = f" of {len(genres)} genres" if self._genres else ""
        parts = [
            f"{len(rows)} {self.recommender.domain.things}{of_genres}, with a median of "
            f"{median:.0f} training {opinions(self.recommender)} each"
        ]
        if ranking.who.user:
            later = [row["later_rating"] for row in rows if row.get("later_rating") is not None]
            liked = sum(rating >= self._liked_from for rating in later)
            parts.append(
                f"{len(later)} of them later liked by this user"
                if self._likes
                else f"{len(later)} of them later rated by this user, {liked} with "
                f"{self._liked_from:g} stars or more"
            )
        return "; ".join(parts) + "."

    def _later(self, rating: float | None) -> Cell:
        if rating is None:
            return Cell("–", 0)
        if self._likes:
            return Cell('<span class="ckf-later ckf-liked">yes</span>', rating)
        liked = " ckf-liked" if rating >= self._liked_from else ""
        return Cell(f'<span class="ckf-later{liked}">{stars_text(rating)}&nbsp;★</span>', rating)


def _score_bar(score: float, low: float, high: float) -> str:
    share = 1.0 if high == low else 0.08 + 0.92 * (score - low) / (high - low)
    return (
        f'<span class="ckf-score"><span class="ckf-score-bar" style="width:{100 * share:.0f}%">'
        f"</span></span>{score:.2f}"
    )
