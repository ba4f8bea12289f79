"""The app's named endpoints, for ``gradio_client``, assistants (as MCP tools) and other programs.

Signatures and docstrings are the endpoints' schema. A person is a ``user`` of the data set, or is
described by a ``history`` of ratings, a ``taste`` sentence and a ``profile``, or by both together.
"""

from collections.abc import Callable, Iterator
from typing import Literal, TypedDict

import gradio as gr
from gradio.utils import get_function_description

from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.events import DATA_QUEUE, GATED
from ckf_demo.ui.fair_queue import Gate
from ckf_demo.ui.service import Service


class Rated(TypedDict):
    """One entry of a history: a film's id, and one to five stars."""

    item: str | int
    rating: float


class Profile(TypedDict, total=False):
    """What else is known of a person; every field may be left out."""

    age: int
    gender: str
    occupation: str


def given_id(value: str | int | None) -> str | None:
    """An id as text; None where the field was left empty."""
    return None if value in (None, "") else str(value)


def add_endpoints(recommender, method_comparison: MethodComparison, service: Service) -> None:
    """Register the named endpoints in the current Blocks context."""
    # Spelled out in the schema, so that a program need not guess the names.
    # pyrefly: ignore[invalid-literal]
    Method = Literal[tuple(recommender.methods)]

    def search_items(query: str, limit: int = 10) -> list[dict]:
        """Find films by their title.

        Args:
            query: Part of a title.
            limit: The most films to return.

        Returns:
            Films as {"item", "title", "year", "genres"}; year is null where it is unknown.
        """
        return recommender.search_items(query, limit=limit)

    def history(user: str | int, at: int | None = None) -> list[dict]:
        """What a user rated before a moment, oldest first.

        Args:
            user: A user id of the data set.
            at: The moment in Unix seconds; the user's default moment if it is left out.

        Returns:
            Ratings as {"item", "title", "rating", "timestamp"}.
        """
        if given_id(user) is None:
            raise UserError("no user was given; give a user id of the data set")
        return recommender.history(str(user), at=at)

    def rate(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        method: Method | None = None,
    ) -> dict:
        """Predict the rating a person would give to a film.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            {"rating": expectation, "distribution": {"1": p, …, "5": p}, "at", "seconds"}.
        """
        return recommender.rate(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            item=_item(item),
            at=at,
            method=method,
        )

    def click(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        method: Method | None = None,
    ) -> dict:
        """Predict how probably a person would like a film (rate it 4 or 5).

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            {"probability", "at", "seconds"}.
        """
        return recommender.click(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            item=_item(item),
            at=at,
            method=method,
        )

    def rank(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        k: int = 10,
        at: int | None = None,
        method: Method | None = None,
    ) -> list[dict]:
        """Rank the whole catalogue, without what they have rated, for a person.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            k: The length of the list.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            [{"rank", "item", "title", "year", "genres", "score", "collaborative_rank",
            "later_rating"}, …], best first.
        """
        return recommender.rank(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            k=k,
            at=at,
            method=method,
        )

    def explain(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        method: Method | None = None,
    ) -> Iterator[dict]:
        """Say in words why a person may like a film or not; the text arrives as it is written.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            {"text"} with the text so far, and at the end {"text", "evidence": [{"item",
            "title"}, …], "polarity": "positive", "mixed" or "negative", "sentences": [{"text",
            "evidence": [{"item", "title", "rating"}, …]}, …], "regenerated", "dropped", …}: what
            the data do not bear out is written once more and then left out.
        """
        yield from recommender.explain(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            item=_item(item),
            at=at,
            method=method,
        )

    def contrast(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        other: str | int | None = None,
        bridges_of: str | int | None = None,
    ) -> Iterator[dict]:
        """Say in words why a person may like a film beside another film, or through the personal
        bridges of somebody else, or both; the texts arrive as they are written.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.
            other: The id of the film to hold it against; may be empty where bridges_of is given.
            bridges_of: A user id of the data set; their bridges stand in for the person's own.

        Returns:
            {"sides": [{"side", "item", "title", "rating", "probability", "whose", "explanation"},
            …], "finished"} with the texts so far, and at the end "only" besides. A side is "this"
            for the film, "that" for the other one and "bridges" for the film through those of user
            "whose", which has no rating and probability of its own; an explanation is as /explain
            returns it, null before its turn; "only" holds the titles that the words for this or
            that name alone. Null for what the checkpoint was not trained for.
        """
        yield from recommender.contrasts.sides(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            item=_item(item),
            other=given_id(other),
            bridges_of=given_id(bridges_of),
            at=at,
        )

    def compare(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
    ) -> list[dict]:
        """Predict what a person thinks of a film by every method at hand, side by side.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.

        Returns:
            [{"method", "label", "rating", "distribution": {"1": p, …, "5": p}, "probability",
            "seconds"}, …], at the end everybody's average; null where a method was not trained
            for a task.
        """
        return list(
            method_comparison.compare_item(
                user=given_id(user),
                history=history,
                taste=taste or None,
                profile=profile,
                item=_item(item),
                at=at,
            )
        )

    def why(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
    ) -> dict:
        """Say which of a person's rated films move the prediction for a film: each is removed alone
        and the prediction computed anew.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they rated, oldest first, as [{"item": id, "rating": 1 to 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The film's id.
            at: Only ratings before this moment (Unix seconds) are known; a user has a default.

        Returns:
            {"rating", "probability", "without": [{"item", "title", "stars", "rating",
            "probability", "effect"}, …], "shown", "known", "window_moves", "at", "seconds"}:
            the prediction as it is, and without each of the films that the prompt shows, the
            greatest effect first. An effect is the prediction as it is minus that without the film,
            in stars, or as a probability where ratings are not predicted. Null for what the
            checkpoint was not trained for.
        """
        *_, found = recommender.counterfactuals.leave_one_out(
            user=given_id(user),
            history=history,
            taste=taste or None,
            profile=profile,
            item=_item(item),
            at=at,
        )
        return found

    for function in (search_items, history):
        offer(service, function, concurrency_limit=4)
    for function in (rate, click, rank, explain, contrast, compare, why):
        offer(service, function, service.model, **GATED)
    offer(service, querying(recommender.store), **DATA_QUEUE)


