"""Preparing data: the same result however often, and no half-finished one however it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ckf_demo.data import store_tables
from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path
from support.small_data import INTERACTIONS, write_original, write_recbole

# Prepares in forked children that kill themselves with SIGKILL at their nth step, for every n up to
# a whole run. A step is a call into the database, or a file opened, renamed or removed.
KILL_EVERYWHERE = """
import json, os, signal, sys
from pathlib import Path

from ckf_demo.data.prepare import prepare
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore
from ckf_demo.runtime.paths import prepared_path, store_path

old, new = Path(sys.argv[1]), Path(sys.argv[2])
files = {store_path("ml-100k"): InteractionStore, prepared_path("ml-100k"): Prepared.load}
steps_left = -1

def step():
    global steps_left
    steps_left -= 1
    if steps_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def audit(event, arguments):
    if event in {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}:
        step()

def profile(frame, event, function):
    if event == "c_call" and "DuckDB" in type(getattr(function, "__self__", None)).__name__:
        step()

def in_a_child(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]

def prepare_new():
    global steps_left
    steps_left = n
    sys.addaudithook(audit)
    sys.setprofile(profile)
    prepare(data_dir=new, progress=False)

def report():
    hashes = [load(path).hash if path.exists() else None for path, load in files.items()]
    print(json.dumps([bool(previous), os.WIFSIGNALED(status), *hashes]), flush=True)

in_a_child(lambda: prepare(data_dir=old, progress=False))
for previous in ({}, {path: path.read_bytes() for path in files}):
    for n in range(1, 1000):
        for path in files:
            path.unlink(missing_ok=True)
            if previous:
                path.write_bytes(previous[path])
        status = in_a_child(prepare_new)
        assert os.WIFSIGNALED(status) or status == 0, status
        assert in_a_child(report) == 0
        if status == 0:
            break
