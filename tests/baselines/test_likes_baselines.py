"""Baselines for likes: what each must do on a made-up split, and values worked out by hand."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from ckf_demo.baselines import (
    BASELINES,
    ctrl,
    label_training,
    ncf,
    popularity,
    recformer,
    sequences,
    sequential,
    text_knn,
)
from ckf_demo.baselines.base import Baseline, TrainingData
from ckf_demo.collaborative.next_item import ENCODERS
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import EvalInstances
from support.synthetic import made_up

NAMES = [
    name
    for name, kind in BASELINES.items()
    if "likes" in kind.feedback
    and "ctr" in kind.tasks
    # the first also predicts a rating, the others need collaborative knowledge
    and name not in ("item mean", "ridge / logistic", "gradient boosting")
]
SEQUENTIAL = ["SASRec", "GRU4Rec", "NextItNet"]
EACH = pytest.mark.parametrize("name", NAMES)
N_USERS, N_ITEMS, SEEN_USERS, SEEN_ITEMS = 24, 30, 18, 26


def likes(n: int = 400, seed: int = 0) -> Prepared:
    """Users like one of two kinds of items; some users and items come after the training part."""
    rng = np.random.default_rng(seed)
    late = np.arange(n) >= n * 3 // 5
    pairs = rng.permutation(N_USERS * N_ITEMS)
    user, item = pairs // N_ITEMS, pairs % N_ITEMS
    early = (user < SEEN_USERS) & (item < SEEN_ITEMS)
    first = pairs[early][: (~late).sum()]
    rest = rng.permutation(np.setdiff1d(pairs, first))[: late.sum()]
    pairs = np.r_[first, rest]
    user, item = pairs // N_ITEMS, pairs % N_ITEMS
    logit = 2.0 * (user % 2 == item % 2) + rng.normal(0, 1, N_USERS)[user] - 1.0
    split = np.where(late, VALID, TRAIN).astype(np.int8)
    split[n * 4 // 5 :] = TEST
    return replace(
        made_up(N_USERS, N_ITEMS, n),
        genres=[()] * N_ITEMS,
        ages=np.zeros(N_USERS, np.int32),
        genders=[""] * N_USERS,
        occupations=[""] * N_USERS,
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        rating=(rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32),
        timestamp=np.arange(n, dtype=np.int64) // 2,
        source_row=np.arange(n, dtype=np.int32),
        split=split,
        fit=split == TRAIN,
        feedback="likes",
        given_split=True,
    )


DATA = likes()


def made_up_texts(prepared: Prepared) -> np.ndarray:
    """Texts tell the two kinds of items apart: float32 (I, 4) of unit length."""
    vectors = np.random.default_rng(0).normal(0, 0.2, (N_ITEMS, 4)).astype(np.float32)
    vectors[np.arange(N_ITEMS), np.arange(N_ITEMS) % 2] += 1
    vectors = vectors[: prepared.n_items]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def flipped(part: int) -> Prepared:
    """The same data with the other label everywhere in one part."""
    return replace(
        DATA, rating=np.where(DATA.split == part, 1 - DATA.rating, DATA.rating).astype(np.float32)
    )


ONE_SETTING = (label_training.Setting(0.01, weight_decay=0.01, dropout=0.1),)
# so few rows need more and larger steps
QUICK = {
    "base.item_text_vectors": made_up_texts,
    "ctrl.ALIGNING_EPOCHS": 1,
    "ctrl.SETTINGS": ONE_SETTING,
    "implicit_als.SIZES": (2,),
    "label_training.MOST_EPOCHS": 4,
    "lightgcn.MOST_EPOCHS": 10,
    "morec.SETTINGS": ONE_SETTING,
    "ncf.BATCH": 16,
    "ncf.EPOCHS": (2, 4),
    "ncf.LEARNING_RATE": 0.01,
    "recformer.BATCH": 16,
    "recformer.EPOCHS": (5,),
    "recformer.LEARNING_RATE": 3e-3,
    "sequences.BATCH": 4,
    "sequential.BATCH": 16,
    "sequential.LEARNING_RATE": 0.01,
}
NO_CHOICE = {
    "biased_mf.LIKES_REGULARIZATIONS": (0.1,),
    "biased_mf.LIKES_SIZES": (4,),
    "ease.LIKES_REGULARIZATIONS": (50.0,),
    "implicit_als.WEIGHTS": (2.0,),
    "label_training.MOST_EPOCHS": 1,
    "lightgcn.MOST_EPOCHS": 2,
    "ncf.CHOICES": ncf.LABELS,
    "ncf.EPOCHS": (1,),
    "popularity.SHARES": (0.5,),
    "text_knn.NEIGHBOURS": (2,),
}


def set_to(patch: pytest.MonkeyPatch, values: dict) -> None:
    for name, value in values.items():
        patch.setattr(f"ckf_demo.baselines.{name}", value)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    set_to(monkeypatch, QUICK)


def fit(name: str, data: Prepared) -> Baseline:
    baseline = BASELINES[name]()
    baseline.fit(TrainingData(data, knowledge=None))
    return baseline


@cache
def fitted(name: str) -> Baseline:
    return fit(name, DATA)


def cases(part: int, k: int | None = None, data: Prepared = DATA) -> EvalInstances:
    return EvalInstances(data, data.rows(split=part), k)


@EACH
@pytest.mark.parametrize("k", [0, 1, None])
@pytest.mark.parametrize("part", [TRAIN, VALID, TEST])
def test_answers_every_target_unseen_users_and_items_too(name, part, k):
    asked = cases(part, k)
    if part != TRAIN:
        assert (asked.users >= SEEN_USERS).any()
        assert (asked.items >= SEEN_ITEMS).any()
    scores = fitted(name).score(asked)
    assert scores.rating is None
    assert scores.ctr.shape == (len(asked),)
    assert np.isfinite(scores.ctr).all()


@EACH
def test_learns_what_there_is_to_learn(name):
    learned = cases(TRAIN)
    assert metrics.auc(learned.labels, fitted(name).score(learned).ctr) > 0.55


@EACH
def test_gives_the_same_again_whatever_the_test_part_holds(name):
    before = fitted(name).score(cases(VALID)).ctr
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert fit(name, DATA).score(cases(VALID)).ctr.tolist() == before.tolist()
    assert torch.equal(torch.random.get_rng_state(), state)
    for other in (flipped(TEST), DATA.without_test()):
        after = fit(name, other).score(cases(VALID, data=other)).ctr
        assert after.tolist() == before.tolist()


@EACH
def test_learns_nothing_but_choices_from_validation(name, monkeypatch):
    """With one choice left, the labels of the validation part change no answer about training."""
    set_to(monkeypatch, NO_CHOICE)
    answers = [
        fit(name, data).score(cases(TRAIN, data=data)).ctr for data in (DATA, flipped(VALID))
    ]
    assert answers[0].tolist() == answers[1].tolist()


@EACH
def test_scores_of_a_row_do_not_depend_on_the_others(name):
    asked = cases(VALID)
    whole = fitted(name).score(asked).ctr
    half = fitted(name).score(EvalInstances(DATA, asked.rows[::2])).ctr
    assert half == pytest.approx(whole[::2], abs=1e-5)


def test_two_means_by_hand():
    rows = [(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 1), (0, 2, 1), (2, 0, 0), (2, 3, 0)]
    user, item, label = map(np.array, zip(*rows, strict=True))
    split = np.array([TRAIN] * 4 + [VALID] * 3, np.int8)
    data = replace(
        DATA,
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        rating=label.astype(np.float32),
        timestamp=np.arange(7),
        source_row=np.arange(7, dtype=np.int32),
        split=split,
        fit=split == TRAIN,
    )
    scores = (
        fit("item mean + user mean", data).score(EvalInstances(data, np.array([2, 4, 5, 6]))).ctr
    )
    mean = 3 / 4
    user_0, user_1 = (2 + 5 * mean) / 7, (1 + 5 * mean) / 7
    item_0 = (1 + 5 * mean) / 7
    assert scores == pytest.approx([item_0 + user_1 - mean, user_0, item_0, mean])


def test_ease_equals_a_dense_solve():
    fitted_ease, train = fitted("EASE (likes)"), TrainingData(DATA, None).train
    liked = np.zeros((N_USERS, N_ITEMS))
    liked[train.user, train.item] = train.rating
    known = np.flatnonzero(liked.any(axis=0))
    x = liked[:, known]
    expected = np.zeros((N_ITEMS, N_ITEMS))
    for j, column in enumerate(known):
        others = np.delete(np.arange(len(known)), j)
        gram = x[:, others].T @ x[:, others] + fitted_ease.chosen["ctr"] * np.eye(len(others))
        expected[known[others], column] = np.linalg.solve(gram, x[:, others].T @ x[:, j])
    asked = cases(VALID)
    scores = fitted_ease.score(asked).ctr
    for row, item, score in zip(asked.rows, asked.items, scores, strict=True):
        history = DATA.item[DATA.history.before(int(row))]
        if len(history):
            assert score == pytest.approx(expected[history, item].sum(), abs=1e-5)
    average = (liked.sum(axis=0) / len(np.unique(train.user))) @ expected
    assert fitted_ease.score(cases(VALID, 0)).ctr == pytest.approx(average[asked.items], abs=1e-5)


def test_biased_mf_gives_unseen_users_the_item_and_the_item_alone():
    mf, asked = fitted("biased MF (likes)"), cases(VALID)
    factors = mf.kept["ctr"]
    unseen = asked.users >= SEEN_USERS
    expected = factors.mean + factors.item_bias[asked.items[unseen]]
    assert mf.score(asked).ctr[unseen] == pytest.approx(expected)


def test_lightgcn_folds_unseen_users_in_and_no_others():
    tables, asked = fitted("LightGCN").kept["ctr"], cases(VALID)
    scores = fitted("LightGCN").score(asked).ctr
    cut = fitted("LightGCN").score(cases(VALID, 1)).ctr
    known = tables.knows_user[asked.users]
    assert cut[known].tolist() == scores[known].tolist()
    folded = 0
    for row, user, item, score in zip(asked.rows, asked.users, asked.items, scores, strict=True):
        history = DATA.item[DATA.history.before(int(row))]
        history = history[tables.knows_item[history]]
        if not tables.knows_user[user] and len(history):
            expected = tables.items[history].mean(axis=0) @ tables.items[item]
            assert score == pytest.approx(expected, abs=1e-12)
            folded += 1
    assert folded


def test_lightgcn_steps_along_the_gradient_of_its_own_batch(monkeypatch):
    """The library sums all gradients since the start, which must not be what steps are made of."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(optimizer, *args, **kwargs):
        seen.append(optimizer.param_groups[0]["params"][0].grad.abs().max().item())
        step(optimizer, *args, **kwargs)
        assert optimizer.param_groups[0]["params"][0].grad is None

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit("LightGCN", DATA)
    assert len(seen) == 10


