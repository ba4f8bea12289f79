"""Blends: a language model with its collaborative input, and all methods together.

    logit P(liked) = Σ_m w_m x_m + w,      stars = Σ_m w_m x_m + w

x_m is the answer of method m (its logit where it is a probability) at unit scale. Weights are
fitted on the choosing half of the users and measured on the accepting half.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ckf_demo.lab.answers import Answers

ALL = "a blend of all"
WITH = " + "
"""Part of the name of every other blend."""
SEEDS = "{} seeds of ckf's language model + ckf's collaborative prior"
ALONE, PRIOR = "ckf's language model alone", "ckf's collaborative prior"
INPUTS = {
    ALONE: (PRIOR,),
    "collm": ("biased MF", "biased MF (likes)"),
    "cora": ("biased MF", "biased MF (likes)"),
    "binllm": ("biased MF", "biased MF (likes)"),
    "allmrec": ("SASRec",),
}
"""A language model's own answer, and the collaborative models that may be its input."""

WITHOUT = ("text-only", "prompt4nr", "personprompt", "icl", "llm-only")
MEANS = ("bias folded in", "item mean + user mean")
PENALTIES = np.logspace(-4, 1, 6)
FOLDS = 5
WEAK = 1e6
"""As good as no penalty, for two inputs."""


def members(answers: Answers) -> dict[str, tuple[str, ...]]:
    """The possible blends and their members.

    These are a language model and its input, seeds of CKF's with its prior, and all methods without
    further seeds. For language models without collaborative input a sum of means is the input.
    """
    answered = {*answers.clicks, *answers.ratings}
    blends: dict[str, tuple[str, ...]] = {}
    for model, inputs in {**INPUTS, **dict.fromkeys(WITHOUT, MEANS)}.items():
        for other in inputs:
            if model in answered and other in answered:
                blends[f"{model}{WITH}{other}"] = model, other
    seeds = [name for name in answers.methods if name.startswith(f"{ALONE}, seed-")]
    if seeds:
        blends[SEEDS.format(len(seeds) + 1)] = (ALONE, *seeds, PRIOR)
    return blends | {ALL: tuple(name for name in answers.methods if ", seed-" not in name)}


def blend_clicks(
    answers: Answers,
    members: Sequence[str],
    labels: np.ndarray,
    people: np.ndarray,
    fit: np.ndarray,
) -> np.ndarray:
    """Logits float (n,) of a blend.

    Parameters
    ----------
    members
        Methods with clicks; two are blended without a penalty, more with one that is
        chosen by cross-validation over users.
    labels : bool (n,)
    people : int (n,)
        User index of each row.
    fit : bool (n,)
        The rows that weights are fitted on.
    """
    x = np.stack([_logit(answers.clicks[name]) for name in members], axis=1)
    if len(members) == 2:
        classifier = LogisticRegression(C=WEAK)
    else:
        folds = list(GroupKFold(FOLDS).split(x[fit], groups=people[fit]))
        grid = {"C": PENALTIES}
        classifier = GridSearchCV(LogisticRegression(), grid, cv=folds, scoring="neg_log_loss")
    model = make_pipeline(StandardScaler(), classifier)
    return model.fit(x[fit], labels[fit]).decision_function(x)


def blend_ratings(
    answers: Answers, members: Sequence[str], stars: np.ndarray, fit: np.ndarray
) -> np.ndarray:
    """Stars float (n,) of a blend; as `blend_clicks`, by least squares."""
    x = np.stack([answers.ratings[name] for name in members], axis=1).astype(np.float64)
    regression = LinearRegression() if len(members) == 2 else RidgeCV(1 / PENALTIES)
    return make_pipeline(StandardScaler(), regression).fit(x[fit], stars[fit]).predict(x)


def _logit(scores: np.ndarray) -> np.ndarray:
    """Logits of probabilities; other scores as they are."""
    x = scores.astype(np.float64)
    if (x < 0).any() or (x > 1).any():
        return x
    x = x.clip(1e-6, 1 - 1e-6)
    return np.log(x / (1 - x))
