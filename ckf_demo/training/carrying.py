"""Begin with what a shipped checkpoint has learnt: its adapters and its fusion, for other data.

The collaborative tables are fitted on the new data. Their factors have axes of their own, and a
fusion knows only those of the tables that it was trained with, so the new factors are turned to lie
as the old ones do (`Alignment`). A rotation changes no answer of the tables themselves. The prior,
the calibration and the weights in the pool belong to the new data and are fitted by the stages.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
from safetensors.torch import load_file
from scipy.linalg import orthogonal_procrustes

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.positive_only import PositiveOnlyKnowledge
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.collaborative.text_vectors import encoded_texts
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.ckf import CKF
from ckf_demo.model.manifest import SHIPPED, adapters_folder, read_manifest
from ckf_demo.model.system import COLLABORATIVE_FILE, System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, sha256

FOR_RATINGS, FOR_REVIEWS, FOR_CHOICES = "ml-100k", "amazon-musical-instruments", "xrec-yelp"
"""Shipped checkpoints by what data hold: ratings, ratings with texts, choices alone."""
SHARED_ITEMS = 100
"""Items of one title in both data sets from which they show how the axes lie."""
TEXTS = 2_000
"""Items of each data set whose texts show it otherwise, the most frequent ones."""
RIDGE = 10.0
LEAN = 0.05
"""Correlation of an axis with the popularity or the level of items that gives it a direction."""
CALIBRATION_ROWS = 300


class Alignment(StrEnum):
    """What shows how the axes of new factors lie to those of the old ones."""

    items = "items"
    """Items of both data sets: the best rotation for them (orthogonal Procrustes)."""
    texts = "texts"
    """Texts of items: what a ridge regression on the old data predicts from the new texts."""
    axes = "axes"
    """Principal axes in the order of their variance, each in the direction in which popular items
    and then well-rated ones lie. For items that have nothing in common with the old ones."""
    none = "none"
    """Axes as they are, to compare with."""


def nearest(prepared: Prepared) -> Path:
    """The shipped checkpoint whose data hold the same kind of feedback."""
    if prepared.positive_only:
        return SHIPPED / FOR_CHOICES
    return SHIPPED / (FOR_REVIEWS if prepared.has_texts else FOR_RATINGS)


def carried_config(folder: Path, name: str) -> RunConfig:
    """The configuration of a shipped checkpoint for data of another name."""
    fields = read_manifest(folder)["config"]
    config = RunConfig.model_validate(fields | {"name": name, "data": {"dataset": name}})
    train = config.train.model_copy(
        update={
            "pool_on_validation": True,
            "calibration_rows": CALIBRATION_ROWS,
            "retrievers": False,
        }
    )
    return config.model_copy(update={"train": train})


def carried_system(
    config: RunConfig, prepared: Prepared, folder: Path, alignment: Alignment | None = None
) -> tuple[System, Alignment]:
    """A system for new data with the adapters and the fusion of a checkpoint, its prior unfitted.

    Parameters
    ----------
    alignment
        By default the first of `Alignment` that the data allow.

    Returns
    -------
    The system, and how its tables were aligned.
    """
    knowledge = System.fit_knowledge(config, prepared)
    knowledge, alignment = aligned(knowledge, prepared, folder, alignment)
    system = System.for_training(config, prepared, knowledge=knowledge)
    # the prior and the scales of features are of the old data, and are fitted anew
    untouched = {k: v.clone() for k, v in system.fusion.state_dict().items() if _is_fitted(k)}
    system.load_weights(folder, prepared)
    system.fusion.load_state_dict(untouched, strict=False)
    manifest = read_manifest(folder)
    place = adapters_folder(folder, manifest)
    system.borrowed = {
        "checkpoint": folder.name,
        "files": {
            path.relative_to(place).as_posix(): sha256(path)
            for path in sorted(place.rglob("*.safetensors"))
        },
    }
    return system, alignment


def begin(system: System, folder: Path, source: Path, alignment: Alignment) -> None:
    """Write the checkpoint of a system that was carried over; no stage has run yet."""
    cast(CKF, system.fusion).set_weight("ranking", 0.0)
    system.save(
        folder,
        extra={
            "training": {
                "steps": 0,
                "minutes": 0.0,
                "parameters": 0,
                "carried_from": source.name,
                "alignment": alignment.value,
            },
            "stages": {},
        },
    )


def _is_fitted(name: str) -> bool:
    return name.startswith(("prior.", "feature_"))


@dataclass(frozen=True)
class _Factors:
    """Item factors (I, d) by model, and what is known of the items: count and level (I,)."""

    tables: Mapping[str, np.ndarray]
    counts: np.ndarray
    levels: np.ndarray


def _factors(knowledge: Knowledge) -> _Factors:
    if isinstance(knowledge, CollaborativeKnowledge):
        tables = {
            "rating": knowledge.rating_model.items,
            "watching": knowledge.implicit_model.items,
        }
        return _Factors(tables, knowledge.item_count, knowledge.item_bias)
    if isinstance(knowledge, PositiveOnlyKnowledge):
        return _Factors(
            {"choices": knowledge.model.items}, knowledge.item_count, knowledge.item_count
        )
    raise UserError("Data with a given split of likes and dislikes cannot be carried over to.")


def _old_factors(folder: Path) -> _Factors:
    """The factors of a checkpoint's tables."""
    tensors = {k: v.float().numpy() for k, v in load_file(folder / COLLABORATIVE_FILE).items()}
    tables = {k.removesuffix(".items"): v for k, v in tensors.items() if k.endswith(".items")}
    counts = tensors["item_count"]
    return _Factors(tables, counts, tensors.get("rating.item_bias", counts))


