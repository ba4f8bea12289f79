"""Bulk scoring: parts that survive a kill, order, and workers that die."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from ckf_demo.data.exports import exported
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving import batch_scoring as scoring
from ckf_demo.serving.batch_scoring import DescribedPerson, in_batches, read_users, score
from ckf_demo.serving.workers import Workers
from support.commands import run_ckf
from support.fakes import FakeRecommender
from support.paths import CHECKPOINT

USERS = [f"u{i}" for i in range(90)]
MANIFEST = {"dataset": "tiny", "backbone": "tiny", "hashes": {"config": "a"}}


class Films:
    """Ranks without a model, and says where it is told to die."""

    def __init__(self, checkpoint: Path, quantization: str | None = None) -> None:
        self.place = Path(checkpoint)

    def rank(self, users: list[str], k: int) -> list[dict[str, object]]:
        for user in users:
            killed = self.place / "kills" / user
            if killed.exists() or (self.place / "always" / user).exists():
                killed.unlink(missing_ok=True)
                os._exit(1)
            if (self.place / "refuses" / user).exists():
                raise UserError(f"nothing for {user}")
        with (self.place / "done.txt").open("a") as file:
            file.write("".join(f"{user}\n" for user in users))
        return [
            {"user": u, "rank": i, "item": f"{u}-{i}", "title": f"Film {i}", "score": 1 / i}
            for u in users
            for i in range(1, k + 1)
        ]


@contextmanager
def store_of(users: list[str]) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(users=lambda: pd.DataFrame({"user": users}))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_cache: Path) -> Path:
    """A checkpoint that is only a folder, with a file of users in it."""
    monkeypatch.setattr(scoring.InteractionStore, "open", lambda dataset: store_of(USERS))
    monkeypatch.setattr("ckf_demo.model.manifest.read_manifest", lambda checkpoint: MANIFEST)
    monkeypatch.setattr("ckf_demo.model.manifest.verify_files", lambda checkpoint, manifest: None)
    monkeypatch.setattr(scoring, "Ranker", Films)
    for name in ("kills", "always", "refuses"):
        (tmp_path / name).mkdir()
    (tmp_path / "users.txt").write_text("\n".join(USERS))
    return tmp_path


def done(place: Path) -> list[str]:
    return (place / "done.txt").read_text().split()


def interrupt(place: Path) -> Path:
    """Score until the fifty-first user is refused, which happens once; the file to be written."""
    refusal = place / "refuses" / "u50"
    refusal.touch()
    expect_refused(place, "nothing for u50")
    refusal.unlink()
    return place / "top.parquet"


def expect_refused(place: Path, message: str, **options) -> None:
    with pytest.raises(UserError, match=message):
        score(place, place / "users.txt", 2, place / "top.parquet", **options)


def assert_complete(file: Path, k: int) -> None:
    table = pd.read_parquet(file)
    assert table["user"].tolist() == [user for user in USERS for _ in range(k)]
    assert table["rank"].tolist() == list(range(1, k + 1)) * len(USERS)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 40, 943, 100_000, 1_000_001])
def test_batches_hold_every_user_once_in_order(count):
    users = [str(i) for i in range(count)]
    batches = in_batches(users)
    assert [u for batch in batches for u in batch] == users
    assert min(count, scoring.LEAST_BATCHES // 2) <= len(batches) <= scoring.MOST_BATCHES


def test_a_run_that_ended_early_goes_on_where_it_was(place):
    out = interrupt(place)
    assert not out.exists()
    assert 0 < len(done(place)) <= 50
    made_of = json.loads((place / ".top.parquet.parts" / "made_of.json").read_text())
    assert made_of["k"] == 2 and made_of["checkpoint"]["hashes"] == MANIFEST["hashes"]
    score(place, place / "users.txt", 2, out)
    assert sorted(done(place)) == sorted(USERS), "nobody was ranked twice"
    assert_complete(out, 2)
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("change", ["k", "users", "checkpoint"])
def test_parts_of_another_question_are_not_taken(place, change, monkeypatch):
    out = interrupt(place)
    (place / "done.txt").unlink()
    if change == "users":
        (place / "users.txt").write_text("\n".join(USERS[::-1]))
    if change == "checkpoint":
        other = MANIFEST | {"hashes": {"config": "b"}}
        monkeypatch.setattr("ckf_demo.model.manifest.read_manifest", lambda checkpoint: other)
    score(place, place / "users.txt", 3 if change == "k" else 2, out)
    assert sorted(done(place)) == sorted(USERS)


def test_two_runs_do_not_write_one_file(place):
    with scoring.exclusive(place / ".top.parquet.lock", lambda: None):
        expect_refused(place, "another process is writing")


def test_engines_and_their_options_are_named(place, monkeypatch):
    expect_refused(place, "are for --engine ray", workers=2)
    expect_refused(place, "use one of local, ray", engine="spark")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    expect_refused(place, "pip install ray", engine="ray")


@pytest.mark.long
def test_a_killed_driver_leaves_no_file_and_loses_one_batch(place):
    """The process is killed in the middle; what it had finished is not done again."""
    script = place / "driver.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "import test_batch_scoring as t\n"
        "from ckf_demo.model import manifest\n"
        "from ckf_demo.serving import batch_scoring as scoring\n"
        "class Slow(t.Films):\n"
        "    def rank(self, users, k):\n"
        "        time.sleep(0.1)\n"
        "        return super().rank(users, k)\n"
        "scoring.Ranker = Slow\n"
        "scoring.InteractionStore.open = lambda dataset: t.store_of(t.USERS)\n"
        "manifest.read_manifest = lambda checkpoint: t.MANIFEST\n"
        "manifest.verify_files = lambda checkpoint, manifest: None\n"
        "place = Path(sys.argv[1])\n"
        "scoring.score(place, place / 'users.txt', 2, place / 'top.parquet')\n"
    )
    tests = Path(__file__).parents[1]
    folders = map(str, [Path(scoring.__file__).parents[2], tests, tests / "serving"])
    process = subprocess.Popen(
        [sys.executable, str(script), str(place)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not (place / "done.txt").exists() or len(done(place)) < 20:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (place / "top.parquet").exists()
    score(place, place / "users.txt", 2, place / "top.parquet")
    assert_complete(place / "top.parquet", 2)
    twice = len(done(place)) - len(USERS)
    assert 0 <= twice <= len(in_batches(USERS)[0])


@pytest.fixture
def with_ray(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What workers need to unpickle the stand-in: they cannot import this file."""
    ray = pytest.importorskip("ray")
    choice = SimpleNamespace(chosen=None)
    monkeypatch.setattr("ckf_demo.backbone.precision.choose", lambda name: choice)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield place
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.long
def test_batches_of_killed_workers_are_done_again(with_ray):
    place, users = with_ray, with_ray / "users.txt"
    for user in ("u20", "u61"):
        (place / "kills" / user).touch()
    score(place, users, 2, place / "ray.parquet", "ray", workers=2, threads=1)
    assert not list((place / "kills").iterdir()), "both workers were killed"
    assert_complete(place / "ray.parquet", 2)
    score(place, users, 2, place / "local.parquet")
    ray, local = (pd.read_parquet(place / f"{engine}.parquet") for engine in ("ray", "local"))
    pd.testing.assert_frame_equal(ray, local)


