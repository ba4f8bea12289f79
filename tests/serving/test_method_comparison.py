"""The shelf of methods: siblings found by their manifests, one backbone, the same questions."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ckf_demo.backbone.sharing import clone, shared_backbone, sharing_of
from ckf_demo.baselines import EASE, FoldedBias
from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.calibration import calibration_of
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.splits import VALID
from ckf_demo.data.store import write_store
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path
from ckf_demo.serving.method_comparison import MethodComparison, agreement
from support.tiny import save_backbone, stir, tiny_config, tiny_data, tiny_knowledge

DATA = tiny_data()
USER, ITEM = DATA.user_ids[0], DATA.item_ids[0]
PERSON = {"history": [{"item": "3", "rating": 5}, {"item": "7", "rating": 2}]}
IDS = torch.tensor([[1, 2, 3]])


def make(backbone: Path, folder: Path, method: str, tasks: tuple[str, ...], **extra) -> None:
    config = tiny_config(
        backbone, name=folder.name, fusion={"method": method, "hidden": 8}, train={"tasks": tasks}
    )
    system = System.for_training(config, DATA)
    stir(system.lora, seed=len(tasks), size=0.1)
    system.save(folder, extra=extra)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An own cache, a tiny backbone, and checkpoints of two methods, one of them twice."""
    place = tmp_path_factory.mktemp("shelf")
    knowledge = tiny_knowledge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.setattr(CollaborativeKnowledge, "fit", lambda prepared, **options: knowledge)
        DATA.save(prepared_path("made-up"))
        write_store(DATA, store_path("made-up"))
        backbone, folders = save_backbone(place / "backbone"), place / "checkpoints"
        make(backbone, folders / "tiny", "ckf", ("rating", "ctr", "ranking"))
        training = {"training": {"minutes": 11.9, "parameters": 1234}}
        make(backbone, folders / "tiny-text", "text", ("rating", "ctr"), **training)
        make(backbone, folders / "tiny-text-again", "text", ("ctr",))
        yield place


@pytest.fixture
def folders(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "checkpoints", tmp_path / "checkpoints"))


@pytest.fixture
def method_comparison(folders) -> MethodComparison:
    return compared(folders)


def compared(folders: Path) -> MethodComparison:
    return MethodComparison(Recommender.load(folders / "tiny", quantization="bf16", device="cpu"))


@pytest.mark.parametrize("quantization", ["bf16", "nf4-fp32", "nf4"])
def test_clones_share_weights_and_keep_adapters_apart(tmp_path, quantization):
    name = str(save_backbone(tmp_path / "backbone", hidden_size=128))
    one, other = (shared_backbone(name, quantization, "cpu") for _ in range(2))
    for (path, weight), own in zip(one.named_parameters(), other.parameters(), strict=True):
        assert weight.data_ptr() == own.data_ptr(), path
        assert getattr(weight, "quant_state", None) is getattr(own, "quant_state", None)
    before = other(IDS).logits
    projection = one.model.layers[0].self_attn.q_proj
    projection.register_forward_hook(lambda module, inputs, output: output * 0)
    one.config.use_cache = False
    assert not torch.equal(one(IDS).logits, before)
    assert torch.equal(other(IDS).logits, before)
    assert other.config.use_cache
    assert sharing_of(one).pristine is sharing_of(other).pristine
    assert sharing_of(clone(sharing_of(one).pristine)) is None


def test_a_backbone_written_anew_is_read_anew(tmp_path):
    names = (str(save_backbone(tmp_path / "backbone", seed=seed)) for seed in (0, 5))
    first, second = (shared_backbone(name, "bf16", "cpu").model.norm.weight for name in names)
    assert not torch.equal(first, second)


def test_methods_share_the_backbone_and_have_their_own_adapters(method_comparison):
    one, other = (method_comparison.get(name).system for name in ("ckf", "text"))
    layers = [system.engine.model.model.layers[0] for system in (one, other)]
    assert layers[0].mlp.up_proj.weight.data_ptr() == layers[1].mlp.up_proj.weight.data_ptr()
    adapters = [layer.self_attn.o_proj.lora_A["shared"].weight for layer in layers]
    assert adapters[0].data_ptr() != adapters[1].data_ptr() and not torch.equal(*adapters)
    assert method_comparison.get("text").store is method_comparison.served.store


