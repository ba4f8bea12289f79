"""Are explanations true, do they differ, and do the films that they cite matter to the answer?

    python -m ckf_demo.lab.faithful --checkpoint checkpoints/ml-100k --split valid \\
        --json ckf_demo/lab/results/faithful-ml-100k.json

`ckf_demo.tasks.explanations.claims` reads the statements. The reader itself is measured too: how
many true texts it passes, and how many planted falsehoods it catches. An explanation is faithful to
the model if the removal of the films that it cites moves the predicted rating more than the removal
of other films of the shown history does, in the mean over these. A hundred texts are kept for
people to judge.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.evaluation.base import progress_bars, split_part
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.evaluation.explanation_quality import checked, choose_rows
from ckf_demo.lab import claim_reader as claims
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, Split, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.metrics import distinct, unique_share
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import write_json

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
    with progress_bars() as progress:
        bar = progress.add_task("explaining", total=len(rows))
        model = CachedModel(recommender, checkpoint, lambda n: progress.advance(bar, n))
        answers = [model.explanation(int(row)) for row in rows]
        _add_statements(results, name, recommender, rows, answers)
        bar = progress.add_task("removing films", total=removals)
        add_removals(results, model, rows, answers, removals, seed)
    document = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "split": split,
        "checkpoint": Path(checkpoint).as_posix(),
        "rows": results.rows,
        "reader": {k: list(v) for k, v in claims.measure(prepared, PLANTED, seed).items()},
        "texts": [_printed(recommender, int(rows[i]), answers[i]) for i in spread(len(rows))],
    }
    write_json(json_path, document)
    return document


def add_removals(
    results: Results,
    model: CachedModel,
    rows: np.ndarray,
    answers: Sequence[dict],
    most: int,
    seed: int,
) -> None:
    """Add how far the answer moves without the items that explanations cite, and without others.

    ``answers`` are the explanations of ``rows``; ``most`` of those that cite an item are drawn. The
    metric is ``moves the rating by``, in stars, or for positive-only data ``moves the probability
    by``: absolute values, a mean over the cited items of a pair and one over the others that its
    prompt shows. Pairs without either are left out.
    """
    citing = [place for place, answer in enumerate(answers) if cited(answer)]
    order = np.random.default_rng(seed).permutation(len(citing))[:most]
    users, moved = model.prepared.user[rows], []
    for place in (citing[i] for i in sorted(order)):
        effects, citations = model.removals(int(rows[place])), cited(answers[place])
        by_cited = [abs(x) for item, x in effects.items() if item in citations]
        by_others = [abs(x) for item, x in effects.items() if item not in citations]
        if by_cited and by_others:
            moved.append((users[place], np.mean(by_cited), np.mean(by_others)))
    if not moved:
        return
    what = "rating" if model.prepared.feedback == "ratings" else "probability"
    whose, by_cited, by_others = (np.array(column) for column in zip(*moved, strict=True))
    for label, values in ((CITED, by_cited), (OTHERS, by_others)):
        key = label, "explanation", f"moves the {what} by", "all"
        results.add_mean(key, whose.astype(np.int64), values)
    results.add_difference(CITED, OTHERS)


def _add_statements(
    results: Results, name: str, recommender: Recommender, rows: np.ndarray, answers: list[dict]
) -> None:
    """Shares of supported statements and texts, and how far texts and sentences differ."""
    users = recommender.prepared.user[rows]
    reports = checked(recommender, rows, answers)
    by_text = []
    for text in reports:
        wrong = len(text.unknown_films) + len(text.outside)
        by_text.append([claim.true for claim in text.ties] + [False] * wrong)
    owners = np.repeat(users, [len(statements) for statements in by_text]).astype(np.int64)
    for metric, whose, values in (
        ("supported statements", owners, [true for own in by_text for true in own]),
        ("texts without a false statement", users, [r.ok_films and r.ok_ties for r in reports]),
        ("a sentence was written once more", users, [a["regenerated"] > 0 for a in answers]),
        ("a sentence was left out", users, [a["dropped"] > 0 for a in answers]),
    ):
        results.add_mean((name, "explanation", metric, "all"), whose, np.array(values))
    texts = [answer["text"] for answer in answers]
    sentences = [sentence["text"] for answer in answers for sentence in answer["sentences"]]
    for metric, value, n in (
        ("unique texts", unique_share(texts), len(texts)),
        ("unique sentences", unique_share(sentences), len(sentences)),
        ("distinct-1", distinct(texts, 1), len(texts)),
        ("distinct-2", distinct(texts, 2), len(texts)),
    ):
        results.add((name, "explanation", metric, "all"), value, n)


def cited(answer: dict) -> set[str]:
    """Ids of the items that an explanation cites."""
    return {item["item"] for sentence in answer["sentences"] for item in sentence["evidence"]}


def spread(n: int) -> list[int]:
    """`PRINTED` places among ``n``, evenly spread."""
    return np.linspace(0, n - 1, min(PRINTED, n)).astype(int).tolist()


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
    split: Split = "valid",
    size: Annotated[int, typer.Option(min=3, help="Pairs that are explained.")] = 500,
    removals: Annotated[int, typer.Option(min=1, help="Pairs whose films are removed.")] = 150,
    json_path: Json = None,
) -> None:
    """Whether explanations are true, differ, and cite what matters."""
    report.show(measure(checkpoint, split, size, removals, json_path))


if __name__ == "__main__":
    typer.run(main)
