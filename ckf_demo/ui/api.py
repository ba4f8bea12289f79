"""The named endpoints for ``gradio_client``, assistants (as MCP tools) and other programs.

A person is a ``user`` of the data set, is described by a ``history``, a ``taste`` sentence and a
``profile``, or both. Signatures and docstrings are the endpoints' schema: `_Vocabulary` documents
the arguments, in the words of the data set.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import Parameter, Signature, cleandoc
from typing import Any, Literal, TypedDict

import gradio as gr
from gradio.utils import get_function_description

from ckf_demo.inference.people import STRENGTH
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.events import DATA_QUEUE, GATED
from ckf_demo.ui.fair_queue import Gate
from ckf_demo.ui.service import Service


class Rated(TypedDict):
    """One entry of a history: an item's id, and one to five stars.

    Entries of ``/match_ratings`` are "imported" and may have half a star. Gradio's schema knows no
    single key that may be left out, so it does not name that one.
    """

    item: str | int
    rating: float


class OwnRating(TypedDict, total=False):
    """One of somebody's own ratings, on any scale; the year may be left out."""

    title: str
    year: int | None
    rating: float | str


class Profile(TypedDict, total=False):
    """What else is known of a person; every field may be left out."""

    age: int
    gender: str
    occupation: str


PERSON = ("user", "history", "taste", "profile")
Id = str | int | None
FILTERS = ("genre", "year_from", "year_to")
DEFAULTS = {"k": 10}
"""Defaults of arguments; all others are empty."""


