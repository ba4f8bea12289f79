"""What the Why tab shows, as HTML: bars of effects and changes, each with the table behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    listing,
    number,
    percentage_points,
    signed,
)
from ckf_demo.ui.markup import Cell, Column, Row, escape, film_text, notice, percent, stars_text
from ckf_demo.ui.words import Words

FILMS, PARTS, STANDING, LATER = SECTIONS = ("films", "parts", "standing", "later")


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


def headings(words: Words) -> dict[str, str]:
    """Headings of the sections."""
    return {
        FILMS: f"Which {words.rated} {words.things} move the answer?",
        PARTS: "What if a part were swapped or switched off?",
        STANDING: f"Where does the {words.thing} stand among those not seen?",
        LATER: "Did a top list find what they liked later?",
    }


def progress_markup(done: bool, stopped: bool) -> str:
    """One line on whether more is coming (HTML)."""
    text = "" if done else "Stopped; “Go on” computes the rest." if stopped else "Computing …"
    return f'<p class="ckf-time" role="status">{text}</p>' if text else ""


def _quantities(row: dict) -> list[str]:
    """The quantities that the checkpoint answers."""
    return [name for name in QUANTITIES if row[name] is not None]


def _columns(names: Sequence[str], condition: str, difference: str) -> list[str]:
    """Two columns for each quantity: itself under a condition, and its effect or change."""
    return [
        label
        for name in names
        for label in (f"{QUANTITIES[name].label} {condition}".strip(), difference)
    ]


def _figures(row: dict, present: dict, names: Sequence[str], *, sign: int = 1) -> list[Cell]:
    """Each quantity of a row and its change from ``present`` (``sign`` −1: its effect)."""
    return [
        each
        for name in names
        for each in (
            cell(row[name], QUANTITIES[name].written),
            cell(sign * (row[name] - present[name]), QUANTITIES[name].change),
        )
    ]


# --- items removed ------------------------------------------------------------------------------


def films_markup(
    effects: dict | None, by: str | None, film: str, progress: str, words: Words
) -> str:
    """Each item of the prompt removed alone: effects as bars and as a table (HTML)."""
    heading = headings(words)[FILMS]
    if effects is None:
        return card(heading, progress)
    if not effects["shown"]:
        text = (
            f"No {words.rated} {words.thing} is known at this moment, so none can be removed. Add "
            f"some under “New person”, or choose a user with {words.opinion}s."
        )
        return card(heading, notice(text))
    names = _quantities(effects)
    by = by if by in names else names[0]
    quantity = QUANTITIES[by]
    rows = sorted(effects["without"], key=lambda row: -abs(effects[by] - row[by]))
    about = (
        f"Each of the {effects['shown']} {words.things} that the prompt shows (of "
        f"{effects['known']} {words.rated}) is removed alone, and prompt, folded-in person and "
        f"bridges are computed without it. No earlier {words.thing} takes its place. "
        f"{len(rows)} of {effects['shown']} done in {effects['seconds']:.2f} s."
    )
    if effects["window_moves"]:
        about += (
            f" With one {words.opinion} fewer the prompt would begin at an earlier {words.thing}; "
            f"that shift is left out, so that each effect is one {words.thing}’s alone."
        )
    present = ", ".join(
        f"{QUANTITIES[name].label.lower()} {QUANTITIES[name].written(effects[name])}"
        for name in names
    )
    body = facts(about) + facts(f"As it is, for {film}: {present}.")
    if rows:
        chart = change_bars(
            [(film_text(row), effects[by] - row[by]) for row in rows],
            quantity.change,
            f"Effect of each {words.thing} on {quantity.label.lower()}, the greatest first.",
        )
        stars = f" Choose a {words.thing} in the table to give it other stars."
        chart += facts(
            f"Right of the line: having {words.rated} this {words.thing} raises the answer; left: "
            f"it lowers it.{stars if words.stars else ''}"
        )
        values = listing(
            [
                Column(words.thing.capitalize(), pick=words.stars, wide=True),
                *(["Rated"] if words.stars else []),
                *_columns(names, "without it", "Effect"),
            ],
            [
                Row(
                    pick=row["item"] if words.stars else None,
                    cells=[
                        film_text(row),
                        *([words.opinion_cell(row["stars"])] if words.stars else []),
                        *_figures(row, effects, names, sign=-1),
                    ],
                )
                for row in rows
            ],
            caption=f"The answer without each {words.thing}, and the {words.thing}’s effect",
            height=560,
        )
        body += beside(chart, values)
    return card(heading, body, progress)


OTHER_STARS = "If it had got other stars"


def stars_hint(words: Words) -> str:
    """What to do to see the answer for other stars (HTML)."""
    text = f"Choose a {words.thing} in the table above to see the answer for one to five stars."
    return card(OTHER_STARS, notice(text))


def stars_markup(changed: str, given: float, rows: Sequence[dict], film: str) -> str:
    """The answer if an item of the history had got other stars, or had not been rated (HTML).

    ``changed`` and ``film`` name that item and the one that the answer is about.
    """
    names = _quantities(rows[0])
    present = next((row for row in rows if row["stars"] == given), None)

    def label(stars: float | None) -> str:
        text = "not rated" if stars is None else f"{stars_text(stars)} ★"
        return f"{text} (as it is)" if stars == given else text

    charts = []
    for quantity, values in ((QUANTITIES[n], [row[n] for row in rows]) for n in names):
        axis = quantity.axis_of(values)
        entries = [
            Bar(label(row["stars"]), value, quantity.written(value), row["stars"] == given)
            for row, value in zip(rows, values, strict=True)
        ]
        about = f"{quantity.label} for each number of stars."
        charts.append(facts(quantity.label) + bars(entries, axis, axis.low, about))
    answers = listing(
        [Column("If it had got"), *_columns(names, "", "Change")],
        [
            Row(
                pick=None,
                selected=row["stars"] == given,
                cells=[
                    Cell(escape(label(row["stars"])), row["stars"] or 0),
                    *_figures(row, present or rows[0], names),
                ],
            )
            for row in rows
        ],
        caption="The answer by the stars it got; change from "
        + ("the answer as it is" if present else "not having rated it"),
    )
    about = f"{changed}, which got {stars_text(given)} of 5; the answer is about {film}."
    return card(OTHER_STARS, facts(about), beside("".join(charts), answers))


# --- parts --------------------------------------------------------------------------------------


def parts_markup(
    rows: Sequence[dict], by: str | None, missing: Sequence[str], progress: str, words: Words
) -> str:
    """Every part swapped or off: changes of the answer as bars, answers as a table (HTML)."""
    heading = headings(words)[PARTS]
    if not rows:
        return card(heading, progress)
    names = _quantities(rows[0])
    by = by if by in names else names[0]
    quantity, present = QUANTITIES[by], rows[0]
    chart = change_bars(
        [(row["label"], row[by] - present[by]) for row in rows[1:]],
        quantity.change,
        f"Change of {quantity.label.lower()} with each part swapped or off.",
    )
    answers = listing(
        [Column("System", wide=True), *_columns(names, "", "Change")],
        [
            Row(
                pick=None,
                selected=row is present,
                cells=[row["label"], *_figures(row, present, names)],
            )
            for row in rows
        ],
        caption="The answer with one part changed; change from the answer as it is",
    )
    about = (
        "One part at a time; everything else, calibration included, is held. Bars are changes "
        "from the answer as it is."
    )
    if "personal bridges" not in missing:
        about += f" The average is over bridges of users with {words.opinion}s at the split time."
    if missing:
        about += f" This checkpoint has no {', no '.join(missing)}."
    return card(heading, facts(about), beside(chart, answers), progress)


# --- percentile ---------------------------------------------------------------------------------


def standing_markup(rows: Sequence[dict], film: str, progress: str, words: Words) -> str:
    """The item's percentile by each stage, as bars and as a table (HTML)."""
    heading = headings(words)[STANDING]
    if not rows:
        return card(heading, progress)
    shares = [row for row in rows if row["percentile"] is not None]
    if not shares:
        return card(heading, notice(f"No other {words.thing} is left that they have not seen."))
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
        f"Share of {words.things} not seen that score lower than {film}.",
    )
    values = listing(
        [Column("Scored by", wide=True), "Score", "Score lower", "n"],
        [
            [
                STAGES[row["by"]],
                cell(row["value"], QUANTITIES[row["quantity"]].written),
                Cell(escape(_share(row)), row["percentile"]),
                row["n"],
            ]
            for row in shares
        ],
        caption=f"Share of the {words.things} not seen that score lower",
    )
    whole = [STAGES[row["by"]].lower() for row in rows if not row["sampled"]]
    about = f"{film} against the {words.things} that they have not seen. "
    if whole:
        about += f"All of these are scored by the {' and the '.join(whole)}. "
    about += (
        "The full answer, with the language model, scores a fixed random sample of them, hence its "
        f"95 % interval. {words.things.capitalize()} that score the same do not count as lower."
    )
    return card(heading, facts(about), beside(chart, values), progress)


