"""The command line: help with examples, exit codes, and one line for whatever a user can mend."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock, call

import pytest

from ckf_demo import cli
from ckf_demo.evaluation.base import Settings
from ckf_demo.runtime.errors import UserError
from support.commands import run_ckf
from support.paths import ROOT

COMMANDS = ("prepare", "train", "tune", "evaluate", "score", "match", "bench", "methods", "serve")


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: object) -> None:
    """Put a module of the given content where a command imports its heavy one."""
    module = ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command, capsys):
    assert run_ckf(command, "--help") == 0
    assert f"Example: ckf {command}" in capsys.readouterr().out


def test_without_arguments_all_commands_are_listed(capsys):
    assert run_ckf() == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'gradio', 'duckdb', 'pandas', 'lenskit'}"
    code = (
        "import sys; from ckf_demo import cli\n"
        "try: cli.main(['evaluate', '--help'])\n"
        f"except SystemExit: print('HEAVY', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("HEAVY []\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["evaluate", "--split", "train"], "--split"),
        (["score", "--k", "0", "--users", "u", "--out", "o"], "--k"),
        (["score", "--engine", "spark", "--users", "u", "--out", "o"], "--engine"),
        (["score"], "--users"),
        (["train"], "--config"),
        (["tune"], "--config"),
        (["tune", "--config", "c.toml", "--trials", "0"], "--trials"),
        (["tidy"], "tidy"),
        (["serve", "--port", "70000"], "--port"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, named, capsys):
    assert run_ckf(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert named in printed.err


def test_user_errors_are_one_line_and_faults_of_the_program_are_not_hidden(monkeypatch, capsys):
    error = UserError("x.toml has no seed; add one")
    train = Mock(side_effect=error)
    stand_in(monkeypatch, "ckf_demo.training.loop", train=train)
    assert run_ckf("train", "--config", "x.toml") == 2
    assert capsys.readouterr().err == f"ckf: {error}\n"
    train.side_effect = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", "--config", "x.toml"])


def test_train_passes_its_options_on(monkeypatch):
    train = Mock()
    stand_in(monkeypatch, "ckf_demo.training.loop", train=train)
    assert run_ckf("train", "--config", "a.toml", "--resume", "--warm-start", "w") == 0
    assert run_ckf("train", "--config", "b.toml", "--only", "ctr") == 0
    assert run_ckf("train", "--config", "c.toml", "--stage", "wording") == 0
    usual = {"resume": False, "warm_start": None, "only": None, "stage": None}
    assert train.call_args_list == [
        call(Path("a.toml"), **usual | {"resume": True, "warm_start": Path("w")}),
        call(Path("b.toml"), **usual | {"only": "ctr"}),
        call(Path("c.toml"), **usual | {"stage": "wording"}),
    ]


def test_tune_passes_its_options_on(monkeypatch):
    tune = Mock()
    stand_in(monkeypatch, "ckf_demo.lab.tune", tune=tune)
    assert run_ckf("tune", "--config", "a.toml") == 0
    options = "--trials 2 --steps 20 --json t.json --seed 3".split()
    assert run_ckf("tune", "--config", "b.toml", "--config", "c.toml", *options) == 0
    assert tune.call_args_list == [
        call([Path("a.toml")], 6, 100, None, 0),
        call([Path("b.toml"), Path("c.toml")], 2, 20, Path("t.json"), 3),
    ]


def test_evaluate_passes_its_options_on(monkeypatch):
    evaluate, checkpoints = Mock(), {None: cli.CHECKPOINT, Path("d"): Path("for-d")}
    functions = {"evaluate": evaluate, "checkpoint_for": checkpoints.__getitem__}
    stand_in(monkeypatch, "ckf_demo.evaluation.run", **functions)
    assert run_ckf("evaluate", "--split", "valid", "--json", "r.json", "--predictions", "p") == 0
    assert run_ckf("evaluate", "--limit", "50", "--single-task", "a", "--no-without-tokens") == 0
    assert run_ckf("evaluate", "--data", "d", "--task", "ctr") == 0
    assert run_ckf("evaluate", "--data", "d", "--checkpoint", "c") == 0
    alone = Settings(limit=50, single_task=[Path("a")], without_tokens=False)
    files = {"data_dir": None, "json_path": None, "predictions_path": None}
    written = {"json_path": Path("r.json"), "predictions_path": Path("p")}
    usual = Settings(single_task=[])
    assert evaluate.call_args_list == [
        call(cli.CHECKPOINT, replace(usual, split="valid"), **files | written),
        call(cli.CHECKPOINT, alone, **files),
        call(Path("for-d"), replace(usual, tasks=["ctr"]), **files | {"data_dir": Path("d")}),
        call(Path("c"), usual, **files | {"data_dir": Path("d")}),
    ]


def test_serve_takes_its_address_from_options_and_environment(monkeypatch):
    serve = Mock()
    monkeypatch.setattr("ckf_demo.serving.serve.serve", serve)
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    assert run_ckf("serve") == 0
    assert run_ckf("serve", "--host", "localhost", "--port", "8000") == 0
    monkeypatch.setenv("SPACE_ID", "somebody/ckf")
    assert run_ckf("serve") == 0
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.2")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7000")
    assert run_ckf("serve") == 0
    assert [called.args[:2] for called in serve.call_args_list] == [
        ("127.0.0.1", 7860),
        ("localhost", 8000),
        ("0.0.0.0", 7860),
        ("127.0.0.2", 7000),
    ]


def test_a_taken_port_is_said_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_ckf("serve", "--host", "127.0.0.1", "--port", str(port)) == 2
    printed = capsys.readouterr()
    assert f"cannot listen on 127.0.0.1:{port}" in printed.err
    assert printed.err.count("\n") == 1


def test_methods_as_json_and_as_a_table(capsys):
    assert run_ckf("methods", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    common = {"name", "kind", "summary", "tasks", "needs"}
    assert set(rows[0]) == common | {"label", "paper", "trained"}
    assert set(rows[-1]) == common
    assert {"checkpoint", "tasks", "parameters"} <= set(rows[0]["trained"][0])
    assert ("ckf", "fusion") in {(row["name"], row["kind"]) for row in rows}
    assert {row["kind"] for row in rows} == {"fusion", "baseline"}
    assert run_ckf("methods") == 0
    assert "ckf" in capsys.readouterr().out


def test_importing_the_entry_point_loads_no_model(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    import app

    built: list = []
    monkeypatch.setattr(app, "build_demo", lambda: built.append("page") or "page")
    assert built == []
    with pytest.raises(AttributeError, match="nothing"):
        _ = app.nothing
    assert (app.demo, app.demo, built) == ("page", "page", ["page"])
    monkeypatch.delattr(app, "demo")
