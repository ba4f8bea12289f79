"""A training beside the served page: its process, its progress, and the weights taken over."""

import sys
import time

import pytest

from ckf_demo.recommender import Recommender
from ckf_demo.serving import background
from ckf_demo.serving.background import BackgroundTraining
from ckf_demo.training.improving import DONE, FAILED, RUNNING, STOPPED, Progress, report
from support.tiny import tiny_recommender
from support.training import reload

CHILD = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(float(sys.argv[1]))
"""


def until(true, seconds=20):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


class Page:
    """In the place of a recommender."""

    taken = 0

    def take_over(self) -> bool:
        self.taken += 1
        return self.taken == 1


@pytest.fixture
def training(empty_cache, tmp_path, monkeypatch):
    """A training whose process does nothing for a while."""
    monkeypatch.setattr(background, "LOOK", 0.05)
    popen = background.subprocess.Popen

    def start(command, **options):
        return popen([sys.executable, "-c", CHILD, "60"], **options)

    monkeypatch.setattr(background.subprocess, "Popen", start)
    made = BackgroundTraining(tmp_path, "mine", 30)
    yield made
    made.end()


def test_it_runs_stops_and_goes_on(training, capsys):
    page = Page()
    training.begin(page)
    assert training.can_stop and training.progress.state == RUNNING
    assert str(training.progress) == "Training: measuring the speed, 0 of 30 minutes."
    first = training._process
    training.go_on()
    assert training._process is first
    report("mine", Progress(RUNNING, 20, 100, 6, 30))
    until(lambda: "step 20 of 100, 6 of 30 minutes" in capsys.readouterr().out)
    training.stop()
    until(lambda: not training.can_stop)
    # without a last word from the process it has failed
    assert training.progress.state == FAILED
    report("mine", Progress(STOPPED, 20, 100, 6, 30))
    assert str(training.progress) == "Training is stopped: step 20 of 100, 6 of 30 minutes."
    training.go_on()
    assert training.can_stop and training.progress.state == RUNNING
    assert page.taken == 0


def test_the_page_takes_over_when_it_is_done(training, capsys):
    page = Page()
    training.begin(page)
    training.stop()
    until(lambda: not training.can_stop)
    report("mine", Progress(DONE, 100, 100, 30, 30))
    until(lambda: page.taken > 1)
    said = capsys.readouterr().out
    assert said.count("The page answers with the trained weights now.") == 1
    assert "Trained for 30 minutes (100 steps)." in said


def test_a_recommender_takes_over_what_its_folder_holds(checkpoint, tmp_path):
    """Answers are those of the new weights, as of a recommender that loads them."""
    with tiny_recommender(tmp_path) as recommender:
        predictor = recommender.predictor
        predictor.system = recommender.system = reload(checkpoint)
        recommender = Recommender(predictor, checkpoint)
        from ckf_demo.model.manifest import read_manifest

        recommender.manifest = predictor.manifest = read_manifest(checkpoint)
        predictor.forget()
        before = recommender.rate(user="7", item="3")["rating"]
        assert not recommender.take_over()
        system = reload(checkpoint)
        for parameter in system.lora.adapter_parameters():
            parameter.data *= 1.5
        system.calibration = {"ctr": (0.5, 0.2)}
        system.save(checkpoint, extra={"training": {"prior": {}}})
        assert recommender.take_over() and not recommender.take_over()
        after = recommender.rate(user="7", item="3")["rating"]
        assert after != before
        assert recommender.system.calibration == {"ctr": (0.5, 0.2)}
        predictor.system = recommender.system = reload(checkpoint)
        predictor.forget()
        fresh = Recommender(predictor, checkpoint)
        assert fresh.rate(user="7", item="3")["rating"] == pytest.approx(after, abs=1e-4)