def querying(store) -> Callable[[str], dict]:
    """The endpoint of free queries."""

    def query(sql: str) -> dict:
        """Read the data set with one SELECT statement (DuckDB's SQL).

        The tables are ratings (user_id, item_id, title, year, genres, rating, time, part), users,
        items and interactions. Nothing can be changed, and no file or address be reached.

        Args:
            sql: The statement.

        Returns:
            {"columns": names, "rows": [[value, …], …], "truncated": whether there were more rows
            than the 1,000 returned}; times are ISO text, null stands for missing and NaN.
        """
        found = store.query(sql)
        return {"columns": found.columns, "rows": found.rows, "truncated": found.truncated}

    return query


def offer(service: Service, function: Callable, gate: Gate | None = None, **queue) -> None:
    """Register a function under its own name in the current Blocks context; ``queue`` is as
    ``gradio.api`` takes it."""
    gr.api(
        service.answering(function, gate),
        api_name=function.__name__,
        api_description=described(function),
        **queue,
    )


def described(function: Callable) -> str:
    """An endpoint's summary with what it returns, from its docstring.

    Gradio joins the lines of a Returns section with commas, which breaks what is longer than one.
    """
    summary, _, returns = get_function_description(function)
    return f"{summary} Returns {' '.join(returns)}"


def _item(item: str | int | None) -> str:
    found = given_id(item)
    if found is None:
        raise UserError("no item was given; give the id of a film, as /search_items returns it")
    return found
