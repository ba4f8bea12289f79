"""Checkpoints that were trained on films, used on businesses as they are (A-LLMRec's cross-domain).

    python -m ckf_demo.lab.cross_domain --checkpoint checkpoints/ml-100k \\
        --checkpoint checkpoints/ml-100k-allmrec --data xrec-yelp \\
        --json ckf_demo/lab/results/cross-domain.json

The protocol is that of `ckf_demo.lab.sampled_ranking`: one item that a user chose later among 19
that the user never chose, drawn uniformly. Items without a title are left out, since a language
model cannot be told anything about them. No weight is trained and no word of a prompt is changed: a
choice is shown as a film with `LIKED_STARS` stars.

Methods differ in what represents the items that a checkpoint does not know. CKF and CoLLM take
collaborative tables of the same construction, fitted on the training part of the other data. Their
factors have other axes than those that bridges and maps were trained on, and in positive-only data
rating factors and biases are zero. CKF's pair features keep their meaning: its item token carries
them, and its prior for rankings is their implicit score and popularity, which know the other
domain and nothing of the films. A-LLMRec takes texts through its encoder into the joint space
(`ALLMRec.carried_over`), with the user token of an empty history. TALLRec has the words alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.popularity import Popularity
from ckf_demo.collaborative.registry import knowledge_of
from ckf_demo.collaborative.text_vectors import item_text_vectors
from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.evaluation.base import progress_bars, split_part
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.lab import report
from ckf_demo.lab.commands import Checkpoints, Json, Split, dataset_of, one_line_errors
from ckf_demo.lab.popularity_strata import FEWEST_USERS
from ckf_demo.lab.sampled_ranking import (
    EVERYBODY,
    NEGATIVES,
    PRIOR,
    by_part,
    choices,
    gains,
    hits,
)
from ckf_demo.lab.trained import Scorer
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import BANDS
from ckf_demo.metrics.results import Results
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "cross_domain"
USERS = 600
CUT = 5
"""Places that count in the longer list."""

CHANCE, SIMILARITY = "chance", "text similarity"
QUESTIONS = ("ranking", "ctr")
"""Those that order items, the one that is trained to do so first."""


def titled(prepared: Prepared) -> Prepared:
    """Interactions with titled items, as ratings.

    Likes become `LIKED_STARS` stars, and what was not liked is left out. Users and items are
    renumbered; those without such interactions are left out.

    Raises
    ------
    UserError
        When no training interaction is left.
    """
    named = np.array([bool(title) for title in prepared.titles])
    kept = named[prepared.item]
    if prepared.feedback == "likes":
        kept &= prepared.liked
    if not (kept & (prepared.split == TRAIN)).any():
        raise UserError(
            f"'{prepared.dataset}' has no training interactions with titled items; name other data."
        )
    data = prepared.restricted(kept)
    if data.feedback == "ratings":
        return data
    # no language model learns from these rows, so tables may be fitted on all of them
    stars, fit = np.full_like(data.rating, LIKED_STARS), data.split == TRAIN
    return replace(data, feedback="ratings", rating=stars, fit=fit)


def similarity(vectors: np.ndarray, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Mean cosine between candidates (m,) and a history (n,): float (m,), zero without a history.

    ``vectors`` are texts of unit length by item, float32 (I, t).
    """
    taste = vectors[history].sum(0) / max(1, len(history))
    return vectors[candidates] @ taste


def question(folder: Path) -> str:
    """What a checkpoint is asked; UserError when it orders nothing."""
    tasks = read_manifest(folder)["tasks"]
    for task in QUESTIONS:
        if task in tasks:
            return task
    raise UserError(f"{folder} answers neither ranking nor CTR; it cannot order items.")


