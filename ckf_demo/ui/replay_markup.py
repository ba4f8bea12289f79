"""What the Cold start tab shows of one person's replay, as HTML: the prediction, its error and the
bridge after k opinions, and what comes next."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import Any

from ckf_demo.inference.replay import Rated, Replay, Step, errors
from ckf_demo.ui.charts import (
    Point,
    beside,
    card,
    cell,
    count,
    estimate,
    facts,
    hover,
    line_plot,
    number,
    percentage_points,
    series,
    signed,
    table_of,
)
from ckf_demo.ui.markup import Cell, Column, name_cell, notice, percent, stars_text
from ckf_demo.ui.words import Words

CARD = "ckf-card ckf-replayed"
NO_NEGATIVES = (
    "These data hold only likes: without negatives there is no error to measure predictions by."
)


@dataclass(frozen=True)
class Question:
    """A question of the replay: the key of its answers, and how these are written and named."""

    label: str
    key: str
    axis: str
    what: str
    written: Callable[[float], str]
    change: Callable[[float], str]
    metric: str
    metric_name: str


QUESTIONS = {
    "rating": Question(
        "Stars",
        "rating",
        "Predicted stars",
        "Expected stars",
        number,
        signed,
        "mae",
        "MAE, in stars",
    ),
    "ctr": Question(
        "Likes it",
        "probability",
        "Probability of a like",
        "Probability of a like",
        percent,
        percentage_points,
        "log_loss",
        "Log loss, in nats",
    ),
}


@dataclass(frozen=True)
class Latest:
    """What was replayed last, and its steps so far; two with the same question are equal."""

    replay: Replay
    steps: tuple[Step, ...] = field(default=(), compare=False)

    @property
    def finished(self) -> bool:
        """Whether everything is answered."""
        if len(self.steps) <= len(self.replay.added):
            return False
        return not self.replay.targets or self.steps[-1].targets is not None


def title_of(film: Rated) -> str:
    """An item's title, or its number where it has none."""
    return film.title or f"No. {film.item}"


