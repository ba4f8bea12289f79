"""The real recommender over forty made-up films and a tiny language model.

Screens and endpoints are tested with it in milliseconds. Only two things are made up: answers
follow from the mean of the person's ratings and the item's number, and explanations are one
sentence.
"""

import atexit
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, wraps
from inspect import isgenerator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ckf_demo.baselines import EASE, ItemMean, Popularity
from ckf_demo.collaborative.registry import knowledge_of
from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD, NO_TOKENS, Predictor
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.serving.method_comparison import MethodComparison, TrainedMethod
from support.tiny import TASKS, give_texts, stir, tiny_config, tiny_llama, tiny_tokenizer

GENRES = ["Action", "Comedy", "Drama", "Film-Noir", "Sci-Fi"]
SPLIT_TIME = 890_000_000
DAY = 86_400
# One title carries what markup and templates would trip over.
NASTY_TITLE, NASTY_ITEM = "<b>Bold</b> & ${1+1} {{value}}", "4"
FIRST_WORDS = "Quiet Loud Distant Golden Broken Silent Hidden Crimson".split()
SECOND_WORDS = "Harbour Orchard Machine Winter Mirror".split()
RATINGS_BEFORE = [0, 2, 3, 6, 9, 12, 20, 25, 1, 5, 8, 15, 0, 4, 11, 30]
"""Of each user before the split time; each rates five films later."""
QUESTIONS = (
    *("rate", "click", "rank", "explain", "compare", "predict", "score_candidates"),
    *("score_rows", "item_vectors", "user_vectors"),
)
WHAT_IFS = ("leave_one_out", "with_stars", "swap_components", "percentile", "trace_later_likes")
SHIFTS = {NO_TOKENS: -0.4, COLLABORATIVE_METHOD: 0.3}
"""What a method adds to an answer, in stars."""


@cache
def catalogue() -> Prepared:
    """Forty films and sixteen users, whose ratings follow from a fixed seed."""
    rng = np.random.default_rng(7)
    titles = [f"{first} {second}" for first in FIRST_WORDS for second in SECOND_WORDS]
    titles[int(NASTY_ITEM) - 1] = NASTY_TITLE
    items = [
        (
            str(i + 1),
            title,
            1930 + 2 * i if i != 5 else None,
            [GENRES[i % 5]] + ([GENRES[(i + 1) % 5]] if i % 3 == 0 else []),
        )
        for i, title in enumerate(titles)
    ]
    users, interactions = [], []
    for number, before in enumerate(RATINGS_BEFORE, start=1):
        age = 20 + 3 * (number - 1) if number != 5 else None
        occupation = ["writer", "student", None, "engineer"][(number - 1) % 4]
        users.append((str(number), age, "FM"[(number - 1) % 2], occupation))
        for place, film in enumerate(rng.permutation(40)[: before + 5]):
            offset = place - before if place >= before else place - before - 1
            stars = float(rng.integers(1, 6))
            interactions.append((str(number), str(film + 1), stars, SPLIT_TIME + offset * DAY))
    raw = RawData.from_rows(users=users, items=items, interactions=interactions)
    data = Prepared.from_raw(raw, "made-up")
    days = (data.timestamp - SPLIT_TIME) / DAY
    split = np.select([days < 0, days < 2], [TRAIN, VALID], TEST).astype(data.split.dtype)
    return replace(data, split=split, fit=split == TRAIN)


@cache
def catalogue_with_facts() -> Prepared:
    """The same, with two directors in turn, an actor, and a theme of the seventh film alone."""
    data = catalogue()
    n = data.n_items
    tags = [("sharks", "beach") if item == "7" else ("quiet",) for item in data.item_ids]
    facts = ItemFacts(
        directors=[(("Ann Lee", "Bo Ray")[place % 2],) for place in range(n)],
        actors=[("Cy Fox",)] * n,
        tags=tags,
        countries=[("France",)] * n,
        languages=[("French",)] * n,
        descriptions=["Somebody looks for the sea."] * n,
    )
    return replace(data, dataset="made-up-facts", facts=facts)


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="ckf-made-up-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def _checkpoint() -> Path:
    """A folder with something in it, so that answers can be kept under its hash."""
    made = _folder() / "made-up"
    made.mkdir()
    (made / "weights").write_bytes(b"none")
    return made


_fitted: dict[str, tuple] = {}


def _of(data: Prepared) -> tuple:
    """The store and the collaborative knowledge of a data set, made once."""
    if data.hash not in _fitted:
        path = _folder() / f"{data.hash}.duckdb"
        write_store(data, path)
        store = InteractionStore(path)
        atexit.register(store.close)
        _fitted[data.hash] = store, knowledge_of(data).fit(data)
    return _fitted[data.hash]


