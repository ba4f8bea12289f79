"""What the Why tab shows, as HTML: bars of effects and changes, each with the table behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import (
    PROBABILITY,
    STARS,
    Axis,
    Bar,
    bars,
    beside,
    card,
    cell,
    change_bars,
    estimate,
    facts,
    number,
    percentage_points,
    signed,
    table_of,
)
from ckf_demo.ui.markup import Cell, Column, escape, film_text, notice, percent, stars_text
from ckf_demo.ui.words import Words

FILMS, PARTS, STANDING, LATER = SECTIONS = ("films", "parts", "standing", "later")
OTHER_STARS = "If it had got other stars"


@dataclass(frozen=True)
class Quantity:
    """A figure that is compared: how it and a change of it are written, and its axis.

    ``axis`` is None where the axis spans the figures that are shown.
    """

    label: str
    written: Callable[[float], str]
    change: Callable[[float], str]
    axis: Axis | None = None

    def axis_of(self, values: Sequence[float]) -> Axis:
        """The axis of a chart of these values."""
        if self.axis is not None:
            return self.axis
        low, high = min(values), max(values)
        room = 0.1 * (high - low or 1)
        return Axis(low - room, high + room, self.written)


QUANTITIES = {
    "rating": Quantity("Expected stars", number, signed, STARS),
    "probability": Quantity("Likes it", percent, percentage_points, PROBABILITY),
    "score": Quantity("Score", number, signed),
}
STAGES = {
    "candidates": "Candidate stage",
    "prior": "Collaborative prior",
    "own": "The full answer",
}
OUTCOMES = {
    "kept": "in the top list",
    "moved in": "in the top list, moved in by re-ranking",
    "moved out": "moved out by re-ranking",
    "not moved in": "a candidate that re-ranking left below",
    "no candidate": "lost by the candidate stage",
}


def progress_markup(done: bool, stopped: bool) -> str:
    """One line on whether more is coming (HTML)."""
    text = "" if done else "Stopped; “Go on” computes the rest." if stopped else "Computing …"
    return f'<p class="ckf-time" role="status">{text}</p>' if text else ""


def _quantities(row: dict) -> list[str]:
    """The quantities that the checkpoint answers."""
    return [name for name in QUANTITIES if row[name] is not None]


def _columns(
    present: dict, difference: str = "Change", condition: str = "", sign: int = 1
) -> list[tuple]:
    """Two columns for each quantity: itself, and its change from ``present`` (or its effect, with
    the ``sign`` −1)."""

    def two(name: str, quantity: Quantity) -> list[tuple]:
        def change(row: dict) -> Cell:
            return cell(sign * (row[name] - present[name]), quantity.change)

        label = f"{quantity.label} {condition}".strip()
        return [(label, lambda row: cell(row[name], quantity.written)), (difference, change)]

    return [column for name in _quantities(present) for column in two(name, QUANTITIES[name])]


@dataclass(frozen=True)
class WhyMarkup:
    """The sections of an answer about ``item``, a row of the store, compared on ``by``.

    ``missing`` names the parts that the checkpoint lacks. With ``by_prior`` the language model has
    no weight in the answers.
    """

    words: Words
    item: dict
    by: str | None
    missing: Sequence[str] = ()
    by_prior: bool = False

    def section(self, name: str, result, progress: str) -> str:
        """One section (HTML); ``result`` is what is computed so far, or why there is nothing."""
        words = self.words
        heading, body = {
            FILMS: (f"Which {words.rated} {words.things} move the answer?", self._films),
            PARTS: ("What if a part were swapped or switched off?", self._parts),
            STANDING: (f"Where does the {words.thing} stand among those not seen?", self._standing),
            LATER: ("Did a top list find what they liked later?", self._later),
        }[name]
        try:
            if isinstance(result, str):
                raise UserError(result)
            return card(heading, body(result) if result else "", progress)
        except UserError as error:
            return card(heading, notice(str(error)))

    def _compared(self, row: dict) -> tuple[str, Quantity]:
        """The quantity that is compared."""
        names = _quantities(row)
        name = self.by if self.by in names else names[0]
        return name, QUANTITIES[name]

    def _films(self, effects: dict) -> str:
        """Each item of the prompt removed alone: effects as bars and as a table."""
        words, thing = self.words, self.words.thing
        if not effects["shown"]:
            raise UserError(
                f"No {words.rated} {thing} is known at this moment, so none can be removed. Add "
                f"some under “New person”, or choose a user with {words.opinion}s."
            )
        by, quantity = self._compared(effects)
        rows = sorted(effects["without"], key=lambda row: -abs(effects[by] - row[by]))
        about = (
            f"Each of the {effects['shown']} {words.things} that the prompt shows (of "
            f"{effects['known']} {words.rated}) is removed alone, and prompt, folded-in person and "
            f"bridges are computed without it. No earlier {thing} takes its place. "
            f"An effect is what the whole loses without it; on “Cold start” an effect is what an "
            f"{words.opinion} adds to those before it, so the two differ. "
            f"{len(rows)} of {effects['shown']} done in {effects['seconds']:.2f} s."
        )
        if effects["window_moves"]:
            about += (
                f" With one {words.opinion} fewer the prompt would begin at an earlier {thing}; "
                f"that shift is left out, so that each effect is one {thing}’s alone."
            )
        present = ", ".join(
            f"{QUANTITIES[name].label.lower()} {QUANTITIES[name].written(effects[name])}"
            for name in _quantities(effects)
        )
        body = facts(about) + facts(f"As it is, for {film_text(self.item)}: {present}.")
        if not rows:
            return body
        chart = change_bars(
            [(film_text(row), effects[by] - row[by]) for row in rows],
            quantity.change,
            f"Effect of each {thing} on {quantity.label.lower()}, the greatest first.",
        )
        stars = f" Choose a {thing} in the table to give it other stars." if words.stars else ""
        chart += facts(
            f"Right of the line: having {words.rated} this {thing} raises the answer; left: it "
            f"lowers it.{stars}"
        )
        rated = ("Rated", lambda row: words.opinion_cell(row["stars"]))
        values = table_of(
            rows,
            [
                (Column(thing.capitalize(), pick=words.stars, wide=True), film_text),
                *([rated] if words.stars else []),
                *_columns(effects, "Effect", "without it", sign=-1),
            ],
            pick=lambda row: row["item"] if words.stars else None,
            caption=f"The answer without each {thing}, and the {thing}’s effect",
            height=560,
        )
        return body + beside(chart, values)

    def _parts(self, rows: Sequence[dict]) -> str:
        """Every part swapped or off: changes of the answer as bars, answers as a table."""
        present = rows[0]
        by, quantity = self._compared(present)
        chart = change_bars(
            [(row["label"], row[by] - present[by]) for row in rows[1:]],
            quantity.change,
            f"Change of {quantity.label.lower()} with each part swapped or off.",
        )
        answers = table_of(
            rows,
            [(Column("System", wide=True), itemgetter("label")), *_columns(present)],
            selected=lambda row: row is present,
            caption="The answer with one part changed; change from the answer as it is",
        )
        about = (
            "One part at a time; everything else, calibration included, is held. Bars are changes "
            "from the answer as it is."
        )
        if "personal bridges" not in self.missing:
            about += (
                f" The average is over bridges of users with {self.words.opinion}s at the split "
                "time."
            )
        if self.missing:
            about += f" This checkpoint has no {', no '.join(self.missing)}."
        if self.by_prior:
            about += (
                " On validation the language model got no weight in these answers, so its parts "
                "change nothing. Without the prior it answers alone."
            )
        return facts(about) + beside(chart, answers)

    def _standing(self, rows: Sequence[dict]) -> str:
        """The item's percentile by each stage, as bars and as a table."""
        thing, things, film = self.words.thing, self.words.things, film_text(self.item)
        shares = [row for row in rows if row["percentile"] is not None]
        if not shares:
            raise UserError(f"No other {thing} is left that they have not seen.")
        chart = bars(
            [
                Bar(
                    STAGES[row["by"]],
                    row["percentile"],
                    percent(row["percentile"]),
                    row["by"] == "own",
                    row["low"],
                    row["high"],
                )
                for row in shares
            ],
            PROBABILITY,
            0.0,
            f"Share of {things} not seen that score lower than {film}.",
        )
        values = table_of(
            shares,
            [
                (Column("Scored by", wide=True), lambda row: STAGES[row["by"]]),
                ("Score", lambda row: cell(row["value"], QUANTITIES[row["quantity"]].written)),
                ("Score lower", _share),
                ("n", itemgetter("n")),
            ],
            caption=f"Share of the {things} not seen that score lower",
        )
        whole = [STAGES[row["by"]].lower() for row in rows if not row["sampled"]]
        about = f"{film} against the {things} that they have not seen. "
        if whole:
            about += f"All of these are scored by the {' and the '.join(whole)}. "
        about += (
            "The full answer scores a fixed random sample of them, hence "
            f"its 95 % interval. {things.capitalize()} that score the same do not count as lower."
        )
        return facts(about) + beside(chart, values)

    def _later(self, trace: dict) -> str:
        """Each item liked later, its ranks and the stage that lost it, after a summary."""
        words = self.words
        ranks = table_of(
            trace["films"],
            [
                (Column(words.thing.capitalize(), pick=True, wide=True), film_text),
                ("Later rated", lambda film: words.opinion_cell(film["rating"])),
                (
                    f"Collaborative rank of {trace['catalogue']}",
                    itemgetter("collaborative_rank"),
                ),
                (
                    Column(f"Among the {trace['candidates']} candidates"),
                    lambda film: "no" if film["rank"] is None else "yes",
                ),
                ("Rank after re-ranking", lambda film: cell(film["rank"], str)),
                (Column("Outcome", wide=True), lambda film: OUTCOMES[film["outcome"]]),
            ],
            pick=itemgetter("item"),
            selected=lambda film: film["item"] == self.item["item"],
            caption=f"{words.things.capitalize()} that they liked later"
            + (", with 4 or 5 stars" if words.stars else ""),
            empty=f"They liked no {words.thing} after this moment; choose another user, or an "
            "earlier moment.",
        )
        if not trace["films"]:
            return ranks
        outcomes, k, n = trace["outcomes"], trace["k"], len(trace["films"])
        summary = (
            f"Of {n} {words.thing if n == 1 else words.things} liked later, "
            f"{outcomes['kept'] + outcomes['moved in']} are in the top {k}, "
            f"{outcomes['moved in']} of these moved in by re-ranking. Re-ranking moved "
            f"{outcomes['moved out']} out and left {outcomes['not moved in']} other candidates "
            f"below; the candidate stage lost {outcomes['no candidate']}. By the collaborative "
            f"order alone {trace['in_top_by_collaborative']} would be in the top {k}."
        )
        return facts(summary) + ranks


