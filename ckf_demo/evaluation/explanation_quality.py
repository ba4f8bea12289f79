"""Are explanations true, do they say what was predicted, and do they differ?

Truth is checked against the store, statement by statement (`ckf_demo.tasks.explanations.claims`);
the tone is judged by an external lexicon; nothing here trusts what the model says about itself.
"""

from collections.abc import Sequence

import numpy as np

from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.metrics.metrics import distinct, unique_share
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender
from ckf_demo.tasks.explanation import film
from ckf_demo.tasks.explanations.claims import ClaimReport, check
from ckf_demo.tasks.explanations.facts import polarity_for

POLARITIES = ("positive", "mixed", "negative")


def choose_rows(cases: EvalInstances, size: int, seed: int) -> np.ndarray:
    """A seeded sample of rows with a history, a third each of low, middling and high ratings.

    A plain sample would hold few films that the user disliked, and little could be said about
    explanations of why something may not suit.
    """
    rng = np.random.default_rng(seed)
    possible, ratings = cases.history_lengths > 0, cases.ratings
    chosen = []
    for part in (ratings <= 2, (ratings > 2) & (ratings < 4), ratings >= 4):
        rows = cases.rows[part & possible]
        chosen.append(rng.choice(rows, size=min(len(rows), -(-size // 3)), replace=False))
    rows = np.concatenate(chosen)
    # one user's rows together, so that prompts share what they can
    return rows[np.lexsort((rows, cases.prepared.user[rows]))]


def measure_explanations(
    method: str, model: CachedModel, rows: np.ndarray, results: Results
) -> None:
    """Explain the item of each row at its moment and add what holds in the texts.

    Shares of texts: ``names_evidence``, that name a film of the history at all;
    ``named_in_history``, in which every named film is in the history or is the candidate;
    ``true_ties``, in which every stated tie is true by the data; ``regenerated`` and ``dropped``,
    in which a sentence was rewritten, and one left out in the end; ``polarity_agreement``, whose
    tone is that of the predicted rating, also for each class of predicted rating. ``distinct_1``,
    ``distinct_2`` and ``unique`` are over all texts together.
    """
    users = model.prepared.user[rows]
    answers = [model.explanation(int(row)) for row in rows]
    reports = checked(model.recommender, rows, answers)
    expected = np.array([polarity_for(answer["rating"]) for answer in answers])
    agrees = np.array([report.polarity for report in reports]) == expected
    for metric, hits in (
        ("names_evidence", np.array([bool(report.evidence) for report in reports])),
        ("named_in_history", np.array([report.ok_films for report in reports])),
        ("true_ties", np.array([report.ok_ties for report in reports])),
        ("regenerated", np.array([answer["regenerated"] > 0 for answer in answers])),
        ("dropped", np.array([answer["dropped"] > 0 for answer in answers])),
        ("polarity_agreement", agrees),
    ):
        results.add_mean((method, "explanation", metric, "all"), users, hits)
    for group in POLARITIES:
        kept = expected == group
        key = method, "explanation", "polarity_agreement", group
        results.add_mean(key, users[kept], agrees[kept])
    texts = [answer["text"] for answer in answers]
    for metric, value in (
        ("distinct_1", distinct(texts, 1)),
        ("distinct_2", distinct(texts, 2)),
        ("unique", unique_share(texts)),
    ):
        results.add((method, "explanation", metric, "all"), value, len(texts))


def checked(
    recommender: Recommender, rows: np.ndarray, answers: Sequence[dict]
) -> list[ClaimReport]:
    """What holds in the explanation of each row, by the user's history before it."""
    prepared = recommender.prepared
    films, titles = [film(prepared, i) for i in range(prepared.n_items)], tuple(prepared.titles)
    return [
        check(
            answer["text"],
            [
                (films[prepared.item[r]], float(prepared.rating[r]))
                for r in prepared.history.before(int(row))
            ],
            films[prepared.item[row]],
            answer["rating"],
            recommender.liked_together,
            titles,
        )
        for row, answer in zip(rows, answers, strict=True)
    ]
