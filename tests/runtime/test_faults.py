"""Faults of the machine: each ends in the old or the new state, with one line that says what to do.

Kill points are in `kill_points`, which prints them as the table of docs/tables/faults.md.
"""

import fcntl
import inspect
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from ckf_demo import cli
from ckf_demo.backbone import loading
from ckf_demo.backbone.precision import Precision, _place, choose
from ckf_demo.collaborative import text_vectors as text
from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore
from ckf_demo.model.manifest import read_manifest, verify_files
from ckf_demo.model.system import System
from ckf_demo.runtime.caches import remembered
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import (
    clear_leftovers,
    exclusive,
    prepared_path,
    replacing,
    sha256,
    store_path,
)
from ckf_demo.runtime.subprocesses import end_with
from ckf_demo.training.loop import Run
from support.paths import ROOT
from support.small_data import write_recbole
from support.tiny import save_backbone, tiny_config, tiny_data
from support.waiting import has_ended, wait_until

NOBODY = 65534


# What is written


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def written_twice(folder: Path) -> None:
    """Write a folder, and another one in its place."""
    for name in ("old", "new"):
        with replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert names(folder) == ["new"]


def test_a_reader_sees_the_old_folder_or_the_new_one(tmp_path):
    folder = tmp_path / "folder"
    written_twice(folder)
    with pytest.raises(KeyError), replacing(folder) as temporary:
        temporary.mkdir()
        raise KeyError
    assert names(tmp_path) == ["folder"] and names(folder) == ["new"]


