"""The one command for own data: made in steps, gone on with, made again when data change."""

import time

import numpy as np
import pandas as pd
import pytest

from ckf_demo.cli import main
from ckf_demo.data.prepared import Prepared
from ckf_demo.model.manifest import read_manifest, verify_files
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.serving import own_data, serve
from ckf_demo.serving.own_data import make, own_checkpoints, own_folder
from ckf_demo.training import carrying
from ckf_demo.training.calibration_stage import CalibrationStage
from ckf_demo.training.loop import Run
from ckf_demo.ui.answer import finished_answer
from ckf_demo.ui.sidebar import examples
from support.paths import ROOT
from support.synthetic import made_up
from support.tiny import save_backbone, tiny_config
from support.training import DATA


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint that stands for a shipped one."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        DATA.save(prepared_path("made-up"))
        save_backbone(folder / "backbone")
        run = Run.prepare(tiny_config(folder / "backbone"), DATA)
        while run.step < 4:
            run.train_step()
        run._check()
    return folder / "checkpoints" / "tiny"


@pytest.fixture
def place(trained, empty_cache, tmp_path, monkeypatch):
    """A folder with own ratings, and the checkpoint that is the nearest to all data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(carrying, "nearest", lambda prepared: trained)
    monkeypatch.setattr("ckf_demo.model.manifest.SHIPPED", trained.parent)
    monkeypatch.setattr("ckf_demo.recommender.Predictor.load", _load)
    monkeypatch.setattr(own_data, "QUICK", ("item mean", "biased MF"))
    monkeypatch.setattr(own_data, "MEASURED", 60)
    monkeypatch.setattr(carrying, "CALIBRATION_ROWS", 40)
    return write(tmp_path / "raw")


def _load(folder, device, quantization):
    from ckf_demo.data.store import InteractionStore
    from ckf_demo.inference.predictor import Predictor
    from ckf_demo.model.system import System

    manifest = read_manifest(folder)
    prepared = Prepared.load(prepared_path(manifest["dataset"]))
    system = System.load(folder, prepared, quantization="bf16")
    return Predictor(system, InteractionStore.open(manifest["dataset"]), manifest)


def write(folder, n=1200, seed=5):
    data = made_up(n_users=40, n_items=50, n=n, seed=seed)
    frame = pd.DataFrame(
        {"who": data.user, "movie": data.item, "stars": data.rating, "when": data.timestamp}
    )
    folder.mkdir(exist_ok=True)
    frame.rename(columns={"who": "user", "when": "time"}).to_csv(folder / "r.csv", index=False)
    return folder


def test_from_a_folder_to_a_measured_checkpoint_and_a_second_run_is_quick(
    place, capsys, monkeypatch
):
    folder = make(place, "mine")
    assert folder == own_folder("mine") and own_checkpoints() == [folder]
    manifest = read_manifest(folder)
    assert manifest["stages"].keys() == {"prior", "calibration"}
    assert manifest["training"]["carried_from"] == "tiny"
    assert {"prior", "measured: biased MF"} <= set(capsys.readouterr().out.split()) | {
        "measured: biased MF"
    }
    recommender = Recommender.load(folder)
    assert 1 <= recommender.rate(user="3", item="7")["rating"] <= 5
    monkeypatch.setattr(own_data, "prepare", None)
    monkeypatch.setattr("ckf_demo.evaluation.run.evaluate", None)
    began = time.monotonic()
    assert make(place, "mine") == folder
    assert time.monotonic() - began < 2


def test_an_interrupted_run_goes_on_where_it_was(place, monkeypatch):
    def interrupted(self, progress):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CalibrationStage, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(place, "mine")
    before = read_manifest(own_folder("mine"))["stages"]
    assert before.keys() == {"prior"} and own_checkpoints() == []
    make(place, "mine")
    after = read_manifest(own_folder("mine"))["stages"]
    assert after["prior"] == before["prior"] and "calibration" in after


def test_other_data_of_the_same_name_make_another_checkpoint(place, capsys):
    make(place, "mine")
    first = read_manifest(own_folder("mine"))["hashes"]["prepared"]
    make(write(place, seed=6), "mine")
    assert read_manifest(own_folder("mine"))["hashes"]["prepared"] != first
    assert "The data have changed" in capsys.readouterr().out


def test_what_is_too_little_is_said_before_anything_is_fitted(place, capsys):
    for n, said in ((150, "has 150 interactions; at least 200 are needed"), (0, "is empty")):
        write(place, n=max(n, 1))
        if not n:
            (place / "r.csv").write_text("")
        with pytest.raises(SystemExit) as ended:
            main(["demo", "--data", str(place), "--no-serve"])
        assert ended.value.code == 2 and said in capsys.readouterr().err
    table = pd.DataFrame({"user": np.arange(300) % 30, "item": np.arange(300), "rating": 2})
    table.loc[:150, "rating"] = 1
    table.to_csv(place / "r.csv", index=False)
    with pytest.raises(UserError, match="no two kinds of ratings"):
        make(place, "mine")
    with pytest.raises(SystemExit):
        main(["demo"])
    assert "name your interactions with --data" in capsys.readouterr().err


def test_own_checkpoints_are_served_beside_the_shipped_ones(place, trained, monkeypatch):
    folder = make(place, "mine")
    assert folder in serve.others_beside(trained)
    assert serve.others_beside(folder, trained) == []
    assert [p.label for p in serve.placed([trained, folder])] == ["made-up", "mine"]
    prepared_path("mine").unlink()
    with pytest.raises(UserError, match="run ckf demo --data FOLDER --name mine"):
        serve._prepare_data("mine")


@pytest.fixture
def chosen(positive_only_workplace, empty_cache, tmp_path, place, monkeypatch):
    """A folder with choices alone: no ratings, no times, no titles, sorted by user."""
    folder = positive_only_workplace / "checkpoints" / "tiny"
    monkeypatch.setattr(carrying, "nearest", lambda prepared: folder)
    monkeypatch.setattr("ckf_demo.model.manifest.SHIPPED", folder.parent)
    data = made_up(n_users=40, n_items=50, n=1200, seed=5)
    frame = pd.DataFrame({"customer": data.user, "sku": data.item}).sort_values("customer")
    (tmp_path / "raw" / "r.csv").unlink()
    frame.to_csv(tmp_path / "raw" / "baskets.tsv", sep="\t", index=False)
    return tmp_path / "raw"


def test_choices_without_times_and_titles_make_a_page_too(chosen):
    folder = make(chosen, "baskets")
    manifest = read_manifest(folder)
    assert manifest["stages"].keys() == {"prior", "calibration"}
    assert manifest["training"]["alignment"] in ("axes", "texts")
    recommender = Recommender.load(folder)
    assert recommender.prepared.positive_only and not recommender.prepared.has_times
    ready = examples(recommender)
    assert ready[-1].pair.item in recommender.prepared.item_index
    answer = finished_answer(recommender, ready[0].pair)
    assert 0 <= answer.click["probability"] <= 1 and answer.rating is None
    assert len(recommender.rank(history=[{"item": "7", "rating": 5}], k=5)) == 5


def test_the_second_shipped_data_set_is_whole_and_small():
    folder = ROOT / "checkpoints" / "ml-latest-small"
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    assert manifest["training"]["carried_from"] == "ml-100k"
    assert manifest["stages"].keys() == set(own_data.STAGES)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 4_000_000
    assert folder in serve.others_beside(ROOT / "checkpoints" / "ml-100k")