def _share(row: dict) -> Cell:
    low, high = (row["low"], row["high"]) if row["sampled"] else (None, None)
    return Cell(escape(estimate(row["percentile"], low, high, percent)), row["percentile"])


def stars_hint(words: Words) -> str:
    """What to do to see the answer for other stars (HTML)."""
    text = f"Choose a {words.thing} in the table above to see the answer for one to five stars."
    return card(OTHER_STARS, notice(text))


def stars_markup(changed: str, given: float, rows: Sequence[dict], film: str) -> str:
    """The answer if an item of the history had got other stars, or had not been rated (HTML).

    ``changed`` and ``film`` name that item and the one that the answer is about.
    """
    present = next((row for row in rows if row["stars"] == given), None)

    def label(row: dict) -> str:
        text = "not rated" if row["stars"] is None else f"{stars_text(row['stars'])} ★"
        return f"{text} (as it is)" if row is present else text

    charts = []
    for name in _quantities(rows[0]):
        quantity = QUANTITIES[name]
        axis = quantity.axis_of([row[name] for row in rows])
        entries = [
            Bar(label(row), row[name], quantity.written(row[name]), row is present) for row in rows
        ]
        about = f"{quantity.label} for each number of stars."
        charts.append(facts(quantity.label) + bars(entries, axis, axis.low, about))
    answers = table_of(
        rows,
        [
            (Column("If it had got"), lambda row: Cell(escape(label(row)), row["stars"] or 0)),
            *_columns(present or rows[0]),
        ],
        selected=lambda row: row is present,
        caption="The answer by the stars it got; change from "
        + ("the answer as it is" if present else "not having rated it"),
    )
    about = f"{changed}, which got {stars_text(given)} of 5; the answer is about {film}."
    return card(OTHER_STARS, facts(about), beside("".join(charts), answers))