@dataclass(frozen=True)
class ReplayMarkup:
    """What a replay shows (HTML) of one question, with the first ``k`` opinions known.

    ``labels`` name the methods and ``film`` the item that is predicted; ``directed`` says who
    directed an item, by its id.
    """

    latest: Latest
    question: Question
    k: int
    labels: Mapping[str, str]
    film: str
    words: Words
    directed: Callable[[str], str]

    def replay(self, *, negatives: bool = True, stopped: bool = False) -> str:
        """The prediction, its error and the bridge against k, each beside its table.

        ``negatives`` says whether the data hold any, without which errors mean nothing.
        """
        replay, steps = self.latest.replay, self.latest.steps
        parts = [_facts(replay, self.words), self._progress(stopped), self._film_card()]
        if replay.targets and negatives:
            parts.append(self._error_card())
        elif replay.targets:
            parts.append(notice(NO_NEGATIVES))
        if any(step.distance is not None for step in steps):
            parts.append(self._bridge_card())
        return "".join(parts)

    def _progress(self, stopped: bool) -> str:
        steps, total = self.latest.steps, len(self.latest.replay.added) + 1
        answered = sum(step.targets is not None for step in steps)
        text = "Everything is answered; the answers are remembered."
        if len(steps) < total:
            text = f"The {self.words.thing}: {len(steps)} of {total} histories asked."
        elif not self.latest.finished:
            text = f"The later {self.words.things}: {answered} of {total} histories asked."
        if stopped:
            text += f" Stopped; another question, {self.words.thing} or number goes on from here."
        return facts(text, id="replay-status", role="status")

    def _plot(self, lines: Mapping[str, Iterable[Point]], y: str, steps: int, **options) -> str:
        """A line for each name, drawn against k from 0 to ``steps`` − 1."""
        return line_plot(
            [series(place, name, points) for place, (name, points) in enumerate(lines.items())],
            x=f"k, first {self.words.opinion}s known",
            y=y,
            ticks=range(steps),
            **options,
        )

    def _named(self, methods: Iterable[str], make: Callable[[str, Any], Cell]) -> list[tuple]:
        """A column for each method, whose cells are ``make(method, row)``."""
        return [(self.labels[method], partial(make, method)) for method in methods]

    def _truth(self) -> tuple[float, str] | None:
        """Where the line of the truth is drawn, and its text."""
        truth = self.latest.replay.truth
        if truth is None:
            return None
        gave = self.words.rated if truth.rating is None else f"gave it {stars_text(truth.rating)} ★"
        if self.question.key == "probability":
            return float(truth.liked), f"{gave}: {'liked' if truth.liked else 'not liked'}"
        return (truth.rating, gave) if truth.rating is not None else None

    def _film_card(self) -> str:
        replay, steps, question = self.latest.replay, self.latest.steps, self.question
        thing = self.words.thing
        values: dict[str, dict[int, float]] = {}
        for step in steps:
            for row in step.film:
                values.setdefault(row["method"], {})[step.k] = row[question.key]
        first = next(iter(values.values()), {})
        effects = {n: first[n] - first[n - 1] for n in first if n - 1 in first}

        def point(n: int, value: float, label: str) -> Point:
            added = [f"added: {title_of(replay.added[n - 1])}"] if n else []
            return Point(n, value, hover(label, f"k = {n}: {question.written(value)}", *added))

        strongest = sorted(effects, key=lambda n: -abs(effects[n]))[:3]
        plot = self._plot(
            {
                self.labels[method]: [point(n, v, self.labels[method]) for n, v in by_k.items()]
                for method, by_k in values.items()
            },
            question.axis,
            len(replay.added) + 1,
            percent=question.key == "probability",
            truth=self._truth(),
            k=self.k,
            notes=[
                {"x": n, "y": first[n], "text": _short(title_of(replay.added[n - 1]))}
                for n in strongest
                if effects[n]
            ],
        )

        def answer(method: str, step: Step) -> Cell:
            return cell(values[method].get(step.k), question.written)

        def added(step: Step) -> Cell:
            if not step.k:
                return Cell("nothing yet", "")
            return self._added(replay.added[step.k - 1])

        caption = f"{question.what} for {self.film}"
        if values:
            moved = self.labels[next(iter(values))]
            caption += (
                f"; effect: how much the {thing}, added to those before it, moved {moved} "
                "(on “Why” it is removed from the whole, so the two differ)"
            )
        answers = table_of(
            steps,
            [
                ("k", attrgetter("k")),
                (Column(f"{thing.capitalize()} added", wide=True), added),
                ("Effect", lambda step: cell(effects.get(step.k), question.change)),
                *self._named(values, answer),
            ],
            pick=lambda step: replay.added[step.k - 1].item if step.k else None,
            anchor=lambda step: f"replay-{step.k}",
            caption=caption,
            empty="Nothing is answered yet.",
            height=400,
        )
        ended = ""
        if replay.truth is not None and replay.until < len(replay.added):
            who = "They" if "user" in replay.person else "You"
            ended = notice(
                f"{who} {self.words.rated} this {thing} as number {replay.until + 1} at the "
                "earliest: later histories hold it or what came after, so the lines end there. "
                f"Choose another {thing} to see the rest."
            )
        heading = f"What becomes of the prediction for {self.film}?"
        return card(heading, ended, beside(plot, answers), style=CARD)

    def _error_card(self) -> str:
        replay, things, name = self.latest.replay, self.words.things, self.question.metric_name
        by_method: dict[str, dict[int, dict]] = {}
        for row in errors(replay, self.latest.steps):
            if row["metric"] == self.question.metric:
                by_method.setdefault(row["method"], {})[row["k"]] = row

        def written(row: dict) -> str:
            return estimate(row["value"], row["low"], row["high"])

        def error(method: str, k: int) -> Cell:
            row = by_method[method][k]
            return Cell(written(row), row["value"])

        def point(n: int, row: dict) -> Point:
            note = hover(self.labels[row["method"]], f"k = {n}: {written(row)}")
            return Point(n, row["value"], note, row["low"], row["high"])

        plot = self._plot(
            {
                self.labels[method]: [point(n, row) for n, row in by_k.items()]
                for method, by_k in by_method.items()
            },
            name,
            len(replay.added) + 1,
            k=self.k,
        )
        values = table_of(
            next(iter(by_method.values()), {}),
            [
                ("k", lambda k: k),
                *self._named(by_method, error),
            ],
            caption=f"{name}, over n = {len(replay.targets)} later {things}; in brackets its 95 % "
            f"interval over {things}",
            empty=f"These {things} are asked about after the one above.",
            height=400,
        )
        heading = f"How wrong about the next {count(len(replay.targets), self.words.thing)}?"
        return card(heading, beside(plot, values), style=CARD)

    def _bridge_card(self) -> str:
        def written(distance: float) -> str:
            return number(distance, 3)

        distances = [step.distance for step in self.latest.steps if step.distance is not None]
        plot = self._plot(
            {"Bridges": [Point(n, d, f"k = {n}: {written(d)}") for n, d in enumerate(distances)]},
            "Distance of the bridges",
            len(self.latest.steps),
            k=self.k,
            zero=True,
        )
        changes = [None, *(after - before for before, after in pairwise(distances))]
        values = table_of(
            range(len(distances)),
            [
                ("k", lambda k: k),
                ("Distance", lambda k: cell(distances[k], written)),
                ("Change", lambda k: cell(changes[k], lambda value: signed(value, 3))),
            ],
            caption="‖W − W₀‖ / ‖W₀‖ over both bridges, W₀ those of somebody without a history",
            empty="Nothing is answered yet.",
            height=320,
        )
        heading = "How far has their bridge moved from the average newcomer’s?"
        return card(heading, beside(plot, values), style=CARD)

    def after(self) -> str:
        """The later items with what is predicted of each after the first k opinions (HTML)."""
        replay, steps, k, opinion = (
            self.latest.replay,
            self.latest.steps,
            self.k,
            self.words.opinion,
        )
        if not replay.targets or k >= len(steps) or steps[k].targets is None:
            return ""
        answers = steps[k].targets
        methods = dict.fromkeys(row["method"] for row in answers)
        values = {(row["item"], row["method"]): row[self.question.key] for row in answers}
        known = f"after the first {count(k, opinion)}" if k else f"before any {opinion}"

        def answer(method: str, target: Rated) -> Cell:
            return cell(values[target.item, method], self.question.written)

        predictions = table_of(
            replay.targets,
            [
                (Column(self.words.thing.capitalize(), pick=True, wide=True), self._name),
                ("Gave", lambda target: self.words.opinion_cell(target.rating, target.liked)),
                *self._named(methods, answer),
            ],
            pick=attrgetter("item"),
            caption=f"What they did next, and what is predicted {known}",
        )
        return card(f"The next {self.words.things}, {known}", predictions)

    def _name(self, film: Rated) -> Cell:
        return name_cell({"item": film.item, "title": film.title}, self.directed(film.item))

    def _added(self, film: Rated) -> Cell:
        gave, name = self.words.opinion_cell(film.rating, film.liked), self._name(film)
        return Cell(
            f'<button type="button" class="ckf-pick">{name.markup}</button> '
            f'<span class="ckf-gave">{gave.markup}</span>',
            f"{name.sort} {gave.sort}",
        )


def _facts(replay: Replay, words: Words) -> str:
    n = len(replay.added)
    if "user" not in replay.person:
        return facts(
            f"{count(n, 'pick')} of the person that you described, in the order in which they "
            f"were made. Add another {words.thing} under “New person” and the line grows."
        )
    text = f"User {replay.person['user']} from their first {words.opinion} on. "
    if n:
        text += (
            f"{count(n, words.opinion)}{words.since(replay.added[0].timestamp)}, one after "
            f"another, then {count(len(replay.targets), words.thing)} that they {words.rated} "
            f"strictly later{words.since(replay.targets[0].timestamp)}: the same ones for every k."
        )
    else:
        text += f"All their {words.opinion}s are of one moment, so nothing is known before any."
    if not replay.from_training:
        return facts(text)
    return facts(text) + notice(
        f"{replay.from_training} of these {len(replay.targets)} {words.opinion}s are in the "
        "training part: the model was fitted to them, so its errors are smaller here than for "
        "somebody new. Users who began after the split have none."
    )


def _short(title: str) -> str:
    return title if len(title) <= 24 else f"{title[:23]}…"
