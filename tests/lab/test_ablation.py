"""Ablations measure the answers with and without the prior."""

from rich.console import Console

from ckf_demo.lab.ablation import ALONE, PARTS, POOLED, measure
from support.training import CONFIG


def test_an_ablation_measures_pooled_and_own_answers(workplace, checkpoint):
    rows = measure(checkpoint, [checkpoint], 3, Console(quiet=True))
    kinds = {(row["answer"], row["task"]) for row in rows}
    tasks = set(CONFIG.train.tasks)
    alone = tasks - {"explanation"}
    assert kinds == {(POOLED, t) for t in tasks} | {(ALONE, t) for t in alone}
    taken = {
        answer: {r["what"] for r in rows if r["answer"] == answer} for answer in (POOLED, ALONE)
    }
    assert set(PARTS) < taken[POOLED]
    assert {"user bridge", "collaborative tokens", "shared adapter"} < taken[ALONE]
    for row in rows:
        if row["what"] == "nothing":
            assert "change" not in row
        elif row["what"].startswith("joint training"):
            assert row["change"] == 0
        else:
            assert row["low"] <= row["change"] <= row["high"]
    by = {(r["answer"], r["what"], r["task"]): r["loss"] for r in rows}
    assert by[POOLED, "collaborative prior", "ctr"] == by[ALONE, "nothing", "ctr"]


def test_an_ablation_without_parts_compares_checkpoints_alone(workplace, checkpoint):
    rows = measure(checkpoint, [checkpoint], 2, Console(quiet=True), parts=False)
    assert {row["what"] for row in rows} == {"nothing", f"joint training ({checkpoint.name})"}
