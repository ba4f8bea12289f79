"""Explanations side by side: two items for one person, or one item with others' bridges."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any, Protocol, Unpack

from ckf_demo.data.store import InteractionStore
from ckf_demo.inference.counterfactuals import Counterfactuals
from ckf_demo.inference.people import Described
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.domains import Domain
from ckf_demo.tasks.explanations.facts import Film
from ckf_demo.tasks.explanations.side_by_side import Side, paragraph, through_bridges

THIS, THAT, BRIDGES = "this", "that", "bridges"


class Explains(Protocol):
    """The methods of `Recommender` that contrasts use."""

    store: InteractionStore
    methods: tuple[str, ...]

    counterfactuals: Counterfactuals
    predict: Callable[..., list[dict]]
    explain: Callable[..., Iterator[dict]]

    place: Callable[[str], int]
    film: Callable[[int], Film]
    liked_together: Callable[[str, str], bool]

    @property
    def domain(self) -> Domain: ...


class Contrasts:
    """Explanations side by side."""

    def __init__(self, recommender: Explains):
        self._recommender = recommender

    def sides(
        self,
        item=None,
        other: str | None = None,
        bridges_of: str | None = None,
        stop: Event | None = None,
        **person: Unpack[Described],
    ) -> Iterator[dict]:
        """Explain an item beside another one, or with the bridges of a known user, or both.

        Yields
        ------
        ``{"sides": [{"side", "item", "title", "rating", "probability", "whose", "explanation"}],
        "finished"}`` as the words grow. ``side`` is ``"this"``, ``"that"`` for the other item and
        ``"bridges"`` for the first one through those of user ``whose``; rating and probability,
        None where the checkpoint does not know the task, belong to the person, and an
        ``explanation`` is a step of `Recommender.explain`, None before it begins. The last has
        ``"only"`` besides, for this and that the titles that its words name and the other's do
        not, and ``"paragraph"``: what speaks for each, in effects, how they differ, and what the
        other bridges change; empty for data without ratings. ``stop`` ends it early, without that
        last step.

        Raises
        ------
        UserError
            Before anything is explained: when neither ``other`` nor ``bridges_of`` is given,
            ``other`` is the item itself, or as `Recommender.explain`.
        """
        recommender, thing = self._recommender, self._recommender.domain.thing
        if not other and not bridges_of:
            raise UserError(
                f"Nothing to compare with: choose another {thing}, or a user whose bridges to use."
            )
        if other and str(other) == str(item):
            raise UserError(f"A {thing} cannot be compared with itself; choose another.")
        if bridges_of:
            # an unknown user is refused now, before any explanation is written
            recommender.counterfactuals.bridges_of(bridges_of)
        shown = [(THIS, str(item), None)]
        shown += [(THAT, str(other), None)] if other else []
        shown += [(BRIDGES, str(item), bridges_of)] if bridges_of else []
        items = [item_id for side, item_id, _ in shown if side != BRIDGES]
        rows = recommender.predict(items, **person, methods=recommender.methods[:1])
        predicted = {(THIS if row["item"] == str(item) else THAT): row for row in rows}
        sides: list[dict[str, Any]] = [
            {
                "side": side,
                "item": item_id,
                "title": recommender.store.item(item_id)["title"],
                "rating": predicted.get(side, {}).get("rating"),
                "probability": predicted.get(side, {}).get("probability"),
                "whose": whose,
                "explanation": None,
            }
            for side, item_id, whose in shown
        ]
        for side in sides:
            asked = {"item": side["item"], "bridges_of": side["whose"], "stop": stop}
            for step in recommender.explain(**person, **asked):
                side["explanation"] = step
                yield {"sides": [dict(each) for each in sides], "finished": False}
            if stop is not None and stop.is_set():
                return
        told = self._paragraph(sides, bridges_of, person)
        yield {"sides": sides, "finished": True, "only": _only(sides), "paragraph": told}

    def _paragraph(self, sides: list[dict], bridges_of: str | None, person: Described) -> str:
        """The sides in effects; empty where no rating is predicted."""
        recommender, by_side = self._recommender, {side["side"]: side for side in sides}
        this, parts = by_side[THIS], []
        if this["rating"] is None:
            return ""
        if THAT in by_side:
            parts.append(
                paragraph(self._side(this), self._side(by_side[THAT]), recommender.liked_together)
            )
        if bridges_of:
            after = recommender.counterfactuals.through_bridges(bridges_of, this["item"], **person)[
                "rating"
            ]
            film = recommender.film(recommender.place(this["item"]))
            assert after is not None  # a rating is predicted here
            parts.append(through_bridges(film, bridges_of, this["rating"], after))
        return " ".join(parts)

    def _side(self, side: dict) -> Side:
        recommender = self._recommender
        causes = [c for c in side["explanation"].get("causes", []) if c["title"]]
        return Side(
            recommender.film(recommender.place(side["item"])),
            side["rating"],
            {cause["title"]: cause["effect"] for cause in causes},
            {cause["title"]: cause["stars"] for cause in causes},
        )


def _only(sides: list[dict]) -> dict[str, list[str]]:
    """Titles that only one side's explanation names, by side."""
    named = {
        side["side"]: [entry["title"] for entry in side["explanation"].get("evidence", [])]
        for side in sides
        if side["side"] != BRIDGES
    }
    return {
        side: [title for title in titles if all(title not in named[x] for x in named if x != side)]
        for side, titles in named.items()
    }