def test_siblings_are_found_but_not_loaded(method_comparison, monkeypatch):
    loads = []
    load = System.load
    monkeypatch.setattr(
        System, "load", lambda folder, *a, **k: loads.append(folder.name) or load(folder, *a, **k)
    )
    served, text = method_comparison.methods
    assert (served.name, served.label, served.orders_by) == ("ckf", "CKF", "ranking")
    assert (text.name, text.label, text.orders_by) == ("text", "TALLRec", "ctr")
    assert text.tasks == ("rating", "ctr")
    assert (text.checkpoint, text.minutes, text.parameters) == ("tiny-text", 11.9, 1234)
    assert served.minutes is None and method_comparison.problems == []
    assert method_comparison.get("ckf") is method_comparison.served and loads == []
    assert method_comparison.get("text") is method_comparison.get("text") and loads == ["tiny-text"]


def test_a_damaged_sibling_is_listed_and_the_next_one_taken(method_comparison, folders):
    weights, manifest = (
        folders / "tiny-text" / name for name in ("fusion.safetensors", "manifest.json")
    )
    for harm, said in (
        (weights.unlink, "fusion.safetensors is missing"),
        (lambda: manifest.write_text("{"), "manifest.json is damaged"),
        (lambda: manifest.write_text("[]"), "it is not a JSON object"),
    ):
        harm()
        again = MethodComparison(method_comparison.served)
        assert [method.checkpoint for method in again.methods] == ["tiny", "tiny-text-again"]
        (problem,) = again.problems
        assert "tiny-text was passed over" in problem and said in problem


def test_an_unknown_method_is_refused_with_the_known(method_comparison):
    for ask in (
        lambda: method_comparison.get("magic"),
        lambda: next(method_comparison.compare_item(["ckf", "magic"], **PERSON, item=ITEM)),
        lambda: next(method_comparison.compare_list(["magic"], **PERSON)),
    ):
        with pytest.raises(UserError, match="'magic'.*ckf, text"):
            ask()
    with pytest.raises(UserError, match="No method is chosen"):
        next(method_comparison.compare_item([], **PERSON, item=ITEM))


@pytest.mark.parametrize("person", [PERSON, {"user": USER}], ids=["described", "known"])
def test_rows_are_the_recommenders_own_answers(method_comparison, person):
    *rows, average = method_comparison.compare_item(**person, item=ITEM)
    assert [row["method"] for row in rows] == ["ckf", "text"]
    for row in rows:
        recommender = method_comparison.get(row["method"])
        rated, clicked = (ask(**person, item=ITEM) for ask in (recommender.rate, recommender.click))
        assert (row["rating"], row["distribution"]) == (rated["rating"], rated["distribution"])
        assert row["probability"] == clicked["probability"] and row["seconds"] >= 0
    everybody = method_comparison.served.compare(**person, item=ITEM)[-1]
    assert average == {**everybody, "seconds": None}


def test_rows_come_as_they_are_done_and_lack_what_was_not_trained(folders):
    shutil.rmtree(folders / "tiny-text")
    method_comparison = compared(folders)
    rows = method_comparison.compare_item(["text"], **PERSON, item=ITEM)
    assert method_comparison._loaded.keys() == {"ckf"}
    row = next(rows)
    assert row["rating"] is None and row["distribution"] is None
    assert 0 < row["probability"] < 1


def test_every_method_orders_the_same_candidates(method_comparison):
    *rows, last = method_comparison.compare_list(**PERSON, k=3, candidates=8)
    pool = method_comparison.served.candidates(**PERSON, size=8)
    assert len(pool) == 8 and not {"3", "7"} & set(pool)
    assert [row["orders_by"] for row in rows] == ["ranking", "ctr"]
    for row in rows:
        scores = [film["score"] for film in row["items"]]
        assert scores == sorted(scores, reverse=True)
        assert [film["rank"] for film in row["items"]] == list(range(1, 9))
        by_place = sorted(row["items"], key=lambda film: film["collaborative_rank"])
        assert [film["item"] for film in by_place] == pool
    served = method_comparison.served.rank(**PERSON, k=8, candidates=8)
    assert [film["item"] for film in rows[0]["items"]] == [film["item"] for film in served]
    (pair,) = last["agreement"]
    assert pair["methods"] == ("ckf", "text")
    assert -1 <= pair["kendall_tau"] <= 1 and 0 <= pair["shared"] <= pair["k"] == 3


