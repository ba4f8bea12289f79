"""A GPU on demand: questions go through `spaces.GPU` where that package is present."""

import inspect
import pickle
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from threading import Event
from types import ModuleType

import pytest

from ckf_demo.recommender import Recommender
from ckf_demo.serving.hosting import COUNTERFACTUALS, QUESTIONS, with_gpu_on_demand
from support.tiny import tiny_recommender

ITEM = "3"


@pytest.fixture
def recommender(tmp_path) -> Iterator[Recommender]:
    with tiny_recommender(tmp_path) as made:
        yield made


@pytest.fixture
def wrapped(monkeypatch) -> list[str]:
    """A package `spaces` that hands over arguments and results as bytes, as the hosted one does.

    The list holds the durations asked for, once per wrapped function.
    """
    asked: list = []

    def gpu(task, *, duration):
        asked.append(duration)

        def through(value):
            return pickle.loads(pickle.dumps(value))

        if inspect.isgeneratorfunction(task):

            def pieces(*args, **kwargs):
                for piece in task(*through(args), **through(kwargs)):
                    yield through(piece)

            return pieces
        return lambda *args, **kwargs: through(task(*through(args), **through(kwargs)))

    package = ModuleType("spaces")
    package.__spec__, package.GPU = ModuleSpec("spaces", None), gpu
    monkeypatch.setitem(sys.modules, "spaces", package)
    return asked


def answered(recommender: Recommender, user: str) -> list:
    found = [
        recommender.rate(user=user, item=ITEM),
        recommender.click(user=user, item=ITEM),
        *recommender.rank(user=user, k=3),
        *recommender.explain(user=user, item=ITEM),
        *recommender.counterfactuals.leave_one_out(user=user, item=ITEM),
    ]
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in found]


def test_nothing_is_wrapped_without_the_package(recommender, monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)
    assert "rate" not in vars(with_gpu_on_demand(recommender))


def test_answers_through_the_gpu_are_the_same(recommender, wrapped):
    user = recommender.store.users()["user"].iloc[0]
    plain = answered(recommender, user)
    recommender.forget()
    assert with_gpu_on_demand(recommender) is recommender
    assert len(wrapped) == len(QUESTIONS) + len(COUNTERFACTUALS)
    assert all(type(duration) is int for duration in wrapped)
    assert answered(recommender, user) == plain


def test_an_answer_in_pieces_is_stopped_by_an_event_that_cannot_be_pickled(recommender, wrapped):
    user = recommender.store.users()["user"].iloc[0]
    with_gpu_on_demand(recommender)
    stop = Event()
    arriving = recommender.counterfactuals.leave_one_out(user=user, item=ITEM, stop=stop)
    next(arriving)
    stop.set()
    assert list(arriving) == []
