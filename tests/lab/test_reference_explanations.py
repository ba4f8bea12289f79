"""Texts beside given explanations: overlap by hand, rivals from training, files read whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from ckf_demo.data.prepare import prepare
from ckf_demo.data.splits import TEST
from ckf_demo.lab import overlap, report
from ckf_demo.lab import reference_explanations as given
from ckf_demo.lab.features import Features
from ckf_demo.lab.reference_explanations import (
    ExplainedPairs,
    chosen_together,
    like_titled,
    measure,
    typical,
)
from ckf_demo.runtime.errors import UserError
from support.commands import rows_by, written
from support.small_data import write_xrec

EXPLAINED = {
    "train": [(7, 6, "Taco Riendo"), (8, 1, "Blue Cup"), (9, 2, "Red Cup")],
    "valid": [(8, 6, "Taco Riendo")],
    "test": [(9, 7, "Cup of Tea"), (7, 1, "Blue Cup"), (8, 2, "Red Cup")],
}
VOCABULARY = ("Taco", "Cup", "Blue", "Red", "Why", "6.", "1.", "2.", "7.")


def counted(texts) -> np.ndarray:
    """Words of a small vocabulary in place of a sentence encoder: unit length."""
    table = np.array([[text.split().count(word) for word in VOCABULARY] for text in texts], float)
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def pairs(tmp_path, empty_cache, monkeypatch) -> ExplainedPairs:
    for module in (given, overlap):
        monkeypatch.setattr(module, "embedded", counted)
    prepare("xrec-yelp", write_xrec(tmp_path / "yelp", explained=EXPLAINED))
    return ExplainedPairs.load("xrec-yelp", "test")


LEARNT = ["Tasty tacos", "Tacos and salsa", "A taco stand"]
LEARNT += ["Salsa, noodles", "Noodles, salsa", "Hot noodles"]
LEARNT += ["Something else altogether"] * 30
WORDS = st.lists(st.sampled_from(["taco", "salsa", "noodles", "the", "never", "else"]), max_size=6)


def test_features_by_hand():
    features = Features(["A quiet garden", "Quiet gardens", "The garden!"] + ["Something else"] * 9)
    # "gardens" is "garden", and what most texts say is none
    assert len(features) == 1
    assert features.of(["two gardens", "quiet"]).tolist() == [[True], [False]]
    features = Features(LEARNT)
    match = features.match(["salsa here", "noodles"], ["Salsa with noodles", "the best"])
    assert match[0] == 0.5 and np.isnan(match[1])
    assert features.coverage(["salsa"]) == pytest.approx(1 / len(features))
    assert len(Features([])) == 0 and np.isnan(Features([]).match(["a"], ["a"])[0])
    assert features.in_common(["salsa, noodles", "noodles, salsa", "noodles"]) == pytest.approx(
        4 / 3
    )


@drawn(st.lists(WORDS.map(" ".join), min_size=2, max_size=5), st.randoms())
def test_a_text_has_all_of_its_own_features_and_the_order_of_texts_does_not_matter(texts, rng):
    features = Features(LEARNT)
    own = features.match(texts, texts)
    assert ((own == 1) | np.isnan(own)).all()
    others = texts.copy()
    rng.shuffle(others)
    assert features.coverage(others) == features.coverage(texts)
    assert features.in_common(others) == pytest.approx(features.in_common(texts))
    named = features.of(texts).astype(int)
    pairs = [named[i] @ named[j] for i in range(len(texts)) for j in range(len(texts)) if i != j]
    assert features.in_common(texts) == pytest.approx(np.mean(pairs))


def test_overlap_by_hand():
    texts, references = ["the cat sat", "a dog"], ["the cat sat", "the cat sat"]
    assert overlap.bleu(texts, references)[1] == pytest.approx(0, abs=1e-6)
    # two of three words are there, in their order
    found = overlap.rouge("rougeL")(["The cat ran", *texts], ["the cat sat", *references])
    assert found == pytest.approx([2 / 3, 1, 0])
    swapped = ["sat the cat"], ["the cat sat"]
    assert overlap.rouge("rouge1")(*swapped) == pytest.approx([1])
    assert overlap.rouge("rougeL")(*swapped) == pytest.approx([2 / 3])


def test_bleu_is_one_for_the_same_words():
    same = ["the user would enjoy the great food"]
    assert overlap.bleu(same, [same[0].upper()]) == pytest.approx([1])


def test_rivals_say_what_training_says_and_nothing_else(pairs):
    assert (pairs.prepared.split[pairs.asked] == TEST).all()
    learnt = set(pairs.learnt_texts)
    assert learnt == {"Why 6.", "Why 1.", "Why 2."}
    titles = [pairs.prepared.titles[i] for i in pairs.prepared.item[pairs.asked]]
    assert len(set(typical(pairs))) == 1
    near = dict(zip(titles, like_titled(pairs), strict=True))
    assert near["Blue Cup"] == "Why 1." and near["Red Cup"] == "Why 2."
    together = dict(zip(titles, chosen_together(pairs), strict=True))
    assert together["Blue Cup"] == "Why 1." and together["Red Cup"] == "Why 2."
    for name, rival in given.RIVALS.items():
        assert set(rival(pairs)) <= learnt, name


def texts(place: Path, *lines: dict | str) -> Path:
    path = place / "texts.jsonl"
    content = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{line}\n" for line in content))
    return path


def test_a_systems_texts_stand_beside_the_rivals_on_its_own_pairs(pairs, tmp_path):
    lines = [
        {"uid": 7, "iid": 1, "explanation": "Why 1.", "mine": "Why 1.", "yours": "Taco"},
        {"uid": "9", "iid": "7", "explanation": "Why 7.", "mine": "Blue Cup", "yours": "Taco"},
    ]
    arguments = "xrec-yelp", "test", [texts(tmp_path, *lines)]
    found = written(measure, tmp_path / "given.json", *arguments, resamples=20)
    cells = rows_by(found, "method", "metric", "group")
    assert "explanation" not in {r["method"] for r in found["rows"]}
    assert cells["mine", "similarity", "beside"]["n"] == 2
    assert ("mine", "similarity", "all") not in cells
    assert cells["mine", "rouge_l", "explained item"]["value"] == 1
    assert cells["mine", "rouge_l", "other item"]["value"] == 0
    assert cells["mine", "rouge_l", "beside"]["value"] == 0.5
    assert cells["mine", "unique", "beside"]["value"] == 1
    assert cells["yours", "unique", "beside"]["value"] == 0
    rival = "of the nearest title"
    assert cells[rival, "similarity", "all"]["n"] == 3
    difference = cells[f"mine - {rival}", "rouge_l", "beside"]["value"]
    assert difference == pytest.approx(0.5 - cells[rival, "rouge_l", "beside"]["value"], abs=1e-6)
    first = report.tables(found)[0]
    assert "n = 2" in first[0] and [row[0] for row in first[2]][:2] == ["mine", "yours"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "line 1: no object with uid, iid and texts"),
        ("{broken", "line 1: no object"),
        ({"uid": 7, "mine": "x"}, "line 1: no object"),
        ({"uid": 7, "iid": 6, "mine": "x"}, "user 7 and item 6 are no explained pair"),
        ({"uid": 7, "iid": 1, "mine": " "}, "line 1: 'mine' is no text"),
        ({"uid": 7, "iid": 1, "mine": 3}, "line 1: 'mine' is no text"),
    ],
)
def test_a_file_of_something_else_is_refused(pairs, tmp_path, line, said):
    with pytest.raises(UserError, match=said):
        measure("xrec-yelp", "test", [texts(tmp_path, line)], resamples=20)


def test_what_cannot_be_measured_is_said(pairs, tmp_path):
    with pytest.raises(UserError, match="Unknown split 'training'"):
        measure("xrec-yelp", "training", [])
    with pytest.raises(UserError, match="is not a file"):
        measure("xrec-yelp", "test", [tmp_path / "nowhere.jsonl"])


def test_data_without_explanations_are_said(tmp_path, empty_cache):
    few = {part: [] for part in EXPLAINED} | {"test": EXPLAINED["test"]}
    prepare("xrec-yelp", write_xrec(tmp_path / "yelp", explained=few))
    with pytest.raises(UserError, match="No interaction of the train part of 'xrec-yelp'"):
        ExplainedPairs.load("xrec-yelp", "test")
