"""Do explanations hold, do they differ, and do the films that they cite matter to the answer?

    python -m ckf_demo.lab.faithful --checkpoint checkpoints/ml-100k --split valid \\
        --json ckf_demo/lab/results/faithful-ml-100k.json

Statements are read by `ckf_demo.tasks.explanations.claims`, and that reader is measured beside: how
many true texts it passes, how many planted falsehoods it catches. Faithful to the model is what
cites films whose removal moves the predicted rating more than the removal of another film of the
same shown history does; the mean over all others stands for one at random. A hundred texts are kept
for anybody to judge.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.evaluation.base import split_part
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.evaluation.explanation_quality import catalogue, choose_rows
from ckf_demo.lab import claim_reader as claims
from ckf_demo.lab import report
from ckf_demo.lab.commands import one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.metrics import distinct, unique_share
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import write_json
from ckf_demo.tasks.explanations.claims import check

ANALYSIS = "faithful"
PRINTED = 100
"""Texts that are kept."""

PLANTED = 2000
"""Composed texts by which the reader itself is measured."""

CITED, OTHERS = "what is cited", "others of the shown history"


def measure(
    checkpoint: Path,
    split: str,
    size: int,
    removals: int,
    json_path: Path | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Explain ``size`` pairs, and remove films for the first ``removals`` of those that cite any.

    Returns
    -------
    dict with ``rows`` as `Results` gives them, ``reader`` {name: [how many, of how many]} and
    ``texts`` [{"user", "title", "rating", "text", "regenerated", "dropped"}].

    Raises
    ------
    UserError
        For an unknown split, or a checkpoint that explains or rates nothing.
    """
    part = split_part(split)
    recommender = Recommender.load(checkpoint, quantization=dense_precision())
    if not {"rating", "explanation"} <= set(recommender.tasks):
        raise UserError(f"{checkpoint} does not rate and explain; name a checkpoint that does.")
    prepared, name = recommender.prepared, recommender.methods[0]
    cases = EvalInstances(prepared, prepared.rows(split=part))
    rows = choose_rows(cases, size, seed)
    users = prepared.user[rows]
    results = Results(bootstrap.user_weights(users, prepared.n_users, resamples, seed))
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("explaining", total=len(rows))
        model = CachedModel(recommender, checkpoint, lambda n: progress.advance(bar, n))
        said = [model.explanation(int(row)) for row in rows]
        _add_statements(results, name, recommender, rows, said)
        bar = progress.add_task("removing films", total=removals)
        add_removals(results, model, rows, said, removals, seed)
    found = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "split": split,
        "checkpoint": Path(checkpoint).as_posix(),
        "rows": results.rows,
        "reader": {k: list(v) for k, v in claims.measure(prepared, PLANTED, seed).items()},
        "texts": [_printed(recommender, int(row), answer) for row, answer in _some(rows, said)],
    }
    write_json(json_path, found)
    return found


def add_removals(
    results: Results,
    model: CachedModel,
    rows: np.ndarray,
    said: Sequence[dict],
    most: int,
    seed: int,
) -> None:
    """How far the answer moves without what explanations of ``rows`` cite, and without others.

    Of explanations that cite something ``most`` are drawn.

    The metric is ``moves the rating by``, in stars, or ``moves the probability by`` where nothing
    is rated: absolute values, a mean over the cited things of a pair and one over the others that
    its prompt shows. Pairs without either are left out.
    """
    citing = [place for place, answer in enumerate(said) if cited(answer)]
    order = np.random.default_rng(seed).permutation(len(citing))[:most]
    users, moved = model.prepared.user[rows], []
    for place in (citing[i] for i in sorted(order)):
        effects, own = model.removals(int(rows[place])), cited(said[place])
        among = [abs(x) for item, x in effects.items() if item in own]
        beside = [abs(x) for item, x in effects.items() if item not in own]
        if among and beside:
            moved.append((users[place], np.mean(among), np.mean(beside)))
    if not moved:
        return
    what = "rating" if model.prepared.feedback == "ratings" else "probability"
    whose, own, other = (np.array(column) for column in zip(*moved, strict=True))
    for label, values in ((CITED, own), (OTHERS, other)):
        results.add(
            (label, "explanation", f"moves the {what} by", "all"),
            float(values.mean()),
            len(values),
            bootstrap.mean(whose.astype(np.int64), values, results.weights),
        )
    results.add_difference(CITED, OTHERS)


