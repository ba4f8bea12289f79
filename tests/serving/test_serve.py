"""Serving: everything missing is prepared, in order, and the address comes last."""

import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.serving import serve
from support.paths import ROOT

TASKS = ("rating", "ctr", "ranking", "explanation")


def manifest(dataset: str, *tasks: str) -> dict:
    return {"dataset": dataset, "backbone": "small", "tasks": list(tasks)}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list:
    """Stand-ins for all that is heavy; what they were asked for, in order."""
    done: list = []

    def module(name: str, **attributes: object) -> None:
        stand_in = ModuleType(name)
        vars(stand_in).update(attributes)
        monkeypatch.setitem(sys.modules, name, stand_in)

    page = SimpleNamespace(
        launch=lambda **options: done.append(("launch", options)),
        local_url="http://127.0.0.1:7861/",
        close=lambda **options: done.append("close"),
    )

    recommender = SimpleNamespace(warm_up=lambda: done.append("warm"))

    def build(loaded: SimpleNamespace, **beside: object) -> SimpleNamespace:
        assert loaded is recommender
        done.append("build")
        return page

    def noted(name: str, answer: object = None) -> Callable:
        return lambda *given, **options: done.append((name, *given, *options.values())) or answer

    load, choice = noted("load", recommender), SimpleNamespace(chosen="nf4-bf16")
    module("ckf_demo.model.manifest", read_manifest=lambda checkpoint: manifest("ml-100k", *TASKS))
    module("ckf_demo.data.prepare", prepare=noted("data"))
    module("ckf_demo.backbone.loading", prepare_backbone=noted("llm"))
    module("ckf_demo.backbone.precision", choose=noted("choose", choice), AUTO="auto")
    module("ckf_demo.recommender", Recommender=SimpleNamespace(load=load))
    module(
        "ckf_demo.ui.app", build=build, launch=lambda page, others, **where: page.launch(**where)
    )
    monkeypatch.setattr(serve, "wait_for_end", lambda: done.append("wait"))
    monkeypatch.setattr(serve, "check_address", lambda host, port: done.append("address"))
    return done


def test_everything_is_prepared_and_the_address_comes_last(steps, tmp_path, capsys):
    serve.serve("127.0.0.1", 7861, [tmp_path])
    *before, (launch, options), wait, close = steps
    prepared = [("data", "ml-100k", None), ("llm", "small"), ("choose", "small")]
    assert before == ["address", *prepared, ("load", tmp_path, "nf4-bf16"), "warm", "build"]
    assert (launch, wait, close) == ("launch", "wait", "close")
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 7861)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 5
    assert printed[-2:] == ["Ready: http://127.0.0.1:7861/", "Stopping"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order(number):
    code = (
        "from ckf_demo.serving import serve\n"
        "import threading\n"
        "threading.Timer(0.2, print, ['up'], {'flush': True}).start()\n"
        "serve.wait_for_end()\n"
        "print('closing')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, b"closing\n", b"")


def test_a_checkpoint_that_lacks_a_task_is_refused_at_once(steps, tmp_path, monkeypatch):
    reader, ctr = sys.modules["ckf_demo.model.manifest"], manifest("tiny", "ctr")
    monkeypatch.setattr(reader, "read_manifest", lambda _: ctr)
    with pytest.raises(UserError, match="not trained for rating, ranking, explanation"):
        serve.serve("127.0.0.1", 7861, [tmp_path])
    assert steps == ["address"]


def test_data_that_only_its_owner_has_must_have_been_prepared(
    steps, tmp_path, monkeypatch, empty_cache
):
    reader, yelp = sys.modules["ckf_demo.model.manifest"], manifest("xrec-yelp", *TASKS)
    monkeypatch.setattr(reader, "read_manifest", lambda _: yelp)
    with pytest.raises(UserError, match="run ckf prepare --dataset xrec-yelp --data FOLDER"):
        serve.serve("127.0.0.1", 7861, [tmp_path])
    prepared = prepared_path("xrec-yelp")
    prepared.parent.mkdir(parents=True, exist_ok=True)
    prepared.touch()
    serve.serve("127.0.0.1", 7861, [tmp_path])
    assert "build" in steps and not any(step[0] == "data" for step in steps)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_weights_are_held_as_one_asks(by, steps, tmp_path, monkeypatch):
    monkeypatch.setenv("CKF_QUANTIZATION", "bf16" if by == "environment" else "")
    serve.serve("127.0.0.1", 7861, [tmp_path], "nf4" if by == "option" else None)
    assert ("load", tmp_path, "nf4" if by == "option" else "bf16") in steps
    assert ("choose", "small") not in steps


def test_the_host_is_open_on_a_space_only(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert serve.default_host() == "127.0.0.1"
    monkeypatch.setenv("SPACE_ID", "somebody/ckf")
    assert serve.default_host() == "0.0.0.0"