def measure(
    checkpoints: Sequence[Path],
    data: str = "xrec-yelp",
    split: str = "valid",
    json_path: Path | None = None,
    users: int = USERS,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Hit@1, hit@5 and NDCG@5 of checkpoints, popularity and text similarity on other data.

    Parameters
    ----------
    data
        The name of prepared data.
    users
        So many people at most, drawn with ``seed``.

    Returns
    -------
    ``{"analysis", "dataset", "trained_on", "split", "negatives", "items", "asked", "rows"}``: rows
    as those of `Results` with the task ``sampled``; groups ``all`` and history-length bands, but
    for those of few people.
    ``asked`` says which question scored the candidates of each checkpoint, ``items`` how many
    have a title.

    Raises
    ------
    UserError
        For an unknown split, data that are not prepared, checkpoints of several data sets or for
        data that hold only likes, or one without either question.
    """
    part = split_part(split)
    folders = [Path(folder) for folder in checkpoints]
    asked = {folder.name: question(folder) for folder in folders}
    source = Prepared.load(prepared_path(dataset_of(folders)))
    if source.feedback != "ratings":
        raise UserError(
            f"The data '{source.dataset}' hold only likes, and their prompts have no stars; name "
            "checkpoints for data with ratings."
        )
    prepared = titled(Prepared.load(prepared_path(data)))
    cases = choices(prepared, part, seed, users)[EVERYBODY]
    if not cases:
        raise UserError(f"Nobody chose a titled item in the {split} part of '{data}'.")
    owners = np.array([case.query.user for case in cases])
    lengths = np.array([len(case.query.items) for case in cases])
    groups = {EVERYBODY: np.ones(len(cases), bool)}
    bands = {name: (lengths >= low) & (lengths <= high) for name, low, high in BANDS}
    groups |= {name: mask for name, mask in bands.items() if mask.sum() >= FEWEST_USERS}
    results = Results(bootstrap.user_weights(owners, prepared.n_users, resamples, seed))
    document = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "trained_on": source.dataset,
        "split": split,
        "negatives": NEGATIVES,
        "items": prepared.n_items,
        "asked": asked,
        "rows": results.rows,
    }

    def add(name: str, scores: Sequence[np.ndarray]) -> None:
        values = {
            "hit@1": hits(scores),
            f"hit@{CUT}": hits(scores, CUT),
            f"ndcg@{CUT}": gains(scores, CUT),
        }
        for metric, value in values.items():
            for group, mask in groups.items():
                results.add_mean((name, "sampled", metric, group), owners[mask], value[mask])

    knowledge = knowledge_of(prepared).fit(prepared, seed=seed)
    popularity = Popularity()
    popularity.fit(TrainingData(prepared, knowledge))
    texts = item_text_vectors(prepared)
    add(CHANCE, [np.zeros(len(case.candidates)) for case in cases])
    add(Popularity.name, [popularity.counts[case.candidates] for case in cases])
    add(SIMILARITY, [similarity(texts, c.query.items, c.candidates) for c in cases])
    names: list[str] = []
    with progress_bars() as progress:
        for folder in folders:
            bar = progress.add_task(folder.name, total=len(cases))
            system = System.load(
                folder,
                prepared,
                source=source,
                knowledge=knowledge,
                quantization=dense_precision(),
            )
            model = CachedModel(Scorer(system), folder, lambda n, bar=bar: progress.advance(bar, n))
            answers = model.candidate_scores(
                [case.query for case in cases],
                [case.candidates for case in cases],
                asked[folder.name],
            )
            parts = by_part(folder.name, answers)
            for name, scores in parts.items():
                add(name, scores)
            prior = PRIOR.format(folder.name)
            without_prior = [name for name in parts if name != prior]
            for name in without_prior:
                for other in (Popularity.name, SIMILARITY, prior, *names):
                    results.add_difference(name, other)
            names += without_prior
            write_json(json_path, document)
    return document


@one_line_errors
def main(
    checkpoint: Checkpoints,
    data: Annotated[str, typer.Option(help="Prepared data to use them on.")] = "xrec-yelp",
    split: Split = "valid",
    json_path: Json = None,
    users: Annotated[int, typer.Option(min=2, help="So many people at most.")] = USERS,
) -> None:
    """Hit@1 of checkpoints on items of another domain, among one that was chosen and 19 others."""
    report.show(measure(checkpoint, data, split, json_path, users))


if __name__ == "__main__":
    typer.run(main)