@pytest.mark.long
def test_troubles_of_workers_are_one_message(with_ray):
    place = with_ray
    (place / "refuses" / "u8").touch()
    (place / "always" / "u9").touch()
    with Workers(Films, place, None, 1, 1) as pool:
        assert [number for number, _ in pool.ranked([(7, ["u1"])], 2)] == [7]
        with pytest.raises(UserError, match="^nothing for u8$"):
            list(pool.ranked([(0, ["u8"])], 2))
        with pytest.raises(UserError, match="died again"):
            list(pool.ranked([(0, ["u9"])], 2))
    with pytest.raises(UserError, match="there are"):
        Workers(Films, place, None, 1000, 1000)


def test_the_command_writes_one_row_per_user_and_rank(place, capsys):
    users, out = place / "users.txt", place / "top.parquet"
    users.write_text("u8\n\nu7\nu8\n", encoding="utf-8")
    before = set(place.iterdir())
    assert run_ckf("score", "--checkpoint", place, "--users", users, "--k", "2", "--out", out) == 0
    table = pd.read_parquet(out)
    assert list(table) == ["user", "rank", "item", "title", "score"]
    assert table["user"].tolist() == ["u8", "u8", "u7", "u7"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["item"][3] == "u7-2"
    assert set(place.iterdir()) - before - {place / "cache"} == {out, place / "done.txt"}
    out.unlink()
    users.write_text("u7\nu100\n", encoding="utf-8")
    assert run_ckf("score", "--checkpoint", place, "--users", users, "--out", out) == 2
    assert "1 of 2 users are not in tiny: u100;" in capsys.readouterr().err
    assert not out.exists()


def test_a_ranker_asks_the_recommender_for_each_user(monkeypatch):
    forgotten: list[int] = []
    recommender = SimpleNamespace(
        forget=lambda: forgotten.append(1),
        rank=lambda k, user: [
            {"rank": i, "item": str(i), "title": f"Film {i} for {user}", "score": 1 / i, "year": 1}
            for i in range(1, k + 1)
        ],
    )
    loader = SimpleNamespace(load=lambda checkpoint, quantization: recommender)
    monkeypatch.setattr("ckf_demo.recommender.Recommender", loader)
    rows = scoring.Ranker(Path("somewhere")).rank(["8", "7"], 2)
    named = [(row["user"], row["rank"], row["title"]) for row in rows[2:]]
    assert named == [("7", 1, "Film 1 for 7"), ("7", 2, "Film 2 for 7")]
    assert set(rows[0]) == set(scoring.SCHEMA.names) and len(forgotten) == 2


def test_long_lists_of_unknown_users_are_cut(place):
    with pytest.raises(UserError, match="12 of 12 .*: 100, .*109, …;"):
        scoring.check_users([str(user) for user in range(100, 112)], "tiny")


@pytest.mark.long
@pytest.mark.real
def test_both_engines_give_the_same_lists(recommender, tmp_path):
    pytest.importorskip("ray")
    users = tmp_path / "users.txt"
    users.write_text("405\n1\n", encoding="utf-8")
    for engine in ("local", "ray"):
        score(CHECKPOINT, users, 3, tmp_path / f"{engine}.parquet", engine)
    local, ray = (pd.read_parquet(tmp_path / f"{engine}.parquet") for engine in ("local", "ray"))
    pd.testing.assert_frame_equal(local, ray, check_exact=False, rtol=0.02)


def test_users_are_read_from_every_kind_of_file(tmp_path):
    (tmp_path / "users.txt").write_text("007\n8\n007\n", encoding="utf-8")
    (tmp_path / "users.csv").write_text("age,user\n30,007\n40,8\n50,007\n", encoding="utf-8")
    pd.DataFrame({"user": ["007", "8", "007"]}).to_parquet(tmp_path / "users.parquet")
    for kind in ("txt", "csv", "parquet"):
        assert read_users(tmp_path / f"users.{kind}") == ["007", "8"], kind


def test_people_that_the_page_writes_are_read(tmp_path):
    people = [
        {"user": "=7", "ratings": 12},
        {"user": "007", "ratings": None},
        {"user": "NA", "ratings": 1},
    ]
    for kind in ("csv", "parquet", "json"):
        (tmp_path / f"cohort.{kind}").write_bytes(exported(people, kind))
        assert read_users(tmp_path / f"cohort.{kind}") == ["=7", "007", "NA"], kind
    history = [
        {"item": "01", "title": "-Alien", "rating": 0.5},
        {"item": "2", "title": None, "rating": 4.0},
    ]
    for kind in ("csv", "parquet", "json"):
        (tmp_path / f"ann.{kind}").write_bytes(exported(history, kind))
        (person,) = read_users(tmp_path / f"ann.{kind}")
        rated = [(entry["item"], float(entry["rating"])) for entry in person.person["history"]]
        assert (person.name, rated) == ("ann", [("01", 0.5), ("2", 4.0)]), kind
    file = tmp_path / "people.json"
    file.write_text('[{"name": "Bo", "taste": "quiet films"}, {"user": "8", "at": 5}, {"user": 9}]')
    bo, eight, nine = read_users(file)
    assert (bo.name, bo.person) == ("Bo", {"taste": "quiet films"})
    assert (eight.name, eight.person, nine) == ("8", {"user": "8", "at": 5}, "9")


def test_described_people_are_ranked_and_checked(monkeypatch, tmp_path):
    recommender = FakeRecommender()
    monkeypatch.setattr(scoring.InteractionStore, "open", lambda dataset: recommender.store)
    monkeypatch.setattr(recommender.store, "close", lambda: None)
    monkeypatch.setattr(scoring.Prepared, "load", lambda path: recommender.prepared)
    ann = DescribedPerson("Ann", {"history": [{"item": "7", "rating": 0.5, "imported": True}]})
    scoring.check_users([ann, "8"], "made-up")
    wrong = DescribedPerson("Bo", {"history": [{"item": "999", "rating": 3}]})
    with pytest.raises(UserError, match="^Bo: Unknown film '999'"):
        scoring.check_users([wrong], "made-up")
    loader = SimpleNamespace(load=lambda checkpoint, quantization: recommender)
    monkeypatch.setattr("ckf_demo.recommender.Recommender", loader)
    rows = scoring.Ranker(Path("somewhere")).rank([ann, "8"], 2)
    assert [row["user"] for row in rows] == ["Ann", "Ann", "8", "8"]
    assert "7" not in [row["item"] for row in rows[:2]]


def test_unreadable_user_files_are_explained(tmp_path):
    with pytest.raises(UserError, match="is not a file"):
        read_users(tmp_path / "none.txt")
    for name, content, message in [
        ("empty.txt", "\n", "names no user"),
        ("empty.csv", "", "cannot be read as csv"),
        ("other.csv", "id\n1\n", "has no column `user`; it has id"),
        ("broken.parquet", "no parquet", "cannot be read as parquet"),
    ]:
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            read_users(file)
