"""A new task is one class and one line of registration: it is trained, scored and listed."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ckf_demo.cli import app
from ckf_demo.metrics import metrics
from ckf_demo.model.manifest import read_manifest, task_list
from ckf_demo.model.predict import score_rows
from ckf_demo.tasks.base import Moment, Question, Task
from ckf_demo.tasks.registry import TASKS
from ckf_demo.training.loop import Run
from support.tiny import tiny_config
from support.training import DATA, reload


@dataclass(frozen=True)
class AboveMean(Task):
    """The whole of a new task: will they rate it above the mean of what they rated before?"""

    def about_row(self, moment: Moment, row: int, *, hide_title: bool) -> list[Question]:
        above = above_mean(row, moment.history[: moment.visible[row]])
        item = int(moment.prepared.item[row])
        return [moment.question(self.name, row, item, above, hide_title=hide_title)]


TASK = AboveMean("above_mean", "Above their mean", "\nAbove their mean:")


def above_mean(row: int, earlier: np.ndarray) -> float:
    mean = DATA.rating[earlier].mean() if len(earlier) else 3.0
    return float(DATA.rating[row] > mean)


@pytest.mark.parametrize("tasks", [["above_mean"], ["rating", "explanation", "above_mean"]])
def test_a_new_task_is_trained_scored_declared_and_listed(workplace, monkeypatch, tasks):
    monkeypatch.setitem(TASKS, TASK.name, TASK)
    run = Run.prepare(tiny_config(workplace / "backbone", train={"tasks": tasks}), DATA)
    before = [p.detach().clone() for p in run.system.lora.adapter_parameters()]
    run.run()
    assert not all(map(torch.equal, before, run.system.lora.adapter_parameters()))
    assert all(np.isfinite(list(row.values())).all() for row in run.log)
    manifest = read_manifest(run.folder)
    assert task_list(manifest) == tuple(tasks)
    assert "above_mean" in manifest["training"]["validation"]

    rows = DATA.rows(split=1)
    scores = score_rows(reload(run.folder), rows, tasks=[t for t in tasks if t != "explanation"])
    probability = scores["above_mean"]
    assert probability.shape == (len(rows),)
    assert ((probability > 0) & (probability < 1)).all()
    assert "above_mean alone" not in scores
    labels = np.array([above_mean(row, DATA.history.before(row)) for row in rows])
    assert np.isfinite([m(labels, probability) for m in (metrics.auc, metrics.log_loss)]).all()
    assert '"above_mean"' in CliRunner().invoke(app, ["methods", "--json"]).output
