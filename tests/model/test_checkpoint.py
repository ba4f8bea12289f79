"""The committed checkpoint: whole, not empty, readable by PEFT alone, and making sense."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from ckf_demo.backbone.engine import Branch
from ckf_demo.backbone.loading import load_backbone
from ckf_demo.backbone.multilora import SHARED
from ckf_demo.data.splits import VALID
from ckf_demo.model.manifest import read_manifest, verify_files
from ckf_demo.model.system import System
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.serving.batch_scoring import Ranker
from ckf_demo.tasks.explanations.facts import polarity_for
from ckf_demo.tasks.registry import TASKS

STAR_WARS, FARGO = "50", "100"
FAN = {"history": [{"item": STAR_WARS, "rating": 5}, {"item": FARGO, "rating": 4}]}
ADAPTERS = [SHARED, *TASKS]

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def user(recommender: Recommender) -> str:
    """A known user with a history of fair length at their moment."""
    users = recommender.store.users()
    return users[users["n_before"].between(15, 60)]["user"].iloc[0]


def test_the_manifest_fits_the_files():
    manifest = read_manifest(DEFAULT_CHECKPOINT)
    verify_files(DEFAULT_CHECKPOINT, manifest)
    assert manifest["tasks"] == list(TASKS)
    on_disk = {
        str(p.relative_to(DEFAULT_CHECKPOINT)) for p in DEFAULT_CHECKPOINT.rglob("*.safetensors")
    }
    assert on_disk == set(manifest["hashes"]["files"])
    assert {"training", "seed", "versions", "calibration"} <= manifest.keys()


def test_it_is_small():
    weights = sum(path.stat().st_size for path in DEFAULT_CHECKPOINT.rglob("*.safetensors"))
    assert weights < 9.3e6


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_adapter_is_empty(name):
    tensors = load_file(DEFAULT_CHECKPOINT / "adapters" / name / "adapter_model.safetensors")
    assert tensors
    for key, tensor in tensors.items():
        assert torch.isfinite(tensor).all(), key
        assert tensor.float().norm() > 0, key


def test_peft_alone_loads_the_adapters(recommender: Recommender):
    """Without our code PEFT computes, over the same weights in bf16, what our engine does."""
    system = recommender.system
    name = system.config.backbone.name
    served = System.load(
        DEFAULT_CHECKPOINT, recommender.prepared, quantization="nf4-bf16", device="cpu"
    )
    folder = Path(DEFAULT_CHECKPOINT) / "adapters"
    plain = PeftModel.from_pretrained(
        load_backbone(name, "nf4-bf16", "cpu"), str(folder / SHARED), adapter_name=SHARED
    ).eval()
    plain.load_adapter(str(folder / "ctr"), adapter_name="ctr")
    prefix = system.writer.prefix([0, 1], [4.0, 2.0])
    branch = system.writer.branch("ctr", 2, len(prefix.ids), with_tokens=False)
    branch = Branch(branch.ids, branch.at, "ctr")
    engine = served.engine
    ours = next(engine.score(engine.prefill(prefix.ids), [branch], [None]))[0][0].float()
    backbone = plain.base_model.model.model
    with torch.no_grad():
        plain.base_model.set_adapter([SHARED])
        cache = backbone(torch.tensor([prefix.ids]), use_cache=True).past_key_values
        plain.base_model.set_adapter([SHARED, "ctr"])
        out = backbone(torch.tensor([branch.ids]), past_key_values=cache, use_cache=True)
    theirs = out.last_hidden_state[0, -1].float()
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99


def test_ratings_are_sensible(recommender: Recommender, user: str):
    rows = recommender.store.later(user, recommender.default_at(user))
    result = recommender.rate(user=user, item=rows["item"].iloc[0])
    assert 1 < result["rating"] < 5
    assert sum(result["distribution"].values()) == pytest.approx(1, abs=1e-3)
    liked = recommender.rate(**FAN, item="172")["rating"]  # The Empire Strikes Back
    not_liked = recommender.rate(
        history=[{"item": STAR_WARS, "rating": 1}, {"item": "181", "rating": 1}], item="172"
    )["rating"]
    assert liked > not_liked + 0.5


def test_collaborative_tokens_move_the_language_model(recommender: Recommender):
    rows = recommender.prepared.rows(split=VALID)[:6]
    own = recommender.score_rows(rows)["rating alone"]
    without = recommender.score_rows(rows, method="no-tokens")["rating"]
    assert np.abs(own - without).max(axis=1).min() > 0.005


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(FAN, id="history"),
        pytest.param(
            {"taste": "dark crime stories from the forties"}, id="taste", marks=pytest.mark.long
        ),
        pytest.param(
            {"profile": {"age": 30, "occupation": "writer"}}, id="profile", marks=pytest.mark.long
        ),
    ],
)
def test_new_people_get_all_four_answers(recommender: Recommender, person: dict):
    assert 1 < recommender.rate(**person, item="172")["rating"] < 5
    assert 0 < recommender.click(**person, item="172")["probability"] < 1
    rows = recommender.rank(**person, k=5, candidates=20)
    assert len(rows) == 5
    assert all(math.isfinite(row["score"]) for row in rows)
    last = list(recommender.explain(**person, item="172"))[-1]
    assert len(last["text"]) > 20


def test_an_explanation_ends_and_cites_what_moved_the_answer(recommender: Recommender, user: str):
    last = list(recommender.explain(user=user, item=STAR_WARS))[-1]
    assert re.search(r"[.!?]$", last["text"]), last["text"]
    titles = {row["title"] for row in recommender.history(user)}
    assert {film["title"] for film in last["evidence"]} <= titles
    named = {cause["title"] for cause in last["causes"] if cause["cited"] and cause["title"]}
    assert named == {film["title"] for film in last["evidence"]}
    assert last["dropped"] == 0
    assert last["polarity"] == polarity_for(last["rating"])


@pytest.mark.long
def test_a_scored_list_depends_on_its_user_alone(recommender: Recommender):
    ranker = Ranker.__new__(Ranker)
    ranker.recommender = recommender
    alone = {user: ranker.rank([user], 5) for user in ("3", "1", "2")}
    assert ranker.rank(["1", "2", "3"], 5) == [*alone["1"], *alone["2"], *alone["3"]]
