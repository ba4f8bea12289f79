"""What all tests share: no network, one thread per library, and the committed checkpoint."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Set before any library reads them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # several processes share the cores; more threads than cores make all of them crawl
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from support.chromium import CHROMIUM
from support.paths import CHECKPOINT, ROOT

# The same examples in every run: a suite must not be red by chance.
settings.register_profile("same examples", derandomize=True, deadline=None)
settings.load_profile("same examples")

OWN_CACHE = os.environ.get("XDG_CACHE_HOME")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache without anything in it; returns the folder that the project may fill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ckf-demo"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to train in; see `support.training.make_workplace`."""
    from support.training import make_workplace

    return make_workplace(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def stirred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `support.training.save_stirred` left a checkpoint and its backbone."""
    from support.training import save_stirred

    place = tmp_path_factory.mktemp("stirred")
    save_stirred(place)
    return place


@pytest.fixture
def checkpoint(stirred: Path, tmp_path: Path) -> Path:
    """A copy of that checkpoint, to be changed."""
    return Path(shutil.copytree(stirred / "checkpoint", tmp_path / "checkpoint"))


@pytest.fixture(scope="session")
def real_cache():
    """A context in which the user's own cache is in use, whatever a test has set."""

    @contextmanager
    def in_use() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if OWN_CACHE is None:
                patch.delenv("XDG_CACHE_HOME", raising=False)
            else:
                patch.setenv("XDG_CACHE_HOME", OWN_CACHE)
            yield

    return in_use


@pytest.fixture(scope="session")
def recommender(real_cache):
    """The committed checkpoint, loaded once; prepares data and backbone if they are missing."""
    from ckf_demo.backbone.loading import BackboneConfig, prepare_backbone
    from ckf_demo.data.prepare import prepare
    from ckf_demo.recommender import Recommender

    with real_cache():
        prepare("ml-100k", None)
        prepare_backbone(BackboneConfig().name)
        loaded = Recommender.load(CHECKPOINT)
    yield loaded
    # a thread that still computes when the interpreter ends would abort it, whatever the tests said
    with loaded.predictor.lock:
        pass


@pytest.fixture(scope="session")
def _positive_only_checkpoint(tmp_path_factory) -> Path:
    from support.positive_only import train_positive_only

    return train_positive_only(tmp_path_factory.mktemp("positive-only"))


@pytest.fixture(scope="module")
def positive_only_workplace(_positive_only_checkpoint, tmp_path_factory) -> Iterator[Path]:
    """A copy of `support.positive_only`'s folder, whose cache is in use."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(_positive_only_checkpoint, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "browser"):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(CHROMIUM is None, reason="no chromium here"))
        if item.get_closest_marker("real") or item.get_closest_marker("browser"):
            # what they run is not theirs to cover, and tracing it would double their time
            item.add_marker(pytest.mark.no_cover)