class FakePredictor(Predictor):
    """The real predictor with made-up answers.

    ``word_seconds`` slows explanations and `FakeRecommender.score_rows` down, for tests of the stop
    button.
    """

    word_seconds = 0.0

    def compute(self, person: Person, questions: Sequence[tuple[str, int, str]]) -> list[Tensor]:
        answers = []
        for task, item, method in questions:
            level = made_up_level(person.ratings, int(self.prepared.item_ids[item]), method)
            if task == "rating":
                distances = (torch.arange(1, 6) - level) ** 2
                answers.append((-distances).log_softmax(-1))
            else:
                answers.append(torch.tensor((level - 1) / 4).logit())
        return answers

    def write(
        self, prefix, branch, slots, *, stop: threading.Event | None = None, **options
    ) -> Iterator[int]:
        """In the place of `Engine.generate`: a sentence about the first film of the facts."""
        prompt = self.system.writer.decode([token for token in branch.ids if token >= 0])
        titles = [title for title in self.prepared.titles if f"{title} (you" in prompt]
        named = min(titles, key=prompt.index) if titles else ""
        text = f" You know {named}, so this may suit you." if named else " This may suit you."
        for word in text.split(" ")[1:]:
            if stop is not None and stop.is_set():
                return
            time.sleep(self.word_seconds)
            yield from self.system.writer.tokenizer(f" {word}").input_ids


def made_up_level(ratings: Sequence[float] | np.ndarray, number: int, method: str) -> float:
    """Expected stars of the item with that number, for who gave such ratings."""
    person = np.mean(ratings) if len(ratings) else 3.5
    level = 0.6 * person + 1.4 + (number % 7 - 3) * 0.25 + SHIFTS.get(method, 0.0)
    if method == "text":
        level += (number % 3 - 1) * 0.5
    return float(np.clip(level, 1.1, 4.9))


class FakeRecommender(Recommender):
    """The real recommender over a `FakePredictor`.

    ``calls`` names the questions it was asked. ``step_seconds`` slows every step of a
    counterfactual down, for tests of the stop button.
    """

    def __init__(
        self,
        word_seconds: float = 0.0,
        checkpoint: Path | None = None,
        data: Prepared | None = None,
        fusion: str = "ckf",
        tasks: Sequence[str] = TASKS,
    ) -> None:
        data = data or catalogue()
        config = tiny_config(
            fusion={"hidden": 8, "method": fusion}, lora={"rank": 4, "alpha": 8, "task_targets": []}
        )
        store, knowledge = _of(data)
        system = System(config, data, knowledge, tiny_llama(), tiny_tokenizer())
        stir(system.lora, size=0.1)
        system.lora.eval()
        system.fusion.eval()
        manifest = {
            "name": "made-up",
            "dataset": data.dataset,
            "tasks": list(tasks),
            "backbone": {"name": "tiny", "sha256": "0" * 64},
            "seed": 1,
        }
        predictor = FakePredictor(system, store, manifest)
        predictor.word_seconds = word_seconds
        system.engine.generate = predictor.write
        vectors = np.random.default_rng(3).normal(size=(data.n_items, 4)).astype(np.float32)
        give_texts(predictor, vectors)
        super().__init__(predictor, checkpoint or _checkpoint())
        self.calls: list[str] = []
        self.step_seconds = 0.0
        for owner, names in ((self, QUESTIONS), (self.counterfactuals, WHAT_IFS)):
            for name in names:
                setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, question: Callable) -> Callable:
        @wraps(question)
        def counted(*args, **kwargs):
            self.calls.append(f"{name} {args[0]}" if name.endswith("_vectors") else name)
            answer = question(*args, **kwargs)
            return self._slowly(answer) if name in WHAT_IFS and isgenerator(answer) else answer

        return counted

    def _slowly(self, pieces: Iterator) -> Iterator:
        for piece in pieces:
            yield piece
            time.sleep(self.step_seconds)

    def explain(self, *args, **kwargs) -> Iterator[dict]:
        for part in super().explain(*args, **kwargs):
            yield part
            time.sleep(self.predictor.word_seconds)

    def score_rows(self, rows, *args, progress=None, **kwargs) -> dict[str, np.ndarray]:
        def slowly(done: int) -> None:
            time.sleep(done * self.predictor.word_seconds)
            if progress is not None:
                progress(done)

        return super().score_rows(rows, *args, progress=slowly, **kwargs)


class FakeTextRecommender(FakeRecommender):
    """A sibling that was trained for two tasks and sees films in another order."""

    def __init__(self) -> None:
        super().__init__(fusion="text", tasks=("rating", "ctr"))


class FakeFitted:
    """Baselines that are fitted at once and have one opinion each."""

    kinds: ClassVar = {kind.name: kind for kind in (ItemMean, EASE, Popularity)}

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: list[str] = []

    def fit(self, name: str) -> None:
        if name not in self.seconds:
            self.calls.append(name)
            self.seconds[name] = 0.5

    def opinion(self, name: str, item: str, **person) -> tuple[float | None, float | None]:
        tasks = self.kinds[name].tasks
        return 3.21 if "rating" in tasks else None, 0.43 if "ctr" in tasks else None

    def scores(self, name: str, by: str, items: list[str], **person) -> list[float]:
        return [float(item) for item in items]


class FakeMethodComparison(MethodComparison):
    """The fake recommender with a sibling beside it, and baselines."""

    def __init__(self, recommender) -> None:
        super().__init__(recommender)
        self.fitted = FakeFitted()

    def _find(self) -> None:
        sibling = self._loaded["text"] = FakeTextRecommender()
        self._methods["text"] = TrainedMethod(
            name="text",
            label="TALLRec",
            paper="2305.00447",
            summary="words alone",
            tasks=sibling.tasks,
            checkpoint="made-up-text",
            parameters=None,
            minutes=11.9,
        )