def test_a_method_agrees_with_itself_and_not_with_its_reverse():
    scores = [0.3, -1.0, 2.5, 0.1]
    same = agreement("a", "a", scores, scores, 2)
    assert (same["kendall_tau"], same["shared"]) == (pytest.approx(1), 2)
    reverse = agreement("a", "b", scores, [-score for score in scores], 2)
    assert (reverse["kendall_tau"], reverse["shared"]) == (pytest.approx(-1), 0)
    assert agreement("a", "b", scores, [1.0] * 4, 2)["kendall_tau"] is None


def test_baselines_suit_the_data_and_the_candidate_stage_is_no_row_of_its_own(method_comparison):
    names = [each.name for each in method_comparison.baselines]
    assert {"item mean", "EASE", "NCF", "RECFORMER"} <= set(names)
    assert "candidate stage" not in names and not any("(likes)" in name for name in names)
    assert method_comparison.fitted.seconds == {}


def test_a_baseline_is_fitted_once_and_answers_as_it_is_measured(method_comparison, monkeypatch):
    fits = []
    fit = FoldedBias.fit
    monkeypatch.setattr(FoldedBias, "fit", lambda self, given: fits.append(1) or fit(self, given))
    # a known user is asked at a moment, which is that of their first row outside training
    row = next(r for r in DATA.rows(split=VALID) if DATA.history.lengths[r])
    cases = EvalInstances(DATA, np.array([row]))
    user, item = DATA.user_ids[cases.users[0]], DATA.item_ids[cases.items[0]]
    at = int(DATA.timestamp[row])
    for _ in range(2):
        found, _ = method_comparison.compare_item(["bias folded in"], user=user, at=at, item=item)
    own, material = FoldedBias(), TrainingData(DATA, method_comparison.served.system.knowledge)
    fit(own, material)
    scores = own.score(cases)
    assert found["rating"] == pytest.approx(scores.rating[0])
    calibrate = calibration_of(own, material)
    assert found["probability"] == pytest.approx(calibrate(scores.ctr)[0])
    assert found["distribution"] is None and found["seconds"] >= 0
    assert fits == [1] and method_comparison.fitted.seconds.keys() == {"bias folded in"}


def test_who_asks_a_fitted_baseline_does_not_wait_for_another_to_be_fitted(method_comparison):
    method_comparison.fitted.fit("item mean")
    with ThreadPoolExecutor(1) as others, method_comparison.fitted._lock:
        asked = others.submit(method_comparison.fitted.opinion, "item mean", ITEM, **PERSON)
        stars, _ = asked.result(timeout=60)
    assert 1 <= stars <= 5


def test_baselines_order_what_the_methods_order(method_comparison):
    asked = ["text", "EASE", "item mean", "everybody's mean"]
    *rows, last = method_comparison.compare_list(asked, **PERSON, candidates=8)
    assert [row["orders_by"] for row in rows] == ["ctr", "ranking", "ctr", None]
    pools = [{film["item"] for film in row["items"]} for row in rows]
    assert pools[0] == pools[1] == pools[2] and len(pools[0]) == 10 and pools[3] == set()
    assert len(last["agreement"]) == 3


def test_what_a_baseline_cannot_score_comes_last(method_comparison, monkeypatch):
    scores = np.arange(DATA.n_items, dtype=float)
    scores[:5] = np.nan
    monkeypatch.setattr(EASE, "rank", lambda self, items, ratings: scores)
    first, *others = DATA.item_ids[4:8]
    found = method_comparison.fitted.scores("EASE", "ranking", [first, *others], **PERSON)
    assert found[0] < min(found[1:]) and found[1:] == scores[5:8].tolist()


def test_candidates_are_scored_by_trained_tasks_alone(method_comparison):
    with pytest.raises(UserError, match="not trained for ranking"):
        method_comparison.get("text").score_candidates(["1"], **PERSON, by="ranking")
    with pytest.raises(UserError, match="choose ranking or ctr"):
        method_comparison.served.score_candidates(["1"], **PERSON, by="rating")
    with pytest.raises(UserError, match="Unknown film"):
        method_comparison.served.score_candidates(["999"], **PERSON)