def test_without_an_exchange_of_folders_a_killed_one_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr("ckf_demo.runtime.paths._exchange", lambda one, other: False)
    folder = tmp_path / "folder"
    written_twice(folder)
    # as a kill between the two renames leaves it
    (tmp_path / ".folder.abcd1234.partial").mkdir()
    folder.rename(tmp_path / ".folder.abcd1234.partial" / "previous")
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["folder"] and names(folder) == ["new"]


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    events: list[tuple[str, str]] = []
    fsync, replace, target = os.fsync, os.replace, tmp_path / "a.txt"

    def noted_fsync(number: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))
        fsync(number)

    def noted_replace(source: Path, target: Path) -> None:
        events.append(("rename", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    with replacing(target) as temporary:
        temporary.write_text("a")
    synced = [("fsync", str(path)) for path in (temporary, tmp_path)]
    assert events == [synced[0], ("rename", str(target)), synced[1]]


def test_what_a_living_process_writes_is_not_cleared(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        clear_leftovers(tmp_path)
        temporary.write_text("a")
    (tmp_path / ".a.txt.abcd1234.partial").mkdir()
    (tmp_path / ".b.txt.abcd1234.partial").mkdir()
    clear_leftovers(tmp_path, "a.txt")
    assert names(tmp_path) == [".b.txt.abcd1234.partial", "a.txt"]


# A full disk, a cache that cannot be written


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory; skips where only root may have one and we are not."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def run_in_a_child(
    arguments: list[str] | Callable[[], object], limit: int | None = None, user: int | None = None
):
    """The exit code of a command or call in a forked child, and what it said on stderr."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.dup2(writer, 2)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            arguments() if callable(arguments) else cli.main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        except UserError as error:
            print(error, file=sys.stderr)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def error_line(arguments: list[str], **options) -> str:
    """The one line on stderr of a command in a child, which ends with exit code 2."""
    code, said = run_in_a_child(arguments, **options)
    assert code == 2 and "Traceback" not in said, said
    (line,) = [line for line in said.splitlines() if line.startswith("ckf: ")]
    return line


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_recbole(tmp_path / "raw")


@pytest.mark.parametrize(
    ("options", "why", "left"),
    [
        ("size=600k", "No space left on device", [".ml-100k.lock"]),
        ("size=1m,ro", "cannot be written (Read-only file system)", []),
    ],
)
def test_a_disk_that_takes_nothing_stops_prepare(tmp_path, raw, monkeypatch, options, why, left):
    with mounted(tmp_path / "cache", options) as cache:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        assert why in error_line(["prepare", "--data", str(raw)])
        assert [path.name for path in cache.glob("ckf-demo/data/*")] == left


@pytest.mark.parametrize("limit", [100, 5_000, 200_000])
def test_a_file_that_may_not_grow_stops_prepare_with_one_line(empty_cache, raw, limit):
    line = error_line(["prepare", "--data", str(raw)], limit=limit)
    assert "cannot be written (File too large)" in line
    assert names(empty_cache / "data") == [".ml-100k.lock"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("limit", [2_000, 20_000, 60_000])
def test_a_full_disk_stops_a_checkpoint_and_leaves_the_one_before(tmp_path, checkpoint, limit):
    before = contents(checkpoint)
    system = System.load(checkpoint, tiny_data(), quantization="nf4-fp32")
    _, said = run_in_a_child(lambda: system.save(checkpoint), limit=limit)
    assert "cannot be written (File too large)" in said
    assert contents(checkpoint) == before
    assert names(checkpoint.parent) == [checkpoint.name]


def test_a_full_disk_stops_a_training_state(tmp_path):
    with mounted(tmp_path / "full", "size=64k") as folder:
        with (
            pytest.raises(UserError, match="state.pt cannot be written .No space left"),
            replacing(folder / "state.pt") as temporary,
        ):
            torch.save({"weights": torch.zeros(100_000)}, temporary)
        assert not list(folder.iterdir())


@pytest.mark.parametrize("cache", ["/dev/null", "{tmp}/file"])
def test_a_cache_that_cannot_be_a_folder_says_so(cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", cache.format(tmp=tmp_path))
    assert "cannot be the folder for caches (Not a directory)" in error_line(["prepare"])


def test_another_users_cache_says_so(empty_cache, raw, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    for folder in (raw, *raw.parents[:4]):
        folder.chmod(0o755)
    empty_cache.mkdir(parents=True)
    empty_cache.chmod(0o755)
    line = error_line(["prepare", "--data", str(raw)], user=NOBODY)
    assert "cannot be written (Permission denied)" in line


# Two at once


def test_who_comes_second_waits_or_is_told(tmp_path):
    said: list[str] = []
    with (tmp_path / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def busy() -> None:
            said.append("waits")
            fcntl.flock(held, fcntl.LOCK_UN)

        with exclusive(tmp_path / "lock", busy):
            assert said == ["waits"]


@pytest.fixture
def run(workplace) -> Run:
    return Run.prepare(tiny_config(workplace / "backbone"), tiny_data())


def test_two_trainings_of_one_name_do_not_mix(run):
    with (
        run.undisturbed(),
        pytest.raises(UserError, match="Another training of 'tiny'"),
        run.undisturbed(),
    ):
        raise AssertionError


# Damaged files


HARMS = {
    "truncated": lambda whole, place, other: whole[: len(whole) // 2],
    "one byte": lambda whole, place, other: (
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    ),
    "missing": lambda whole, place, other: None,
    "swapped": lambda whole, place, other: other,
    "emptied": lambda whole, place, other: b"",
}


@pytest.mark.parametrize("harm", HARMS)
def test_every_file_of_a_checkpoint_is_checked(checkpoint, tmp_path, harm):
    another = System.load(checkpoint, tiny_data(), quantization="nf4-fp32")
    for weights in another.trainable().values():
        for parameter in weights:
            parameter.data += 0.1
    another.save(tmp_path / "other")
    # all that answers depend on, and what PEFT reads beside it
    files = [p for p in sorted(checkpoint.rglob("*")) if p.suffix in {".json", ".safetensors"}]
    assert len(files) >= 9
    generator = random.Random(0)
    for path in files:
        whole = path.read_bytes()
        other = (tmp_path / "other" / path.relative_to(checkpoint)).read_bytes()
        places = generator.sample(range(len(whole)), 10) if harm == "one byte" else [0]
        for place in places:
            harmed = HARMS[harm](whole, place, other)
            if harmed == whole:
                continue
            path.unlink() if harmed is None else path.write_bytes(harmed)
            with pytest.raises(UserError) as caught:
                verify_files(checkpoint, read_manifest(checkpoint))
            assert "\n" not in str(caught.value)
            # a whole manifest of another checkpoint is told by the first file that it does not fit
            swapped = harm == "swapped" and path.name == "manifest.json"
            assert swapped or path.relative_to(checkpoint).as_posix() in str(caught.value)
        path.write_bytes(whole)
    verify_files(checkpoint, read_manifest(checkpoint))


def test_a_damaged_state_of_a_training_says_so(run):
    run.begin()
    whole = run.state_path.read_bytes()
    for harmed in (whole[: len(whole) // 2], b"", b"x" * 100):
        run.state_path.write_bytes(harmed)
        with pytest.raises(UserError, match=r"tiny\.pt is damaged .*start without --resume"):
            run.resume()


def harmed_copies(whole: bytes, n: int) -> Iterator[bytes]:
    """Truncated at several places, and with one bit of one byte changed at ``n`` others."""
    generator = random.Random(0)
    for share in (0, 0.1, 0.5, 0.99):
        yield whole[: int(share * len(whole))]
    for place in generator.sample(range(len(whole)), n):
        changed = bytes([whole[place] ^ (1 << generator.randrange(8))])
        yield whole[:place] + changed + whole[place + 1 :]


def test_a_damaged_cache_of_answers_is_made_anew(tmp_path, capsys):
    path = tmp_path / "answers.npz"
    answers = {"rating": np.arange(40.0).reshape(8, 5), "ctr": np.linspace(0, 1, 8)}
    remembered(path, lambda: answers)
    whole, computed = path.read_bytes(), 0

    def compute() -> dict[str, np.ndarray]:
        nonlocal computed
        computed += 1
        return answers

    for harmed in harmed_copies(whole, 60):
        path.write_bytes(harmed)
        found = remembered(path, compute)
        assert found.keys() == answers.keys()
        for name, values in answers.items():
            np.testing.assert_array_equal(found[name], values)
    # bits that say nothing about the content, such as a date, may change
    assert computed > 40
    assert capsys.readouterr().err.count("is damaged") == computed


def test_a_damaged_prepared_file_or_store_says_so_and_is_prepared_again(empty_cache, raw, capsys):
    prepare("ml-100k", raw)
    expected = Prepared.load(prepared_path("ml-100k")).hash

    def check(path: Path) -> None:
        if path.suffix == ".npz":
            assert Prepared.load(path).hash == expected
        else:
            with InteractionStore(path) as store:
                store.check()
                assert store.hash == expected

    paths = (prepared_path("ml-100k"), store_path("ml-100k"))
    for path in paths:
        whole = path.read_bytes()
        refused = 0
        for harmed in harmed_copies(whole, 25):
            path.write_bytes(harmed)
            try:
                check(path)
            except UserError as error:
                assert "ckf prepare" in str(error)
                assert "\n" not in str(error)
                refused += 1
        assert refused >= 10
        for harmed in (whole[: len(whole) // 2], whole[::-1], b"", None):
            path.unlink() if harmed is None else path.write_bytes(harmed)
            with pytest.raises(UserError, match="ckf prepare"):
                check(path)
            prepare("ml-100k", raw)
            for each in paths:
                check(each)


def test_truncated_embeddings_of_titles_are_made_anew(empty_cache, monkeypatch):
    data = tiny_data()
    vectors = np.ones((data.n_items, 384), np.float32)
    encoder = SimpleNamespace(encode=lambda texts, **options: vectors)
    monkeypatch.setattr(text, "text_encoder", lambda device: encoder)
    text.item_text_vectors(data)
    (path,) = (empty_cache / "text").iterdir()
    whole = path.read_bytes()
    for size in (0, 60, len(whole) // 2):
        path.write_bytes(whole[:size])
        np.testing.assert_array_equal(text.item_text_vectors(data), vectors)
        assert path.read_bytes() == whole


@pytest.mark.parametrize("harmed", [b"", b"{", b"{}", b"\xff\xfe", b'{"chosen": "nf5"}', b"[]"])
def test_a_damaged_choice_of_precision_is_measured_anew(empty_cache, monkeypatch, harmed):
    found = Precision(chosen="nf4", seconds={"nf4": 1.0}, megabytes={"nf4": 1.0})
    monkeypatch.setattr("ckf_demo.backbone.precision.measure", lambda *given: found)
    choose("tiny")
    _place("tiny", None).write_bytes(harmed)
    assert choose("tiny") == found
    assert Precision.model_validate_json(_place("tiny", None).read_bytes()) == found


def test_a_damaged_backbone_is_refused_and_prepare_makes_it_anew(
    empty_cache, tmp_path, monkeypatch, capsys
):
    made = save_backbone(tmp_path / "made")

    def convert(name: str, folder: Path) -> None:
        shutil.copytree(made, folder)
        files = sorted(folder.iterdir())
        hashes = {path.name: sha256(path) for path in files}
        (folder / loading.HASHES).write_text(json.dumps(hashes))

    monkeypatch.setattr(loading, "PINNED", {"small": ("small", "small.gguf")})
    monkeypatch.setattr(loading, "_convert", convert)
    folder = loading.prepare_backbone("small")
    loading.load_backbone("small", "nf4-fp32")
    for path in [*folder.iterdir()]:
        whole = path.read_bytes()
        for harmed in (whole[: len(whole) // 2], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
            path.write_bytes(harmed)
            # a changed hash may also be one of another file
            named = ".*" if path.name == loading.HASHES else path.name
            with pytest.raises(UserError, match=rf"{named} is damaged; run `ckf prepare`"):
                loading.load_backbone("small", "nf4-fp32")
            loading.check_backbone("small")
            assert not folder.exists()
            loading.prepare_backbone("small")
            loading.load_backbone("small", "nf4-fp32")
        path.write_bytes(whole)


def test_damaged_results_are_named_before_anything_is_measured(tmp_path):
    for content in (b'{"rows": [', b"[]", b"\xff"):
        (tmp_path / "results.json").write_bytes(content)
        path = str(tmp_path / "results.json")
        line = error_line(["evaluate", "--checkpoint", "none", "--json", path])
        assert "results.json, whose results of other tasks should stay, is damaged" in line


# The network


def test_without_a_network_prepare_says_what_could_not_be_fetched(empty_cache, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    assert "recbole==1.2.1 could not be downloaded" in error_line(["prepare"])
    assert not list((empty_cache / "wheels").iterdir())


# Processes


def test_children_end_with_a_killed_parent():
    inner = f"{inspect.getsource(end_with)}\nimport os, time\nend_with(PARENT)\n"
    inner += "print(os.getpid(), flush=True)\ntime.sleep(60)"
    outer = "import os, subprocess, sys, time\n"
    outer += f"program = {inner!r}.replace('PARENT', str(os.getpid()))\n"
    outer += "subprocess.Popen([sys.executable, '-c', program])\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # the pipe ends when its last holder has ended
    assert parent.stdout.read() == ""
    wait_until(lambda: has_ended(child))


def test_a_query_ends_with_a_killed_server(empty_cache, raw):
    prepare("ml-100k", raw)
    pid = os.fork()
    if pid == 0:
        try:
            slow = "SELECT count(*) FROM range(10000000) a, range(10000000) b"
            InteractionStore.open().query(slow, seconds=60)
        finally:
            os._exit(0)
    (query,) = wait_until(psutil.Process(pid).children)
    # until it has the kernel's promise, and computes
    wait_until(lambda: "memory_limit" in str(query.cmdline()) and sum(query.cpu_times()[:2]) >= 0.5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: has_ended(query.pid))


# Kill points


def kill(report: Path, *options: str) -> list[dict]:
    """Outcomes of kills, all of which have to be recovered from."""
    program = ROOT / "tests" / "support" / "kill_points.py"
    done = subprocess.run(
        [sys.executable, str(program), *options, "--json", str(report)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stderr
    outcomes = json.loads(report.read_text())
    assert [outcome for outcome in outcomes if not outcome["recovered"]] == []
    return outcomes


def test_killed_commands_leave_the_old_or_the_new_state(tmp_path):
    assert len(kill(tmp_path / "few.json", "--few")) == 4


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_command_killed_at_many_points(tmp_path):
    outcomes = kill(tmp_path / "all.json")
    assert len(outcomes) >= 40
    assert {outcome["command"].split(" ")[0].strip(",") for outcome in outcomes} == {
        *("prepare", "train", "evaluate", "score", "serve")
    }
