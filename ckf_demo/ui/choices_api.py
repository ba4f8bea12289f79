"""The named endpoints of a checkpoint whose data hold likes alone: those of the whole page, with
the same arguments in the same order, but for what asks for ratings."""

from collections.abc import Iterator
from typing import Literal

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.api import Profile, Rated, given_id, offer, querying
from ckf_demo.ui.events import DATA_QUEUE, GATED
from ckf_demo.ui.service import Service


def add_choice_endpoints(recommender, service: Service) -> None:
    """Register the named endpoints in the current Blocks context."""
    # Spelled out in the schema, so that a program need not guess the names.
    # pyrefly: ignore[invalid-literal]
    Method = Literal[tuple(recommender.methods)]

    def search_items(query: str, limit: int = 10) -> list[dict]:
        """Find items by their title.

        Args:
            query: Part of a title.
            limit: The most items to return.

        Returns:
            Items as {"item", "title", "year", "genres"}; most items have no title and are not
            found by one.
        """
        return recommender.search_items(query, limit=limit)

    def history(user: str | int, at: int | None = None) -> list[dict]:
        """What a user chose before a moment, oldest first.

        Args:
            user: A user id of the data set.
            at: The moment; the user's default moment if it is left out.

        Returns:
            Choices as {"item", "title", "rating", "timestamp"}; each counts as a like.
        """
        if given_id(user) is None:
            raise UserError("no user was given; give a user id of the data set")
        return recommender.history(str(user), at=at)

    def click(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        method: Method | None = None,
    ) -> dict:
        """Predict how probably a person would choose an item, against one that they did not choose.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they liked, oldest first, as [{"item": id, "rating": 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The item's id.
            at: Only choices before this moment are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            {"probability", "at", "seconds"}.
        """
        person = _person(user, history, taste, profile)
        return recommender.click(**person, item=_item(item), at=at, method=method)

    def rank(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        k: int = 10,
        at: int | None = None,
        method: Method | None = None,
    ) -> list[dict]:
        """Rank the whole catalogue, without what they have chosen, for a person.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they liked, oldest first, as [{"item": id, "rating": 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            k: The length of the list.
            at: Only choices before this moment are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            [{"rank", "item", "title", "year", "genres", "score", "collaborative_rank",
            "later_rating"}, …], best first; the last is null for what a user did not choose later.
        """
        return recommender.rank(**_person(user, history, taste, profile), k=k, at=at, method=method)

    def explain(
        user: str | int | None = None,
        history: list[Rated] | None = None,
        taste: str | None = None,
        profile: Profile | None = None,
        item: str | int | None = None,
        at: int | None = None,
        method: Method | None = None,
    ) -> Iterator[dict]:
        """Say in words why a person may like an item; the text arrives as it is written.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they liked, oldest first, as [{"item": id, "rating": 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The item's id.
            at: Only choices before this moment are known; a user has a default.
            method: The method to answer with; the checkpoint's own, the first, if it is left out.

        Returns:
            {"text"} with the text so far, and at the end {"text", "sentences": [{"text",
            "evidence": [{"item", "title", "text"}, …]}, …], "draft", "regenerated", "dropped", …}:
            what people wrote does not bear out is written once more and then left out.
        """
        yield from recommender.explain(
            **_person(user, history, taste, profile), item=_item(item), at=at, method=method
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
        """Say in words why a person may like an item beside another item, or through the personal
        bridges of somebody else, or both; the texts arrive as they are written.

        Args:
            user: A user id of the data set, or empty for a new person.
            history: What they liked, oldest first, as [{"item": id, "rating": 5}, …].
            taste: What they like, in a sentence.
            profile: {"age", "gender", "occupation"}, each optional.
            item: The item's id.
            at: Only choices before this moment are known; a user has a default.
            other: The id of the item to hold it against; may be empty where bridges_of is given.
            bridges_of: A user id of the data set; their bridges stand in for the person's own.

        Returns:
            {"sides": [{"side", "item", "title", "rating", "probability", "whose", "explanation"},
            …], "finished"} with the texts so far, and at the end "only" besides. A side is "this"
            for the item, "that" for the other one and "bridges" for the item through those of user
            "whose", which has no probability of its own; a rating is null; an explanation is as
            /explain returns it, null before its turn; "only" holds the titles that the words for
            this or that name alone.
        """
        yield from recommender.contrasts.sides(
            **_person(user, history, taste, profile),
            item=_item(item),
            other=given_id(other),
            bridges_of=given_id(bridges_of),
            at=at,
        )

    for function in (search_items, history):
        offer(service, function, concurrency_limit=4)
    for function in (click, rank, explain, contrast):
        offer(service, function, service.model, **GATED)
    offer(service, querying(recommender.store), **DATA_QUEUE)


def _person(
    user: str | int | None,
    history: list[Rated] | None,
    taste: str | None,
    profile: Profile | None,
) -> dict:
    known = given_id(user)
    if known is None and not (history or taste or profile):
        raise UserError("nobody was described; give a user id, or a history of what they liked")
    return {"user": known, "history": history, "taste": taste or None, "profile": profile}


def _item(item: str | int | None) -> str:
    found = given_id(item)
    if found is None:
        raise UserError("no item was given; give an id, as /search_items returns it")
    return found
