"""Fits what precedes the language model: embeddings, codes and the collaborative prior.

The prior is fitted only on pair features, in seconds, and then frozen. The language model learns
what the collaborative signal leaves.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.base import WORDS, Description
from ckf_demo.collaborative.crossfitting import crossfitted
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.fusion.ckf import CKF, CollaborativePrior
from ckf_demo.metrics.protocol import TRUNCATIONS, EvalInstances
from ckf_demo.model.system import System
from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.retrieval.wishes import NAMED_LIKED
from ckf_demo.tasks import ctr, ranking, rating
from ckf_demo.tasks.base import Targets
from ckf_demo.tasks.negatives import not_chosen, with_negatives
from ckf_demo.training.distributed import Processes
from ckf_demo.training.stage import console, in_words

EPOCHS, BATCH, RATE, DECAY = 20, 512, 3e-3, 0.1
GROUP, GROUPS = 10, 3000
"""Items of a group from which the scale of choices is learnt, and groups at most."""
NEVER = -1e4
"""The score of an item that is no candidate; finite, so that gradients are."""
LISTS = 2
"""Sentences of each user from which the weights of words in lists are learnt."""


def fit_before(
    system: System, processes: Processes, newcomers: NewcomerWords | None = None
) -> dict[str, float]:
    """Fit what a method needs before the language model is trained, and its prior; the losses.

    The main process fits it, and the others take it over later (`Processes.align`).
    """
    fusion, prepared, knowledge = system.fusion, system.prepared, system.knowledge
    seed = system.config.train.seed
    losses = processes.from_main(lambda: fusion.fit(prepared, knowledge, seed=seed))
    if losses:
        console.print(f"Before the language model: {in_words(losses)}")
    if fusion.prior is None:
        return losses
    console.print("Fitting the collaborative prior …")
    prior = processes.from_main(
        lambda: fit_prior(
            fusion, prepared, knowledge, serving=system.serving, newcomers=newcomers, seed=seed
        )
    )
    fusion.prior.requires_grad_(False)
    console.print(f"  validation: {in_words(prior)}")
    return losses | prior


def fit_prior(
    fusion: CKF,
    prepared: Prepared,
    knowledge: Knowledge,
    *,
    serving: Knowledge,
    newcomers: NewcomerWords | None,
    seed: int,
) -> dict[str, float]:
    """Fit ``fusion.prior``; validation losses by task, with the tables for serving.

    Where tables can be fitted without some users, it learns from all training rows, each with its
    whole history and with a cut one, and from the words of made-up ``newcomers``; otherwise from
    the rows that the language model learns from. It is fitted on the CPU wherever ``fusion`` is:
    its few units are too small for a GPU.
    """
    device = fusion.feature_mean.device
    fusion.cpu()
    try:
        if fusion.own_prior.kind == "score":
            return _fit_scale(fusion, prepared, knowledge)
        if isinstance(knowledge, CollaborativeKnowledge):
            examples = crossfitted(prepared, None if newcomers is None else newcomers.words, seed)
        else:
            examples = None
        losses = _fit_network(fusion, prepared, knowledge, serving, examples, seed)
        if newcomers is not None and fusion.own_prior.words is not None:
            _fit_words(fusion.own_prior, prepared, knowledge, newcomers, seed)
        return losses
    finally:
        fusion.to(device)


def _fit_network(
    fusion: CKF,
    prepared: Prepared,
    knowledge: Knowledge,
    serving: Knowledge,
    examples: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
) -> dict[str, float]:
    """Fit the network on all pair features, to all its tasks at once."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rows = prepared.learning_rows()
    if examples is None:
        learnt, targets, likes = with_negatives(prepared, knowledge, rows, rng)
        raw = torch.from_numpy(row_features(prepared, knowledge, learnt, targets))
    else:
        learnt, likes = examples[0], prepared.liked[examples[0]]
        raw = torch.from_numpy(examples[1])
    fusion.standardise(raw)
    features = fusion.standard(raw)
    stars, likes = torch.from_numpy(prepared.rating[learnt]), torch.from_numpy(likes).float()
    rated = prepared.feedback == "ratings"

    liked = rows[prepared.liked[rows]]
    liked = rng.choice(liked, min(GROUPS, len(liked)), replace=False)
    choices = np.array(
        [
            [prepared.item[row], *not_chosen(prepared, knowledge, int(row), GROUP - 1, rng)]
            for row in liked
        ]
    )
    choice = torch.from_numpy(
        np.stack(
            [
                _choices(prepared, knowledge, int(row), chosen)
                for row, chosen in zip(liked, choices, strict=True)
            ]
        )
    )
    counts = torch.from_numpy(knowledge.item_count[choices])

    held_out = prepared.rows(split=VALID)
    valid, targets, valid_likes = with_negatives(prepared, serving, held_out, rng)
    raw = torch.from_numpy(row_features(prepared, serving, valid, targets))
    valid_features, valid_stars = fusion.standard(raw), torch.from_numpy(prepared.rating[valid])

    prior = fusion.own_prior
    optimiser = torch.optim.AdamW(prior.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    prior.train()
    for _ in range(EPOCHS):
        groups = torch.from_numpy(rng.permutation(len(liked)))
        batches = torch.from_numpy(rng.permutation(len(stars))).split(BATCH)
        for batch, group in zip(batches, groups.tensor_split(len(batches)), strict=True):
            out = prior(features[batch], torch.zeros(len(batch)))
            loss = ctr.TASK.loss(out["ctr"], Targets(likes[batch]))
            if rated:
                distribution = out["rating"].log_softmax(-1)
                loss = loss + rating.TASK.loss(distribution, Targets(stars[batch]))
            groups_of_items = Targets(counts=counts[group].flatten(), group=GROUP)
            chosen = prior.choice_scale * choice[group].flatten()
            loss = loss + ranking.TASK.loss(chosen, groups_of_items)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    prior.eval()
    prior.requires_grad_(False)
    if rated and prior.count_at is not None:
        _fit_shrinking(fusion, prepared, serving)
    with torch.no_grad():
        out = prior(valid_features, torch.zeros(len(valid)))
    losses = {"ctr": _ctr_loss(out["ctr"], valid_likes)}
    if rated:
        distribution = out["rating"].log_softmax(-1)
        losses["rating"] = float(rating.TASK.loss(distribution, Targets(valid_stars)))
        losses["rmse"] = float(F.mse_loss(rating.expectation(distribution), valid_stars).sqrt())
    return losses


def _fit_shrinking(fusion: CKF, prepared: Prepared, serving: Knowledge) -> None:
    """Fit on validation rows how far the prior's stars are shrunk, by an item's ratings.

    Levels move between the parts in time, and those of rare items move most. The rows come with
    their whole histories and with cut ones, as in `TRUNCATIONS`; the loss is the squared error.
    """
    prior = fusion.own_prior
    assert prior.count_at is not None  # the caller asks only then
    given = prepared.rating[prepared.split == TRAIN]
    counted = torch.bincount(rating.nearest_star(torch.from_numpy(given)), minlength=5)
    cast(Tensor, prior.base_rates).copy_(((counted + 1) / (counted.sum() + 5)).log())
    rows = prepared.choosing_rows()
    logits, counts, stars = [], [], []
    for k in TRUNCATIONS:
        cases = EvalInstances(prepared, rows, k)
        for places, items, ratings in _by_user(cases):
            user = int(cases.users[places[0]])
            raw = serving.pair_inputs(
                items.astype(np.int64),
                ratings,
                np.full(len(places), len(items)),
                cases.items[places].astype(np.int64),
                description=Description(prepared.profile(user)),
            )[2]
            features = fusion.standard(torch.from_numpy(raw))
            with torch.no_grad():
                logits.append(prior(features, torch.zeros(len(places)))["rating"])
            counts.append(features[:, prior.count_at])
            stars.append(torch.from_numpy(cases.ratings[places]))
    inputs, values = torch.cat(logits), torch.cat(stars)
    shrink = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.LBFGS([shrink], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        distribution = prior.shrunk(inputs, torch.cat(counts), shrink).log_softmax(-1)
        value = F.mse_loss(rating.expectation(distribution), values)
        value.backward()
        return value

    optimiser.step(loss)
    cast(Tensor, prior.shrink).copy_(shrink.detach())
    console.print(f"  stars shrunk by exp({shrink[0]:.2f} + {shrink[1]:.2f} count)")


def _by_user(cases: EvalInstances) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As `EvalInstances.by_history`, each user by themselves: without a history profiles differ."""
    for places, items, ratings in cases.by_history():
        users = cases.users[places]
        for user in np.unique(users):
            yield places[users == user], items, ratings


def _choices(prepared: Prepared, knowledge: Knowledge, row: int, targets: np.ndarray) -> np.ndarray:
    """What the candidate stage says of items (m,) before an interaction: float32 (m,)."""
    before = prepared.history.before(row)
    lengths = np.full(len(targets), len(before))
    return knowledge.choices(prepared.item[before], prepared.rating[before], lengths, targets)


def _fit_words(
    prior: CollaborativePrior,
    prepared: Prepared,
    knowledge: Knowledge,
    newcomers: NewcomerWords,
    seed: int,
) -> None:
    """Fit what words add to the candidate stage's scores, so that what is liked later comes first.

    Newcomers are users of the training part at their tenth interaction, of whom words alone are
    known. The loss is the cross-entropy of the whole catalogue's softmax.
    """
    rng = np.random.default_rng(seed)
    choices, words, chosen = [], [], []
    for query in ranking_queries(prepared, TRAIN):
        history = prepared.history.rows_of(query.user)
        before = history[prepared.timestamp[history] < query.at]
        for _ in range(LISTS):
            _, features, named = newcomers.words(before, rng)
            if features is None:
                continue
            items = np.array(named, np.int64)
            scores = knowledge.candidate_scores(items, np.full(len(items), NAMED_LIKED))
            scores[query.seen] = NEVER
            choices.append(scores)
            words.append(features)
            chosen.append(np.unique(query.relevant))
    if not choices:
        return
    choice = torch.from_numpy(np.stack(choices))
    features = torch.from_numpy(np.stack(words))
    weights = torch.zeros(1 + features.shape[2], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scores = (weights[0].exp() * choice + features @ weights[1:]).log_softmax(-1)
        value = -torch.stack(
            [of_list[items].mean() for of_list, items in zip(scores, chosen, strict=True)]
        ).mean()
        value.backward()
        return value

    optimiser.step(loss)
    fitted = weights.detach()
    with torch.no_grad():
        cast(Tensor, prior.words).copy_(fitted[1:] / fitted[0].exp())
    console.print(
        f"  words in lists: {in_words(dict(zip(WORDS, prior.words.tolist(), strict=True)))}"
    )


def _fit_scale(fusion: CKF, prepared: Prepared, knowledge: Knowledge) -> dict[str, float]:
    """Put the score among the features on the scale of a logit, by logistic regression."""
    rows, valid = prepared.learning_rows(), prepared.rows(split=VALID)
    raw = torch.from_numpy(row_features(prepared, knowledge, rows))
    fusion.standardise(raw)
    score = fusion.standard(raw)[:, :1].numpy()
    fitted = LogisticRegression(C=1e6).fit(score, prepared.liked[rows])
    prior = fusion.own_prior
    head = cast(nn.Linear, prior.flat["ctr"])
    with torch.no_grad():
        head.weight.zero_()
        head.weight[0, 0] = float(fitted.coef_[0, 0])
        head.bias.fill_(float(fitted.intercept_[0]))
        features = fusion.standard(torch.from_numpy(row_features(prepared, knowledge, valid)))
        logit = prior(features, torch.zeros(len(valid)))["ctr"]
    prior.requires_grad_(False)
    prior.eval()
    return {"ctr": _ctr_loss(logit, prepared.liked[valid])}


def _ctr_loss(logit: Tensor, liked: np.ndarray) -> float:
    return float(ctr.TASK.loss(logit, Targets(torch.from_numpy(liked).float())))