def _add_statements(
    results: Results, name: str, recommender: Recommender, rows: np.ndarray, said: list[dict]
) -> None:
    """Shares of supported statements and texts, and how far texts and sentences differ."""
    prepared = recommender.prepared
    films, titles = catalogue(prepared), tuple(prepared.titles)
    users, held = [], []
    whole = []
    for row, answer in zip(rows, said, strict=True):
        before = prepared.history.before(int(row))
        found = check(
            answer["text"],
            [(films[prepared.item[r]], float(prepared.rating[r])) for r in before],
            films[prepared.item[row]],
            answer["rating"],
            recommender.liked_together,
            titles,
        )
        wrong = len(found.unknown_films) + len(found.outside)
        statements = [claim.true for claim in found.ties] + [False] * wrong
        held += statements
        users += [prepared.user[row]] * len(statements)
        whole.append(found.ok_films and found.ok_ties)
    own = prepared.user[rows]
    for metric, people, hits in (
        ("supported statements", np.array(users, np.int64), np.array(held)),
        ("texts without a false statement", own, np.array(whole)),
        ("a sentence was written once more", own, np.array([a["regenerated"] > 0 for a in said])),
        ("a sentence was left out", own, np.array([a["dropped"] > 0 for a in said])),
    ):
        results.add_share(name, "explanation", metric, "all", people, hits)
    texts = [answer["text"] for answer in said]
    sentences = [own["text"] for answer in said for own in answer["sentences"]]
    for metric, value, n in (
        ("unique texts", unique_share(texts), len(texts)),
        ("unique sentences", unique_share(sentences), len(sentences)),
        ("distinct-1", distinct(texts, 1), len(texts)),
        ("distinct-2", distinct(texts, 2), len(texts)),
    ):
        # not a mean over users: no interval
        results.add((name, "explanation", metric, "all"), value, n, np.array([np.nan]))


def cited(answer: dict) -> set[str]:
    """Ids of what an explanation rests on."""
    return {film["item"] for own in answer["sentences"] for film in own["evidence"]}


def _some(rows: np.ndarray, said: Sequence[dict]) -> list[tuple[int, dict]]:
    """Evenly spread `PRINTED` of them."""
    places = np.linspace(0, len(rows) - 1, min(PRINTED, len(rows))).astype(int)
    return [(int(rows[i]), said[i]) for i in places]


def _printed(recommender: Recommender, row: int, answer: dict) -> dict:
    prepared = recommender.prepared
    return {
        "user": prepared.user_ids[prepared.user[row]],
        "title": prepared.titles[prepared.item[row]],
        "rating": round(answer["rating"], 2),
        **{key: answer[key] for key in ("text", "regenerated", "dropped")},
    }


@one_line_errors
def main(
    checkpoint: Annotated[Path, typer.Option()] = DEFAULT_CHECKPOINT,
    split: Annotated[str, typer.Option(help="valid or test.")] = "valid",
    size: Annotated[int, typer.Option(min=3, help="Pairs that are explained.")] = 500,
    removals: Annotated[int, typer.Option(min=1, help="Pairs whose films are removed.")] = 150,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
) -> None:
    """Whether explanations hold, differ, and cite what matters."""
    found = measure(checkpoint, split, size, removals, json_path)
    report.show(found)


if __name__ == "__main__":
    typer.run(main)
