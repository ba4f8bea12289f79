"""Answers of every method to one part of the data, in one file that tables are rebuilt from.

The file holds scores alone, in the order of the part's rows and ranking queries. It has no user,
item or label, so it says nothing without the data.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

KINDS = ("ratings", "clicks", "lists")
NOTHING = -1
"""Fills lists that are shorter than others."""


@dataclass
class Answers:
    """Answers by method to n rows and q ranking queries.

    ``ratings`` float32 (n,) in stars; ``clicks`` float32 (n,), greater for more probable likes, and
    probabilities where a method gives them; ``lists`` int32 (q, k) item indices, best first.
    ``notes`` holds seconds and settings of a baseline's fit, or a checkpoint's hash.
    """

    dataset: str
    split: str
    data: str
    """`Prepared.hash` of what was asked about."""
    ratings: dict[str, np.ndarray] = field(default_factory=dict)
    clicks: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, dict] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Methods in the order in which they answered."""
        return list(self.notes)

    def add(
        self,
        name: str,
        note: dict,
        rating: np.ndarray | None = None,
        click: np.ndarray | None = None,
        lists: list[np.ndarray] | None = None,
    ) -> None:
        """Keep a method's answers in the place of earlier ones."""
        self.forget(name)
        self.notes[name] = note
        if rating is not None:
            self.ratings[name] = np.asarray(rating, np.float32)
        if click is not None:
            self.clicks[name] = np.asarray(click, np.float32)
        if lists is not None:
            longest = max((len(own) for own in lists), default=0)
            table = np.full((len(lists), longest), NOTHING, np.int32)
            for row, own in zip(table, lists, strict=True):
                row[: len(own)] = own
            self.lists[name] = table

    def forget(self, name: str) -> None:
        """Remove a method."""
        for kind in (self.ratings, self.clicks, self.lists, self.notes):
            kind.pop(name, None)

    def ranked(self, name: str) -> list[np.ndarray]:
        """A method's rankings without the filling."""
        return [row[row != NOTHING] for row in self.lists[name]]

    def save(self, path: Path) -> None:
        """Write the file beside ``path`` and rename it."""
        arrays = {
            f"{kind}/{name}": np.ascontiguousarray(values)
            for kind in KINDS
            for name, values in getattr(self, kind).items()
        }
        identity = {"dataset": self.dataset, "split": self.split, "data": self.data}
        text = json.dumps({**identity, "notes": self.notes}, ensure_ascii=False)
        with replacing(Path(path)) as temporary:
            save_file(arrays, temporary, metadata={"answers": text})

    @classmethod
    def load(cls, path: Path) -> "Answers":
        """Read what `save` wrote; UserError for another file."""
        try:
            with safe_open(path, framework="numpy") as file:
                stored = json.loads((file.metadata() or {})["answers"])
                answers = cls(stored["dataset"], stored["split"], stored["data"])
                answers.notes = dict(stored["notes"])
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    kind, _, name = key.partition("/")
                    if kind not in KINDS or name not in answers.notes:
                        raise KeyError(key)
                    getattr(answers, kind)[name] = file.get_tensor(key)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} holds no answers ({error}); remove it, or name another file."
            ) from error
        return answers