def _turned(knowledge: Knowledge, rotations: Mapping[str, np.ndarray]) -> Knowledge:
    def turn(model, name: str):
        return replace(model, items=(model.items @ rotations[name]).astype(np.float32))

    if isinstance(knowledge, CollaborativeKnowledge):
        return replace(
            knowledge,
            rating_model=turn(knowledge.rating_model, "rating"),
            implicit_model=turn(knowledge.implicit_model, "watching"),
        )
    assert isinstance(knowledge, PositiveOnlyKnowledge)
    model = turn(knowledge.model, "choices")
    # files hold half precision, as those of `PositiveOnlyKnowledge.fit`
    half = model.items.astype(np.float16).astype(np.float32)
    return replace(knowledge, model=replace(model, items=half))


def aligned(
    knowledge: Knowledge, prepared: Prepared, folder: Path, alignment: Alignment | None = None
) -> tuple[Knowledge, Alignment]:
    """Tables of new data with their factors turned to lie as those of a checkpoint.

    Returns
    -------
    The tables, and what showed how their axes lie.
    """
    new, old = _factors(knowledge), _old_factors(folder)
    source = _source_data(folder)
    pairs = _shared(prepared, new, source, old) if source else np.empty((0, 2), int)
    if alignment is None:
        if len(pairs) >= SHARED_ITEMS:
            alignment = Alignment.items
        elif source is not None and source.has_titles and prepared.has_titles:
            alignment = Alignment.texts
        else:
            alignment = Alignment.axes
    if alignment == Alignment.none:
        return knowledge, alignment
    rotations = {}
    for name, table in new.tables.items():
        other = old.tables[name]
        if alignment == Alignment.items:
            rotations[name], _ = orthogonal_procrustes(table[pairs[:, 0]], other[pairs[:, 1]])
        elif alignment == Alignment.texts:
            assert source is not None
            places, expected = _from_texts(prepared, new, source, old, other)
            rotations[name], _ = orthogonal_procrustes(table[places], expected)
        else:
            rotations[name] = _axes(table, new) @ _axes(other, old).T
    return _turned(knowledge, rotations), alignment


def _source_data(folder: Path) -> Prepared | None:
    """The data that a checkpoint was trained on, where this machine has them."""
    path = prepared_path(read_manifest(folder)["dataset"])
    if not path.exists():
        return None
    data = Prepared.load(path)
    return data if data.training_hash == read_manifest(folder)["hashes"]["prepared"] else None


def _shared(prepared: Prepared, new: _Factors, source: Prepared, old: _Factors) -> np.ndarray:
    """Places of the items that both data sets have interactions of, by title and year: (n, 2)."""

    def keys(data: Prepared) -> list[tuple[str, int]]:
        return [(_letters(t), int(y)) for t, y in zip(data.titles, data.years, strict=True)]

    there = {key: place for place, key in enumerate(keys(source)) if key[0]}
    pairs = [
        (place, there[key])
        for place, key in enumerate(keys(prepared))
        if key in there and new.counts[place] > 0 and old.counts[there[key]] > 0
    ]
    return np.array(pairs, int).reshape(-1, 2)


def _letters(title: str) -> str:
    apart = unicodedata.normalize("NFKD", title.partition("(")[0].casefold())
    return "".join(c for c in apart if c.isalnum())


def _from_texts(
    prepared: Prepared, new: _Factors, source: Prepared, old: _Factors, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places of items of the new data, and the factors in the old axes that their texts predict."""
    places, known = _frequent(new.counts), _frequent(old.counts)
    ours = encoded_texts([prepared.titles[place] for place in places])
    theirs = encoded_texts([source.titles[place] for place in known])
    gram = theirs.T @ theirs + RIDGE * np.eye(theirs.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, theirs.T @ table[known])
    return places, ours @ weights


def _frequent(counts: np.ndarray) -> np.ndarray:
    """Places of the most frequent items, `TEXTS` at most."""
    order = np.argsort(-counts, kind="stable")[:TEXTS]
    return order[counts[order] > 0]


def _axes(table: np.ndarray, factors: _Factors) -> np.ndarray:
    """Principal axes (d, d) of item factors in columns, by variance, with a direction each."""
    known = factors.counts > 0
    items = table[known].astype(np.float64)
    _, _, axes = np.linalg.svd(items, full_matrices=True)
    along = items @ axes.T
    # where neither popular nor well-rated items lean to a side, the longer tail does
    sign = np.where((along**3).sum(0) < 0, -1.0, 1.0)
    for value in (factors.levels[known], np.log1p(factors.counts[known])):
        value = value - value.mean()
        lean = along.T @ value / (np.linalg.norm(along, axis=0) * np.linalg.norm(value) + 1e-12)
        sign = np.where(np.abs(lean) > LEAN, np.sign(lean), sign)
    return (axes * sign[:, None]).T