class _Vocabulary:
    """The arguments of the endpoints: their types and documentation."""

    def __init__(self, recommender) -> None:
        prepared, thing = recommender.prepared, recommender.domain.thing
        rated, stars, ratings = "rated", "1 to 5", "ratings"
        like = f"like a {thing} (rate it 4 or 5)"
        if prepared.positive_only:
            rated, stars, ratings = "liked", "5", "choices"
            like = f"choose a {thing}, against one that they did not choose"
        seconds = " (Unix seconds)" if prepared.has_times else ""
        self.words = {
            "thing": thing,
            "things": recommender.domain.things,
            "Things": recommender.domain.things.capitalize(),
            "rated": rated,
            "Ratings": ratings.capitalize(),
            "like": like,
            "seconds": " in Unix seconds" if prepared.has_times else "",
            "source": '"rating" or "text"' if prepared.has_texts else '"rating"',
        }
        # Spelled out in the schema, so that a program need not guess the names.
        # pyrefly: ignore[invalid-literal]
        method: Any = Literal[tuple(recommender.methods)] | None
        at = f"Only {ratings} before this moment{seconds} are known; a user has a default."
        item = f'{{"item": id, "rating": {stars}}}'
        self._arguments: dict[str, tuple[Any, str]] = {
            "user": (Id, "A user id of the data set, or empty for a new person."),
            "history": (list[Rated] | None, f"What they {rated}, oldest first, as [{item}, …]."),
            "taste": (str | None, "What they like, in a sentence."),
            "strength": (
                float | None,
                "How much the taste counts beside the model, from 0 to 1; "
                f"{STRENGTH:g} if it is left out.",
            ),
            "profile": (Profile | None, '{"age", "gender", "occupation"}, each optional.'),
            "item": (Id, f"The {thing}'s id."),
            "k": (int, "The length of the list."),
            "at": (int | None, at),
            "genre": (str | None, f"Rank only {recommender.domain.things} of this genre."),
            "year_from": (int | None, "Rank only what is of this year or later."),
            "year_to": (int | None, "Rank only what is of this year or earlier."),
            "method": (
                method,
                "The method to answer with; the checkpoint's own, the first, if it is left out.",
            ),
            "other": (
                Id,
                f"The id of the {thing} to hold it against; may be empty where bridges_of is "
                "given.",
            ),
            "bridges_of": (
                Id,
                "A user id of the data set; their bridges stand in for the person's own.",
            ),
        }

    def about_person(self, function: Callable[..., Any], *names: str) -> Callable[..., Any]:
        """An endpoint that asks ``function`` about a person.

        Its arguments are those of `PERSON` and ``names``, documented in its docstring. Ids are
        given to ``function`` as text, and empty ones as None.

        Raises
        ------
        UserError
            By the endpoint: when it takes an item and none was given.
        """
        # filters came later: what was called by place before still is
        later = [name for name in names if name in FILTERS]
        names = (*PERSON, *(name for name in names if name not in FILTERS), "strength", *later)
        arguments = {name: self._arguments[name] for name in names}
        kinds = {name: kind for name, (kind, _) in arguments.items()}
        parameters = [
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD,
                annotation=kind,
                default=DEFAULTS.get(name),
            )
            for name, kind in kinds.items()
        ]
        returned = function.__annotations__["return"]
        signature = Signature(parameters, return_annotation=returned)

        @wraps(function)
        def endpoint(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = bound.arguments
            values["taste"] = values["taste"] or None
            for name in {"user", "item", "other", "bridges_of"} & values.keys():
                values[name] = given_id(values[name])
            if "item" in values and values["item"] is None:
                raise UserError(
                    f"no item was given; give the id of a {self.words['thing']}, as "
                    "/search_items returns it"
                )
            return function(**values)

        documented = "".join(f"\n    {name}: {text}" for name, (_, text) in arguments.items())
        about, _, returns = self.in_dataset_words(function).partition("\n\nReturns:")
        endpoint.__doc__ = f"{about}\n\nArgs:{documented}\n\nReturns:{returns}"
        endpoint.__signature__ = signature  # type: ignore[attr-defined]
        endpoint.__annotations__ = {**kinds, "return": returned}
        return endpoint

    def in_dataset_words(self, function: Callable[..., Any]) -> str:
        """A docstring in the words of the data set, which stand in it as «thing»."""
        text = cleandoc(function.__doc__ or "")
        for name, word in self.words.items():
            text = text.replace(f"«{name}»", word)
        return text


def given_id(value: Id) -> str | None:
    """An id as text; None where the field was left empty."""
    return None if value in (None, "") else str(value)


def add_endpoints(recommender, method_comparison: MethodComparison, service: Service) -> None:
    """Register the named endpoints in the current Blocks context.

    A checkpoint that was not trained for ratings has no ``/rate``.
    """
    vocabulary = _Vocabulary(recommender)

    def search_items(query: str, limit: int = 10) -> list[dict]:
        """Find «things» by title, people or theme; misspelt names are found, too.

        Args:
            query: Part of a title, a name or a theme.
            limit: The most «things» to return.

        Returns:
            «Things» as {"item", "title", "year", "genres", "directors", "tags"}; year is null
            where it is unknown, and lists are empty where the data say nothing.
        """
        return recommender.search_items(query, limit=limit)

    def history(user: str | int, at: int | None = None) -> list[dict]:
        """What a user «rated» before a moment, oldest first.

        Args:
            user: A user id of the data set.
            at: The moment«seconds»; the user's default moment if it is left out.

        Returns:
            «Ratings» as {"item", "title", "rating", "timestamp"}.
        """
        if given_id(user) is None:
            raise UserError("no user was given; give a user id of the data set")
        return recommender.history(str(user), at=at)

    def read_taste(taste: str, item: str | int | None = None) -> dict:
        """Say how a sentence about a taste is understood, and what of it holds for a «thing».

        Args:
            taste: What somebody likes, in a sentence.
            item: A «thing»'s id, for "holds".

        Returns:
            {"understood": [{"words", "kind", "name", "wanted", "spelt", "items", "holds"}, …],
            "meaning", "not_understood", "messages"}: names with how many «things» have them and
            whether the given one does, words that are compared by meaning, words without any, and
            what the catalogue cannot fulfil.
        """
        return recommender.read_taste(taste, item)

    def match_ratings(ratings: str | list[OwnRating], scale: int | None = None) -> dict:
        """Find the «things» that somebody's own ratings are about, by title and year.

        Args:
            ratings: The text of a Letterboxd or IMDb export, of a table with title, year and
                rating, or of lines such as "Fargo (1996) 4.5"; or [{"title", "year", "rating"}, …].
            scale: The highest rating, 5, 10 or 100; recognised if it is left out.

        Returns:
            {"source", "scale", "matched": [{"title", "year", "rating", "item", "item_title",
            "item_year"}, …], "questions": [{"title", "year", "rating", "reason", "candidates"}, …],
            "not_found": [{"title", "year", "rating", "reason"}, …], "left_out": {reason: rows},
            "notes", "history": what the other endpoints take as a history}; ratings are stars.
        """
        return recommender.match_ratings(ratings, scale)

    for function in (search_items, history, read_taste, match_ratings):
        function.__doc__ = vocabulary.in_dataset_words(function)
        register_endpoint(service, function, concurrency_limit=4)
    for function, *names in _about_people(recommender, method_comparison):
        endpoint = vocabulary.about_person(function, *names)
        register_endpoint(service, endpoint, service.model, **GATED)
    register_endpoint(service, query_endpoint(recommender.store), **DATA_QUEUE)


def _about_people(recommender, method_comparison: MethodComparison) -> list[tuple]:
    """The endpoints about a person: what each asks, and its arguments beside the person."""

    def rate(**question) -> dict:
        """Predict the rating a person would give to a «thing».

        Returns:
            {"rating": expectation, "distribution": {"1": p, …, "5": p}, "at", "seconds"}.
        """
        return recommender.rate(**question)

    def click(**question) -> dict:
        """Predict how probably a person would «like».

        Returns:
            {"probability", "at", "seconds"}.
        """
        return recommender.click(**question)

    def rank(**question) -> list[dict]:
        """Rank the whole catalogue, without what they have «rated», for a person.

        Returns:
            [{"rank", "item", "title", "year", "genres", "directors", "tags", "score",
            "collaborative_rank", "later_rating"}, …], best first; lists are empty where the data
            say nothing.
        """
        return recommender.rank(**question)

    def explain(**question) -> Iterator[dict]:
        """Say in words why a person may like a «thing» or not; the text arrives as it is written.

        Returns:
            {"text"} with the text so far, and at the end {"text", "evidence": [{"item",
            "title"}, …], "causes": [{"kind", "item", "title", "stars", "effect", "cited"}, …],
            "polarity": "positive", "mixed" or "negative", "sentences": [{"text", "evidence":
            [{"item", "title", «source»}, …]}, …], "regenerated", "dropped", …}. A cause moved the
            prediction by its effect, in stars; what the data do not support is left out.
        """
        yield from recommender.explain(**question)

    def contrast(**question) -> Iterator[dict]:
        """Say in words why a person may like a «thing» beside another «thing», or through the
        personal bridges of somebody else, or both; the texts arrive as they are written.

        Returns:
            {"sides": [{"side", "item", "title", "rating", "probability", "whose", "explanation"},
            …], "finished"} with the texts so far, at the end with "only" and "paragraph". A side is
            "this" for the «thing», "that" for the other one and "bridges" for the «thing» through
            those of user "whose", which has no rating and probability of its own; an explanation is
            as /explain returns it, null before its turn; "only" holds the titles that the words for
            this or that name alone, and "paragraph" says what speaks for each, in effects. Null for
            what the checkpoint was not trained for.
        """
        yield from recommender.contrasts.sides(**question)

    def compare(**question) -> list[dict]:
        """Predict what a person thinks of a «thing» by every method at hand, side by side.

        Returns:
            [{"method", "label", "rating", "distribution": {"1": p, …, "5": p}, "probability",
            "seconds"}, …], at the end everybody's average; null where a method was not trained
            for a task.
        """
        return list(method_comparison.compare_item(**question))

    def why(**question) -> dict:
        """Say which of a person's «rated» «things» move the prediction for a «thing»: each is
        removed alone and the prediction computed again.

        Returns:
            {"rating", "probability", "without": [{"item", "title", "stars", "rating",
            "probability", "effect"}, …], "shown", "known", "window_moves", "at", "seconds"}:
            the prediction as it is, and without each of the «things» that the prompt shows, the
            greatest effect first. An effect is the prediction as it is minus that without the
            «thing», in stars, or as a probability where ratings are not predicted. Null for what
            the checkpoint was not trained for.
        """
        *_, effects = recommender.counterfactuals.leave_one_out(**question)
        return effects

    endpoints: list[tuple] = [
        (click, "item", "at", "method"),
        (rank, "k", "at", "method", *FILTERS),
        (explain, "item", "at", "method"),
        (contrast, "item", "at", "other", "bridges_of"),
        (compare, "item", "at"),
        (why, "item", "at"),
    ]
    if "rating" in recommender.tasks:
        endpoints.insert(0, (rate, "item", "at", "method"))
    return endpoints


def query_endpoint(store) -> Callable[[str], dict]:
    """The endpoint of free queries."""

    def query(sql: str) -> dict:
        """Read the data set with one SELECT statement (DuckDB's SQL).

        The tables are ratings (user_id, item_id, title, year, genres, rating, time, part), users,
        items and interactions. Items also have lists of directors, actors, tags, countries and
        languages, and a description, empty where the data say nothing. Nothing can be changed, and
        no file or address be reached.

        Args:
            sql: The statement.

        Returns:
            {"columns": names, "rows": [[value, …], …], "truncated": whether there were more rows
            than the 1,000 returned}; times are ISO text, null stands for missing and NaN.
        """
        result = store.query(sql)
        return {"columns": result.columns, "rows": result.rows, "truncated": result.truncated}

    return query


def register_endpoint(
    service: Service, function: Callable, gate: Gate | None = None, **queue
) -> None:
    """Register a function under its own name in the current Blocks context; ``queue`` is as
    ``gradio.api`` takes it."""
    # Gradio joins the lines of what is returned with commas, which breaks longer sentences.
    summary, _, returns = get_function_description(function)
    gr.api(
        service.answering(function, gate),
        api_name=function.__name__,
        api_description=f"{summary} Returns {' '.join(returns)}",
        **queue,
    )
