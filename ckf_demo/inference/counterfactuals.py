"""Counterfactuals: answers about a person and an item under changes.

    recommender.counterfactuals.leave_one_out(user="405", item="50")
    recommender.counterfactuals.with_stars("172", user="405", item="50")
    recommender.counterfactuals.swap_components(user="405", item="50", other="13")
    recommender.counterfactuals.percentile(user="405", item="50")
    recommender.counterfactuals.trace_later_likes("405")

People are described as for `Recommender`.
"""

from collections.abc import Iterator
from threading import Event
from typing import Unpack

from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.inference import changed_histories, standing
from ckf_demo.inference.components import Components
from ckf_demo.inference.figures import QUANTITIES, Figures, compared_tasks
from ckf_demo.inference.people import Described, Person, whole
from ckf_demo.model.system import COMPLETE
from ckf_demo.runtime.errors import UserError


class Counterfactuals(Components):
    """What-if questions about the answers of a checkpoint."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks whose answers are compared: rating and CTR if trained, else ranking."""
        return compared_tasks(self._predictor)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Their keys in the returned rows; effects are in the first one."""
        return tuple(QUANTITIES[task] for task in self.tasks)

    def _pair(self, item: object, person: Described) -> tuple[Person, int]:
        """The person, without the item in their history, and the item of a question.

        UserError for a checkpoint without `tasks`.
        """
        predictor = self._predictor
        if not self.tasks:
            raise UserError(
                f"The checkpoint '{predictor.manifest['name']}' answers neither rating, ctr nor "
                "ranking, so nothing can be compared; serve one that does."
            )
        target = predictor.people.item(item)
        return predictor.people.read_person(**person).without(target), target

    def leave_one_out(
        self, item=None, stop: Event | None = None, **person: Unpack[Described]
    ) -> Iterator[dict]:
        """Remove each item that the prompt shows, one at a time, latest first.

        Yields
        ------
        ``{"rating", "probability", "score", "without": [{"item", "title", "stars", "rating",
        "probability", "score", "effect"}], "shown", "known", "window_moves", "at", "seconds"}``:
        the answer as it is; then for each item removed so far the answer without it, the greatest
        effect first. ``effect`` is the answer as it is minus that without the item, in the first of
        `quantities`: above zero where the item speaks for the candidate. Quantities of
        untrained tasks are None. ``shown`` of the ``known`` items are in the prompt. The
        first piece has no item yet, the last one has all; ``stop`` ends it early.

        Raises
        ------
        UserError
            As `Recommender.rate`; or when the checkpoint answers no task that can be compared.
        """
        described, target = self._pair(item, person)
        yield from changed_histories.leave_one_out(self._predictor, described, target, stop)

    def with_stars(self, changed: str, item=None, **person: Unpack[Described]) -> list[dict]:
        """Answer as if the item ``changed`` of the shown history had one to five stars.

        Returns
        -------
        ``[{"stars", "rating", "probability", "score"}]``; the first row, with ``stars`` None, is
        for the item removed.

        Raises
        ------
        UserError
            When the item is not among those that the prompt shows, or the data contain only likes.
        """
        described, target = self._pair(item, person)
        index = self._predictor.people.item(changed)
        return changed_histories.with_stars(self._predictor, described, target, index)

    def swap_components(
        self,
        item=None,
        other: str | None = None,
        stop: Event | None = None,
        **person: Unpack[Described],
    ) -> Iterator[dict]:
        """Answer with one part of the model swapped or switched off, the rest unchanged.

        ``other`` is a known user whose bridges, at their default moment, replace the person's. An
        adapter that is off is off in the whole prompt. Calibration stays fixed.

        Yields
        ------
        ``{"part", "label", "rating", "probability", "score"}``, first the answer as it is; only for
        parts that the checkpoint has. ``stop`` ends it early.

        Raises
        ------
        UserError
            When ``other`` is unknown, or given though there are no bridges to swap.
        """
        described, target = self._pair(item, person)
        other = None if other in (None, "") else str(other)
        yield from self.swap(described, target, other, stop)

    def through_bridges(self, whose: str, item=None, **person: Unpack[Described]) -> Figures:
        """The answers through the bridges of a known user, ``{"rating", "probability", "score"}``.

        UserError as `bridges_of`.
        """
        described, target = self._pair(item, person)
        bridges = self.bridges_of(whose)
        with self._predictor.lock:
            return self.answers(described, target, COMPLETE, bridges)

    def percentile(
        self, item=None, stop: Event | None = None, **person: Unpack[Described]
    ) -> Iterator[list[dict]]:
        """The item's percentile in the person's catalogue: among items that they have not seen.

        The candidate stage and the collaborative prior score the whole catalogue; the full answer,
        with the language model, a fixed sample of `standing.SAMPLE` items, a part at a time.

        Yields
        ------
        All rows so far: ``[{"by", "quantity", "value", "percentile", "low", "high", "n",
        "sampled"}]``. ``by`` is ``"candidates"`` (their order's score), ``"prior"`` or ``"own"``.
        ``percentile`` in 0–1 is the share of ``n`` items that score lower; ``low`` and ``high``
        bound it at 95 % (Wilson) where they are a sample, else they are equal to it. ``stop`` ends
        it early.
        """
        described, target = self._pair(item, person)
        yield from standing.percentile(self._predictor, described, target, stop)

    def trace_later_likes(self, user: str, at: int | None = None, k: int = 10) -> dict:
        """Trace each item that a known user liked later through both stages of the top ``k``.

        Returns
        -------
        ``{"films": [{"item", "title", "rating", "collaborative_rank", "rank", "outcome"}], "k",
        "candidates", "catalogue", "outcomes": {outcome: number}, "in_top_by_collaborative", "at"}``
        in the collaborative order. ``rank`` is the place after re-ranking, None for items that are
        no candidates. ``outcome`` is ``"kept"`` or ``"moved in"`` for items in the top ``k``, and
        ``"no candidate"``, ``"moved out"`` (by re-ranking) or ``"not moved in"`` for others.

        Raises
        ------
        UserError
            When the user is unknown, the data contain only likes, or the checkpoint does not rank.
        """
        predictor = self._predictor
        if user in (None, ""):
            raise UserError("Later likes are known only for users of the data set.")
        predictor.need("ranking")
        k = whole(k, "k")
        predictor.need_candidates()
        person = predictor.people.read_person(user=user, at=at)
        return standing.trace_later_likes(predictor, person, k, CANDIDATES)