@pytest.mark.parametrize("name", [*SEQUENTIAL, "MoRec"])
def test_sequential_models_read_the_last_items_only(name, monkeypatch):
    net, asked = fitted(name), cases(TEST)
    monkeypatch.setattr(sequential if name in SEQUENTIAL else sequences, "LONGEST", 3)
    assert net.score(asked).ctr == pytest.approx(net.score(cases(TEST, 3)).ctr, abs=1e-6)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_states_know_what_stands_before_them_alone(name):
    encoder = ENCODERS[name](sequential.HIDDEN, sequential.DROPOUT).eval()
    x = torch.randn(1, 12, sequential.HIDDEN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = encoder(x, torch.tensor([12]))
        other = encoder(torch.cat([x[:, :8], -x[:, 8:]], 1), torch.tensor([12]))
    assert torch.allclose(whole[:, :8], other[:, :8], atol=1e-5)
    assert not torch.allclose(whole[:, 8:], other[:, 8:], atol=1e-2)


def test_nextitnet_sees_the_whole_window():
    encoder = ENCODERS["NextItNet"](sequential.HIDDEN, sequential.DROPOUT).eval()
    x = torch.zeros(1, sequential.LONGEST, sequential.HIDDEN, requires_grad=True)
    encoder(x, torch.tensor([sequential.LONGEST]))[0, -1].sum().backward()
    assert x.grad is not None and (x.grad[0].abs().sum(-1) > 0).all()


def test_implicit_als_folds_in_by_the_normal_equations():
    factors = fitted("implicit ALS").kept["ctr"]
    model, items = factors.model, np.array([1, 4, 7])
    q = model.items.astype(np.float64)
    left = q.T @ q + model.regularization * np.eye(q.shape[1])
    left += model.weight * q[items].T @ q[items]
    user = np.linalg.solve(left, (1 + model.weight) * q[items].sum(axis=0))
    assert factors.rank(items, np.ones(3)) == pytest.approx(q @ user, rel=1e-3, abs=1e-5)


def test_recent_popularity_by_hand(monkeypatch):
    monkeypatch.setattr(popularity, "SHARES", (0.5,))
    train = TrainingData(DATA, None).train
    items, labels = train.item[120:], train.rating[120:]
    expected = [
        (labels[items == v].sum() + 5 * labels.mean()) / ((items == v).sum() + 5)
        for v in range(N_ITEMS)
    ]
    asked = cases(VALID)
    scores = fit("recent popularity", DATA).score(asked).ctr
    assert scores == pytest.approx(np.array(expected)[asked.items])


def test_text_neighbours_by_hand(monkeypatch):
    monkeypatch.setattr(text_knn, "NEIGHBOURS", (2,))
    vectors, model = made_up_texts(DATA), fit("text k-NN", DATA).kept["ctr"]
    similar = np.sort(vectors @ vectors[[0, 1, 2]].T, axis=1)[:, 1:].mean(axis=1)
    assert model.rank(np.array([0, 1, 2]), np.ones(3)) == pytest.approx(similar, abs=1e-6)


def test_ncf_tells_likes_from_what_is_drawn():
    liked, targets = torch.tensor([[1, 0], [2, 3], [4, 0]]), torch.tensor([5, 6, 7])
    rows, items, labels = ncf._choices(liked, targets, torch.tensor([1.0, 0.0, 1.0]), 9)
    assert rows[:: 1 + ncf.NEGATIVES].tolist() == [[1, 0], [4, 0]]
    assert items[:: 1 + ncf.NEGATIVES].tolist() == [5, 7]
    assert labels.tolist() == [1, 0, 0, 0, 0] * 2
    assert items.min() >= 1 and items.max() <= 9


ALL_ITEMS = np.arange(1, N_ITEMS + 1)


def read(windows: sequences.Windows) -> list[list[int]]:
    """What each target's state has read, by item."""
    return [
        (windows.numbers[window, :place] - 1).tolist()
        for window, place in zip(windows.of_target, windows.places, strict=True)
    ]


@pytest.mark.parametrize("k", [0, 2, None])
def test_histories_read_by_themselves_hold_their_last_likes(monkeypatch, k):
    monkeypatch.setattr(sequences, "LONGEST", 3)
    asked = cases(TEST, k)
    found = read(sequences.Targets.read(asked, ALL_ITEMS).separate())
    for row, items in zip(asked.rows, found, strict=True):
        assert items == DATA.item[DATA.history.before(int(row), k)][-3:].tolist()


def test_windows_of_training_hold_nothing_from_after_a_target(monkeypatch):
    monkeypatch.setattr(sequences, "LONGEST", 4)
    monkeypatch.setattr(sequences, "STEP", 2)
    learned = cases(TRAIN)
    targets = sequences.Targets.read(learned, ALL_ITEMS)
    seen = set()
    for _ in range(5):
        windows = targets.shuffled()
        assert (windows.items - 1).tolist() == learned.items.tolist()
        assert (windows.lengths <= 4).all()
        for row, items in zip(learned.rows, read(windows), strict=True):
            history = DATA.item[DATA.history.before(int(row))].tolist()
            assert items == history[len(history) - len(items) :]
            assert len(items) >= min(len(history), 4 - 2 + 1)
            seen.add((int(row), len(items)))
    assert len(seen) > len(learned)


def test_morec_knows_items_by_their_texts_alone():
    """An item without training rows is scored as one of the same text."""
    asked, net = cases(TEST), deepcopy(fitted("MoRec").net)
    seen, unseen = 1, N_ITEMS
    net.texts[unseen] = net.texts[seen]
    targets = sequences.Targets.read(asked, ALL_ITEMS)
    logits = [
        label_training.predict(net, replace(targets, items=torch.full((len(asked),), number)))
        for number in (seen, unseen)
    ]
    assert logits[0].tolist() == logits[1].tolist()


def test_ctrl_means_texts_of_what_each_target_has_read():
    table = torch.from_numpy(np.vstack([np.zeros((1, 4), np.float32), made_up_texts(DATA)]))
    windows = sequences.Targets.read(cases(TRAIN), ALL_ITEMS).shuffled()
    found = ctrl.text_means(table, windows).numpy()
    for items, mean in zip(read(windows), found, strict=True):
        expected = made_up_texts(DATA)[items].mean(axis=0) if items else np.zeros(4)
        assert mean == pytest.approx(expected, abs=1e-6)


def test_ctrl_contrasts_rows_by_their_best_matching_parts():
    rng = np.random.default_rng(0)
    items, words = rng.normal(size=(2, 5, 3, 4))
    similar = np.array(
        [[sum(max(m @ k for k in t) for m in c) / ctrl.TEMPERATURE for t in words] for c in items]
    )
    own = np.diag(similar)
    rows, columns = (np.log(np.exp(similar).sum(axis=axis)) - own for axis in (1, 0))
    loss = ctrl.contrastive_loss(torch.from_numpy(items), torch.from_numpy(words))
    assert float(loss) == pytest.approx((rows.mean() + columns.mean()) / 2)
    # without a known item it has no opinion
    asked = cases(VALID)
    unseen = asked.items >= SEEN_ITEMS
    scores = fitted("CTRL").score(asked).ctr
    assert (scores[unseen] == 0).all()
    assert (scores[~unseen] != 0).all()


# RECFORMER


def test_items_are_keys_and_values_and_the_newest_comes_first():
    data = replace(DATA, titles=["Red Dawn", "Blue", *DATA.titles[2:]])
    texts = recformer.Texts.of(data)
    words, kinds, places = texts.sentences([np.array([0, 1]), np.array([], int)])
    key, value, special = recformer.KEY, recformer.VALUE, recformer.SPECIAL
    blue = ["title", "blue", "year", "1990"]
    red = ["title", "red", "dawn", "year", "1990"]
    assert words[0].tolist() == [recformer.CLS, *map(recformer.bucket, [*blue, *red])]
    assert kinds[0].tolist() == [special, key, value, key, value, key, value, value, key, value]
    assert places[0].tolist() == [0, *[1] * 4, *[2] * 5]
    assert words[1].tolist() == [recformer.CLS, *[recformer.PADDING] * 9]


def test_an_item_is_a_history_of_itself_and_padding_changes_nothing():
    torch.manual_seed(0)
    encoder, texts = recformer.Encoder(), recformer.Texts.of(DATA)
    table = encoder.catalogue(texts)
    alone = encoder(*texts.sentences([np.array([7])]))[0]
    beside = encoder(*texts.sentences([np.array([7]), np.arange(9)]))
    torch.testing.assert_close(table[7], alone)
    torch.testing.assert_close(beside[0], alone, rtol=1e-4, atol=1e-5)
    other = encoder(*texts.sentences([np.arange(9)[::-1].copy()]))[0]
    assert (beside[1] - other).abs().max() > 1e-3
    torch.testing.assert_close(table.norm(dim=1), torch.ones(len(table)))


def test_only_the_last_liked_items_are_read():
    texts = recformer.Texts.of(DATA)
    longer = np.arange(recformer.ITEMS + 5)
    whole, last = texts.sentences([longer]), texts.sentences([longer[5:]])
    torch.testing.assert_close(whole, last, rtol=0, atol=0)
