"""A GPU on demand, as hosted Spaces lend it: attached to a process for one answer at a time.

There the package ``spaces`` is present, and only functions that it has wrapped reach the GPU. They
run in a process forked from the server, so what goes in and comes out is pickled: the questions of
a recommender are such functions (ids, numbers and text in, dictionaries and arrays out), its inner
parts are not. Elsewhere nothing is wrapped.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckf_demo.recommender import Recommender

SECONDS = 60
"""The longest that one answer may hold the GPU."""
QUESTIONS = (
    "rate click compare predict bridge_distance rank explain prompt candidates score_candidates "
    "item_vectors person_vector user_vectors score_rows rank_users"
).split()
COUNTERFACTUALS = "leave_one_out with_stars swap_components percentile trace_later_likes".split()
"""Names of the questions that are wrapped."""


def import_spaces() -> bool:
    """Import ``spaces`` where it is installed, and say whether it is.

    It replaces parts of torch, so it has to come before anything asks torch for a GPU.
    """
    if importlib.util.find_spec("spaces") is None:
        return False
    importlib.import_module("spaces")
    return True


def with_gpu_on_demand(recommender: Recommender) -> Recommender:
    """The same recommender; where ``spaces`` is installed, its questions ask for the GPU.

    An answer that comes in pieces can be stopped between two of them by its ``stop`` event, which
    stays in this process: an event cannot be handed to another one.
    """
    if not import_spaces():
        return recommender
    for owner, names in (
        (recommender, QUESTIONS),
        (recommender.counterfactuals, COUNTERFACTUALS),
    ):
        for name in names:
            # On the object, which the class's own methods stand behind unchanged.
            vars(owner)[name] = _on_demand(getattr(owner, name))
    return recommender


def _on_demand(method: Callable) -> Callable:
    import spaces

    if not inspect.isgeneratorfunction(method):

        def answer(*args, **kwargs):
            return method(*args, **kwargs)

        return spaces.GPU(answer, duration=SECONDS)

    def pieces(*args, **kwargs):
        yield from method(*args, **kwargs)

    on_gpu = spaces.GPU(pieces, duration=SECONDS)

    def stoppable(*args, stop: Event | None = None, **kwargs) -> Iterator:
        arriving = on_gpu(*args, **kwargs)
        for piece in arriving:
            if stop is not None and stop.is_set():
                arriving.close()
                return
            yield piece

    return stoppable
