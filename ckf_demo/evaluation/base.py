"""What both protocols of `ckf evaluate` share: settings, answers in, and names of methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ckf_demo.baselines import BASELINES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TEST, VALID
from ckf_demo.fusion.registry import METHODS
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.results import Kind, Results
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.registry import TASKS

SPLITS = {"valid": VALID, "test": TEST}
ALONE = "alone"
VARIANTS = {
    ALONE: "{}'s language model alone",
    "no-tokens": "{} without tokens",
    "collaborative": "{}'s collaborative prior",
}
"""Methods of a recommender beside its own, and their names in the results.

`ALONE` is the answer with collaborative tokens before it is pooled with the prior.
"""

TEXT_ONLY = "text-only"
WORST = 50
"""How many rows of each task are listed as the most wrong ones."""


@dataclass(frozen=True)
class Settings:
    """What `evaluate` measures, and on how much; ``split`` is ``"valid"`` or ``"test"``."""

    split: str = "test"
    limit: int | None = None
    """For a quick look: about so many rows (a seeded sample of every user's), and a tenth as many
    ranking queries and explanations."""
    single_task: Sequence[Path | str] = ()
    """Other checkpoints for the same data: of one task, measured as ``CKF-S <task>``, other methods
    or ablations, measured by what their names have beyond the checkpoint's."""
    sample: int = 2000
    """Rows that are scored again with histories cut to k = 0, 1, 3, 10; 0 for none."""
    explanations: int = 150
    """(User, item) pairs that are explained; 0 for none."""
    without_tokens: bool = True
    """Whether the language model answers once more without its collaborative tokens."""
    baselines: Sequence[str] | None = None
    """Names of the baselines to measure, for data of ratings; None for all."""
    tasks: Sequence[str] = tuple(TASKS)
    """What is measured, as far as the checkpoint answers it."""
    resamples: int = bootstrap.RESAMPLES
    seed: int = 0
    """Of the bootstrap and of every sample."""

    def __post_init__(self) -> None:
        """UserError for an unknown split or task."""
        split_part(self.split)
        for task in self.tasks:
            if task not in TASKS:
                raise UserError(f"Unknown task {task!r}; choose among {', '.join(TASKS)}.")

    def share(self, size: int) -> int:
        """``size`` queries or pairs, or with a limit a tenth of that at most."""
        return size if self.limit is None else min(size, max(1, self.limit // 10))


def split_part(split: str) -> int:
    """The part of the data that a split names; UserError for an unknown one."""
    if split not in SPLITS:
        raise UserError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    return SPLITS[split]


class Predictions:
    """Every scored pair of every method, ``users`` and ``items`` being their indices, int (n,)."""

    def __init__(self, prepared: Prepared, users: np.ndarray, items: np.ndarray):
        self._pairs = {
            "user": np.array(prepared.user_ids, dtype=object)[users],
            "item": np.array(prepared.item_ids, dtype=object)[items],
        }
        self._parts: list[pd.DataFrame] = []

    def add(self, method: str, task: str, label: np.ndarray, score: np.ndarray | None) -> None:
        """Add a method's scores (n,) of all pairs; nothing for a task that it lacks.

        ``label`` (n,) is the true rating, or for clicks 1 where the item was liked and 0 otherwise.
        ``score`` is the predicted rating, or the greater the more probable the click.
        """
        if score is not None:
            label, score = (np.asarray(values, dtype=np.float32) for values in (label, score))
            values = {"label": label, "method": method, "score": score, "task": task}
            self._parts.append(pd.DataFrame(self._pairs | values))

    def worst(self, method: str, beside: str) -> list[dict]:
        """The `WORST` rows of each task in which a method was most wrong, one for each user.

        ``prior`` is the score of ``beside`` for the same row, None where it was not measured.
        """
        rows = []
        for task, frame in self.frame().groupby("task", sort=False):
            of_method = frame[frame["method"] == method]
            other = frame[frame["method"] == beside]
            of_method = of_method.assign(
                wrong=(of_method["score"] - of_method["label"]).abs(),
                prior=other["score"].to_numpy() if len(other) else None,
            )
            of_method = of_method.sort_values("wrong", ascending=False, kind="stable")
            for row in of_method.drop_duplicates("user").head(WORST).itertuples():
                prior = None if row.prior is None else round(float(row.prior), 4)
                pair = {"task": task, "user": row.user, "item": row.item}
                score = round(float(row.score), 4)
                rows.append(pair | {"label": float(row.label), "score": score, "prior": prior})
        return rows

    def frame(self) -> pd.DataFrame:
        """All parts below each other in the order in which they were added; empty without any."""
        nothing = {"label": [], "method": [], "score": [], "task": []}
        empty = {key: [] for key in self._pairs} | nothing
        return pd.concat(self._parts or [pd.DataFrame(empty)], ignore_index=True)


@dataclass(frozen=True)
class Measured:
    """What a protocol measured in ``tasks``; ``errors`` are the most wrong rows."""

    results: Results
    predictions: Predictions
    tasks: Sequence[str]
    errors: list[dict]


def progress_bars() -> Progress:
    """Progress of what is measured, on stderr."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def method_names(recommender: Recommender) -> dict[str, str]:
    """A checkpoint's methods and what they are called in the results."""
    method, *others = recommender.methods
    name = TEXT_ONLY if method == "text" else method
    others = [ALONE, *others] if "collaborative" in others else others
    return {method: name} | {other: VARIANTS[other].format(name) for other in others}


def relative_name(recommender: Recommender, relative: Recommender) -> str:
    """``CKF-S ctr`` for fewer tasks than the checkpoint's, otherwise what the name adds."""
    same = relative.methods[0] == recommender.methods[0]
    if same and len(relative.tasks) < len(recommender.tasks):
        return f"CKF-S {'+'.join(relative.tasks)}"
    return relative.manifest["name"].removeprefix(f"{recommender.manifest['name']}-")


def kind_of(name: str) -> Kind:
    """What a method is by its name: a baseline, a fusion method, or one with something changed."""
    if name in BASELINES:
        return "baseline"
    return "method" if name in METHODS else "component"