"""


def content(cache: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and modification time of every file in the cache's data folder."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (cache / "data").rglob("*")
        if path.is_file()
    }


def hashes() -> tuple[str, str]:
    with InteractionStore.open() as store:
        return store.hash, Prepared.load(prepared_path("ml-100k")).hash


def test_store_and_prepared_file_hold_the_same(empty_cache, tmp_path):
    path = prepare(data_dir=write_original(tmp_path / "raw"))
    assert path == store_path("ml-100k") == empty_cache / "data" / "ml-100k.duckdb"
    prepared = Prepared.load(prepared_path("ml-100k"))
    with InteractionStore.open() as store:
        assert (store.dataset, store.hash) == ("ml-100k", prepared.hash)
        assert store.split_time == prepared.split_time
        assert store.items().item.tolist() == prepared.item_ids
        assert store.items().title.tolist() == prepared.titles
        assert store.users()["user"].tolist() == prepared.user_ids
        for index, user in enumerate(prepared.user_ids):
            rows = prepared.history.rows_of(index)
            everything = store.later(user, 0)
            assert everything.item.tolist() == [prepared.item_ids[i] for i in prepared.item[rows]]
            assert everything.rating.tolist() == prepared.rating[rows].tolist()
            for row in rows:
                before = store.history(user, int(prepared.timestamp[row]))
                expected = prepared.history.before(row)
                assert before.timestamp.tolist() == prepared.timestamp[expected].tolist()


def test_preparing_again_changes_nothing(empty_cache, tmp_path, capsys):
    prepare(data_dir=write_original(tmp_path / "raw"))
    assert "MovieLens-100K: 10 ratings of 5 items by 3 users in " in capsys.readouterr().err
    before = content(empty_cache)
    # The same data in the other form is the same data.
    prepare(data_dir=write_recbole(tmp_path / "same"))
    assert "MovieLens-100K is already prepared" in capsys.readouterr().err
    assert content(empty_cache) == before


def test_the_prepared_file_is_the_same_everywhere(tmp_path, monkeypatch):
    raw = write_original(tmp_path / "raw")
    written = []
    for cache in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        prepare(data_dir=raw)
        written.append(prepared_path("ml-100k").read_bytes())
    assert written[0] == written[1]


def test_other_data_replaces_both_files_and_an_open_store_stays_readable(empty_cache, tmp_path):
    prepare(data_dir=write_original(tmp_path / "raw"))
    first = hashes()
    with InteractionStore.open() as store:
        prepare(data_dir=write_original(tmp_path / "other", interactions=INTERACTIONS[:-1]))
        assert store.statistics()["n_interactions"] == len(INTERACTIONS)
    assert hashes()[0] == hashes()[1] != first[0]


def test_a_store_of_another_version_is_made_anew(empty_cache, tmp_path, monkeypatch):
    raw = write_original(tmp_path / "raw")
    with monkeypatch.context() as patch:
        patch.setattr(store_tables, "SCHEMA_VERSION", store_tables.SCHEMA_VERSION + 1)
        prepare(data_dir=raw)
    with pytest.raises(UserError, match="a newer version"):
        InteractionStore.open()
    prepare(data_dir=raw)
    InteractionStore.open().close()


def test_a_failure_leaves_the_previous_store(empty_cache, tmp_path):
    prepare(data_dir=write_original(tmp_path / "raw"))
    before = content(empty_cache)
    bad = write_original(tmp_path / "bad", interactions=[*INTERACTIONS, ("1", "10", 9, 1)])
    with pytest.raises(UserError, match="u.data, line 11: rating '9' is not between 1 and 5"):
        prepare(data_dir=bad)
    assert content(empty_cache) == before
    with pytest.raises(UserError, match="is no folder and no file"):
        prepare(data_dir=tmp_path / "none")
    with pytest.raises(UserError, match="is not a folder"):
        prepare("ml-100k", tmp_path / "none")
    with pytest.raises(UserError, match="unknown data set"):
        prepare("ml-1g")


@pytest.mark.long
def test_killed_anywhere_it_leaves_the_previous_store_or_none(empty_cache, tmp_path):
    old = write_original(tmp_path / "old", interactions=INTERACTIONS[:-1])
    new = write_original(tmp_path / "new")
    done = subprocess.run(
        [sys.executable, "-c", KILL_EVERYWHERE, str(old), str(new)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    prepare(data_dir=old)
    old_hash = hashes()[0]
    prepare(data_dir=new)
    new_hash = hashes()[0]
    for had_previous in (False, True):
        own = [outcome[1:] for outcome in outcomes if outcome[0] == had_previous]
        *killed, whole = own
        assert whole == [False, new_hash, new_hash]
        assert len(killed) > 10
        previous = old_hash if had_previous else None
        assert {tuple(state) for _, *state in killed} <= {
            (previous, previous),
            # Between the two renames, and when only tidying up is left.
            (new_hash, previous),
            (new_hash, new_hash),
        }
        assert [True, previous, previous] in killed
    # What killed runs left behind is cleared by the next one.
    left = sorted(path.name for path in (empty_cache / "data").iterdir())
    assert left == [".ml-100k.lock", "ml-100k.duckdb", "ml-100k.npz"]


def test_two_preparations_at_once_do_the_work_once(empty_cache, tmp_path):
    raw = write_original(tmp_path / "raw")
    command = "import sys; from pathlib import Path; from ckf_demo.data.prepare import prepare; "
    command += "prepare(data_dir=Path(sys.argv[1]))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(raw)], stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("already prepared" in text for text in said) == 1
    assert hashes()[0] == hashes()[1]


def test_movielens_comes_out_of_its_wheel(tmp_path, monkeypatch):
    wheel = downloads.fetch_wheel("recbole")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wheels = tmp_path / "ckf-demo" / "wheels"
    wheels.mkdir(parents=True)
    os.link(wheel, wheels / wheel.name)
    prepare()
    prepared = Prepared.load(prepared_path("ml-100k"))
    assert np.bincount(prepared.split).tolist() == [80_000, 10_000, 10_000]
    assert prepared.fit.sum() == 60_000
    with InteractionStore.open() as store:
        users = store.users()
        assert store.split_time == 889_237_269
        assert (users.n_before > 0).all()
        assert (users["at"] == store.split_time).sum() == 751
        for user in ("1", "4", "405"):
            row = store.user(user)
            history, later = store.history(user, row["at"]), store.later(user, row["at"])
            assert len(history) == row["n_before"]
            assert len(history) + len(later) == row["n_total"]
            assert history.timestamp.is_monotonic_increasing