def _share(row: dict) -> str:
    low, high = (row["low"], row["high"]) if row["sampled"] else (None, None)
    return estimate(row["percentile"], low, high, percent)


# --- what was liked later -----------------------------------------------------------------------


def later_markup(trace: dict | None, item: str, progress: str, words: Words) -> str:
    """Each item liked later, its ranks and the stage that lost it, after a summary (HTML).

    ``item`` is the one that is marked.
    """
    heading = headings(words)[LATER]
    if trace is None:
        return card(heading, progress)
    films = trace["films"]
    ranks = listing(
        [
            Column(words.thing.capitalize(), pick=True, wide=True),
            "Later rated",
            f"Collaborative rank of {trace['catalogue']}",
            Column(f"Among the {trace['candidates']} candidates"),
            "Rank after re-ranking",
            Column("Outcome", wide=True),
        ],
        [
            Row(
                pick=film["item"],
                selected=film["item"] == item,
                cells=[
                    film_text(film),
                    words.opinion_cell(film["rating"]),
                    film["collaborative_rank"],
                    "no" if film["rank"] is None else "yes",
                    cell(film["rank"], str),
                    OUTCOMES[film["outcome"]],
                ],
            )
            for film in films
        ],
        caption=f"{words.things.capitalize()} that they liked later"
        + (", with 4 or 5 stars" if words.stars else ""),
        empty=f"They liked no {words.thing} after this moment; choose another user, or an earlier "
        "moment.",
    )
    summary = facts(later_summary(trace, words)) if films else ""
    return card(heading, summary, ranks, progress)


def later_summary(trace: dict, words: Words) -> str:
    """One line on where items that were liked later ended."""
    number, k, n = trace["outcomes"], trace["k"], len(trace["films"])
    return (
        f"Of {n} {words.thing if n == 1 else words.things} liked later, "
        f"{number['kept'] + number['moved in']} are in the top {k}, "
        f"{number['moved in']} of these moved in by re-ranking. Re-ranking moved "
        f"{number['moved out']} out and left {number['not moved in']} other candidates below; the "
        f"candidate stage lost {number['no candidate']}. By the collaborative order alone "
        f"{trace['in_top_by_collaborative']} would be in the top {k}."
    )
